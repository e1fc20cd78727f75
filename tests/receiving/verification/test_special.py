"""What holds for every scheme that no recipe describes: what is genuine passes, and nothing that was forged from it."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.errors import CannotSign, NotVerified
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification import compile_verifier
from bridge.receiving.verification.special import SPECIAL
from bridge.settings.document import Document, Section

from .genuine import SCHEMES, Genuine, refusal, verified, with_header
from .support import NOW

EACH = pytest.mark.parametrize("name", SCHEMES)
VERIFIERS = {name: genuine.verifier() for name, genuine in SCHEMES.items()}
MADE = {name: genuine.make(b"a body", NOW) for name, genuine in SCHEMES.items()}  # no two ECDSA signatures are alike
SIGNING = {"twilio", "jira-connect"}
IN_BODY = {"mailgun", "microsoft-graph"}


def test_every_special_scheme_is_forged_here() -> None:
    assert set(SCHEMES) == set(SPECIAL)


def test_schemes_that_no_source_uses_load_nothing() -> None:
    program = "import sys, bridge.receiving.verification, bridge.receiving.handshakes.catalog; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert not loaded & {"cryptography", "jwt", "httpx", "certifi"}


@EACH
def test_what_is_genuine_is_verified_and_its_proof_is_not_stored(name: str) -> None:
    webhook = verified(VERIFIERS[name], SCHEMES[name].make(b"a body", NOW))
    dropped = SPECIAL[name].redacted_headers | {"authorization"}
    assert not dropped & set(webhook.headers)
    assert b"a body" in webhook.body or b"a+body" in webhook.body


@EACH
def test_what_the_verifier_drops_is_what_the_table_says(name: str) -> None:
    assert {header.decode() for header in VERIFIERS[name]._proof.redacted_headers} - {"authorization"} == SPECIAL[
        name
    ].redacted_headers


@EACH
def test_another_key_is_refused(name: str) -> None:
    genuine = SCHEMES[name]
    assert refusal(genuine.verifier(**genuine.other), genuine.make(b"a body", NOW)) is not None


@EACH
def test_another_body_is_refused_where_the_proof_covers_it(name: str) -> None:
    genuine = SCHEMES[name]
    asked = genuine.make(b"a body", NOW)
    changed = replace(asked, body=asked.body.replace(b"a body", b"b body").replace(b"a+body", b"b+body"))
    assert changed.body != asked.body
    assert (refusal(VERIFIERS[name], changed) is not None) == genuine.covers_body


@EACH
@pytest.mark.parametrize("value", [b"", b"x", b"\xff\xfe\x00", "ключ".encode(), b"A" * 60_000])
def test_a_header_that_is_empty_or_another_is_refused(name: str, value: bytes) -> None:
    asked = SCHEMES[name].make(b"a body", NOW)
    for header in SCHEMES[name].headers:
        assert refusal(VERIFIERS[name], with_header(asked, header, value)) is not None, header


@EACH
def test_a_header_that_is_missing_or_repeated_is_refused(name: str) -> None:
    asked = SCHEMES[name].make(b"a body", NOW)
    given = dict(asked.headers)
    for header in SCHEMES[name].headers:
        assert refusal(VERIFIERS[name], with_header(asked, header)) is not None
        value = given[header.encode()]
        assert refusal(VERIFIERS[name], with_header(asked, header, value, value)) is not None


@EACH
def test_what_is_stale_or_comes_from_the_future_is_refused(name: str) -> None:
    genuine = SCHEMES[name]
    if genuine.tolerance is None:
        assert refusal(VERIFIERS[name], genuine.make(b"a body", 0)) is None
        return
    inside, outside = genuine.tolerance - 1000, genuine.tolerance + 1000
    assert refusal(VERIFIERS[name], genuine.make(b"a body", NOW - inside)) is None
    assert refusal(VERIFIERS[name], genuine.make(b"a body", NOW - outside)) == "timestamp_stale"
    if genuine.future:
        assert refusal(VERIFIERS[name], genuine.make(b"a body", NOW + inside)) is None
        assert refusal(VERIFIERS[name], genuine.make(b"a body", NOW + outside)) == "timestamp_future"


@EACH
def test_a_tolerance_of_ones_own_counts(name: str) -> None:
    genuine = SCHEMES[name]
    if genuine.tolerance is None:
        return
    later = genuine.tolerance + 5_000
    assert refusal(genuine.verifier(tolerance="30d"), genuine.make(b"a body", NOW - later)) is None


@EACH
@given(data=st.data())
@settings(max_examples=60)
def test_no_bytes_raise_anything_but_not_verified(name: str, data: st.DataObject) -> None:
    asked = MADE[name]
    body = data.draw(st.one_of(st.binary(), st.just(asked.body), _mangled(asked.body)), "body")
    asked = replace(asked, body=body)
    for header, value in asked.headers:
        asked = with_header(
            asked, header.decode(), data.draw(st.one_of(st.just(value), st.binary(), _mangled(value)), str(header))
        )
    refusal(VERIFIERS[name], asked)


@st.composite
def _mangled(draw: st.DrawFn, value: bytes) -> bytes:
    """A value with a few bytes replaced."""
    at = draw(st.integers(0, max(0, len(value) - 1)))
    return value[:at] + draw(st.binary(max_size=3)) + value[at + draw(st.integers(0, 3)) :]


@EACH
def test_a_body_that_is_huge_deep_or_compressed_is_refused_where_the_proof_stands_in_it(name: str) -> None:
    asked = SCHEMES[name].make(b"a body", NOW)
    for body in (b"[" * 100_000, b'{"value":' * 5_000, b"a=b&" * 20_000, b"\x80" * 1000, b'{"a": 1e400}', b"9" * 5000):
        reason = refusal(VERIFIERS[name], replace(asked, body=body))
        assert reason is not None or not SCHEMES[name].covers_body
    if name in IN_BODY | {"aws-sns"}:
        assert refusal(VERIFIERS[name], with_header(asked, "content-encoding", b"gzip")) == "body_malformed"


@EACH
def test_what_the_bridge_can_sign_it_verifies_and_else_it_says_why_not(name: str) -> None:
    genuine = SCHEMES[name]
    asked = genuine.make(b"a body", NOW)
    given = {key.decode(): value.decode() for key, value in asked.headers if key == b"content-type"}
    sign = VERIFIERS[name].sign
    if name not in SIGNING | IN_BODY:
        with pytest.raises(CannotSign):
            sign(asked.body, method="POST", at=NOW, delivery_id="1", headers=given)
        return
    made = sign(asked.body, method="POST", at=NOW, delivery_id="1", headers=given)
    signed = replace(asked, query=b"", headers=tuple((k.encode(), v.encode()) for k, v in (given | made).items()))
    assert refusal(VERIFIERS[name], signed) is None
    if name in IN_BODY:
        with pytest.raises(CannotSign):
            genuine.verifier(**genuine.other).sign(asked.body, method="POST", at=NOW, delivery_id="1", headers=given)


@EACH
def test_unknown_and_missing_keys_are_problems(name: str) -> None:
    genuine = SCHEMES[name]
    assert _problems(genuine, {**genuine.settings, "colour": "blue"})
    assert _problems(genuine, {"scheme": genuine.settings["scheme"]})
    assert not _problems(genuine, genuine.settings)


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("discord", {"secrets": ["00ff"]}, "secrets[0]: is no key: 64 hexadecimal digits"),
        ("discord", {"secrets": ["", "zz"]}, "secrets[1]: is no key"),
        ("sendgrid", {"secrets": ["AAAA"]}, "secrets[0]: is no key: base64 of a P-256 key in DER"),
        ("standard-webhooks", {"secrets": ["whpk_AAAA"]}, "secrets[0]: is neither whsec_ nor whpk_ and base64"),
        ("standard-webhooks", {"secrets": ["whsec_!"]}, "secrets[0]: is neither"),
        ("paypal", {"roots": "no PEM"}, "roots: holds no certificate"),
        ("paypal", {"webhook_id": ""}, "webhook_id: "),
        ("aws-sns", {"topic_arns": []}, "topic_arns: "),
        ("aws-sns", {"topic_arns": ["orders"]}, "topic_arns[0]: is no ARN of a topic"),
        ("microsoft-graph", {"secrets": ["x" * 129]}, "secrets[0]: is longer than the 128 characters"),
        ("jira-connect", {"secrets": ["short"]}, "secrets[0]: has less than 32 bytes"),
        ("bearer", {"jwks_url": "http://login.example.com/keys"}, "jwks_url: is no https URL"),
        ("bearer", {"jwks_url": "https://user@login.example.com/keys"}, "jwks_url: is no https URL"),
        ("bearer", {"issuer": []}, "issuer: "),
        ("bearer", {"audience": ""}, "audience"),
    ],
)
def test_what_cannot_work_is_a_problem_at_its_place(name: str, changed: dict[str, Any], problem: str) -> None:
    texts = _problems(SCHEMES[name], {**SCHEMES[name].settings, **changed})
    assert [text for text in texts if text.startswith(f"sources/x.yaml: verify.{problem}")], texts


@pytest.mark.parametrize("name", ["twilio", "jira-connect"])
def test_who_signs_the_url_needs_it_said(name: str) -> None:
    (text,) = _problems(dataclasses.replace(SCHEMES[name], public_url=""), SCHEMES[name].settings)
    assert "say it by public_url" in text


def _problems(genuine: Genuine, written: object) -> list[str]:
    section = Section(Document("sources/x.yaml", {"verify": written}), ("verify",))
    return [str(problem) for problem in compile_verifier(section, genuine.public_url)[1]]


def test_a_refusal_is_one_of_a_fixed_set_of_words() -> None:
    with pytest.raises(NotVerified) as refused:
        verified(VERIFIERS["twilio"], with_header(SCHEMES["twilio"].make(b"x", NOW), "x-twilio-signature", b"hush"))
    assert "hush" not in str(refused.value)


@EACH
def test_what_its_row_says_is_signed_is(name: str) -> None:
    genuine, signed = SCHEMES[name], SENDERS[name].signed_headers
    asked = genuine.make(b"{}", NOW)
    assert (signed is not None) == genuine.covers_body
    for header in signed or ():
        value = dict(asked.headers)[header.encode()]
        assert refusal(genuine.verifier(), with_header(asked, header, value[:-1] + b"7")) is not None
