"""The table of handshakes, and what a source may say about its own; tests/web has the exchanges."""

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge import jsontext
from bridge.errors import Severity
from bridge.model import Request
from bridge.receiving.handshakes.catalog import HANDSHAKES, compile_handshake
from bridge.receiving.handshakes.handshake import Asked, Handshake, HandshakeKeys, HandshakeRefusal
from bridge.receiving.senders.catalog import SENDERS
from bridge.service import composition
from bridge.settings.document import Document, Section
from bridge.settings.secrets import Secret
from bridge.settings.source_schema import Method, SourceSettings
from bridge.web.problems import for_handshake

DOCS = Path(__file__).parents[3] / "docs"
KEYS = HandshakeKeys(secrets=(Secret("hush"),), verify_token=Secret("letmein"), registering=True)
REQUEST = Request(
    source="s", method="POST", path="/webhooks/s", query=b"", headers=(), body=b"", received_at=0, client="192.0.2.1"
)
WORDS = (
    *("challenge", "crc_token", "hub.challenge", "hub.mode", "hub.verify_token", "validationToken", "letmein"),
    *("subscribe", "type", "url_verification", "event", "endpoint.url_validation", "payload", "plainToken", "Type"),
    *("SubscriptionConfirmation", "SubscribeURL", "verification_token", "topic", "ping", "events", "entropy", "data"),
    *("validationCode",),
)
words = st.sampled_from(WORDS) | st.text(max_size=8)
json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)
bodies = st.binary(max_size=50) | json.map(jsontext.encode)
queries = st.binary(max_size=50) | st.dictionaries(words, words, max_size=4).map(
    lambda query: "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items()).encode()
)
headers = st.dictionaries(
    st.sampled_from(
        (
            *(b"x-hook-secret", b"x-okta-verification-challenge", b"webhook-request-origin", b"aeg-event-type"),
            b"x-notion-signature",
        )
    ),
    st.binary(max_size=30) | st.just(b"SubscriptionValidation"),
).map(lambda given: tuple(given.items()))


def compiled(
    verify: dict[str, Any], registering: bool = False
) -> tuple[Handshake | None, list[tuple[str, str, Severity]]]:
    written: dict[str, Any] = {"verify": verify, "rules": []} | ({"registering": True} if registering else {})
    section = Section(Document("sources/s.yaml", written))
    settings = SourceSettings.model_validate(written)
    handshake, problems = compile_handshake(SENDERS.get(verify["scheme"]), section, settings)
    return handshake, [(problem.path, problem.message, problem.severity) for problem in problems]


def test_every_handshake_that_a_sender_has_is_in_the_table_and_no_other() -> None:
    assert {sender.handshake for sender in SENDERS.values() if sender.handshake} == set(HANDSHAKES)


def test_a_handshake_that_takes_nothing_from_the_configuration_needs_nothing_there() -> None:
    handshake, problems = compiled({"scheme": "slack", "secrets": ["hush"]})
    assert handshake is not None
    assert (handshake.name, problems) == ("slack", [])
    assert compiled({"scheme": "github", "secrets": ["hush"]}) == (None, [])
    assert compiled({"scheme": "hmac", "secrets": ["hush"], "header": "X-Signature"}) == (None, [])


def test_empty_secrets_are_not_counted() -> None:
    handshake, _ = compiled({"scheme": "zoom", "secrets": ["", None, "hush"]})
    assert handshake is not None
    assert [secret.reveal() for secret in handshake.keys.secrets] == ["hush"]


@pytest.mark.parametrize("scheme", ["asana", "notion"])
def test_registering_is_a_warning_and_no_secret_without_it_an_error(scheme: str) -> None:
    handshake, problems = compiled({"scheme": scheme, "secrets": ["", None]}, registering=True)
    assert handshake is not None
    assert handshake.keys.registering
    assert problems == [("registering", "lets anyone who knows the URL hand over a secret", Severity.WARNING)]
    _, problems = compiled({"scheme": scheme, "secrets": [""]})
    assert problems == [("verify.secrets", "holds no secret", Severity.ERROR)]


@pytest.mark.parametrize("scheme", ["github", "slack", "hmac"])
def test_registering_is_an_error_where_nothing_is_handed_over(scheme: str) -> None:
    _, ((path, _, severity),) = compiled({"scheme": scheme, "secrets": ["hush"]}, registering=True)
    assert (path, severity) == ("registering", Severity.ERROR)


@given(
    st.sampled_from(sorted(HANDSHAKES)),
    st.sampled_from(["POST", "GET", "HEAD", "OPTIONS"]),
    bodies,
    queries,
    headers,
)
def test_whatever_is_asked_the_answer_is_bounded_and_harmless(
    name: str, method: str, body: bytes, query: bytes, given_headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    handshake = HANDSHAKES[name]
    request = replace(REQUEST, method=method, body=body, query=query, headers=given_headers)
    step = handshake.step(request)
    if step is None:
        return
    reply = step.answer(Asked(request=request, keys=KEYS))
    if reply is None:
        assert step.signed or name == "notion", "what nobody signed is answered, or is no question"
        return
    assert reply.refused is None or for_handshake(reply.refused)[0] in (400, 403)
    assert not (reply.is_nothing and reply.body)
    assert len(reply.body) <= 1100
    assert not set(reply.body) & set(b"<>\r\n\0")
    for header, value in reply.headers:
        assert re.fullmatch(rb"[a-z-]+", header)
        assert re.fullmatch(rb"[ -~]+", value)
    assert b"content-type" in dict(reply.headers) or not reply.body
    assert not (reply.refused and (reply.body or reply.keep or reply.visit))


def test_nothing_is_kept_without_registering() -> None:
    for name, headers_, body in (
        ("asana", ((b"x-hook-secret", b"s"),), b""),
        ("notion", (), b'{"verification_token":"s"}'),
    ):
        request = replace(REQUEST, headers=headers_, body=body)
        step = HANDSHAKES[name].step(request)
        assert step is not None
        for registering in (True, False):
            reply = step.answer(Asked(request=request, keys=dataclasses.replace(KEYS, registering=registering)))
            assert reply is not None
            assert (reply.keep, reply.refused) == (
                ("s", None) if registering else ("", HandshakeRefusal.NOT_REGISTERING)
            )
            assert "'s'" not in repr(reply)


def test_a_large_body_is_not_read_for_a_secret() -> None:
    body = b'{"verification_token":"s","x":"' + b"x" * 20_000 + b'"}'
    assert HANDSHAKES["notion"].step(replace(REQUEST, body=body)) is None
    assert (
        HANDSHAKES["discord"].step(replace(REQUEST, body=body.replace(b'"verification_token":"s"', b'"type":0')))
        is None
    )


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=a&Token=2336", True),
        ("https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription&TopicArn=a&Token=2336", True),
        ("http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription", False),
        ("https://sns.eu-west-1.amazonaws.com.evil.example/?Action=ConfirmSubscription", False),
        ("https://sns.eu-west-1.amazonaws.com@evil.example/?Action=ConfirmSubscription", False),
        ("https://sns.eu-west-1.amazonaws.com:8443/?Action=ConfirmSubscription", False),
        ("https://sns.s3-us-west-2.amazonaws.com/?Action=ConfirmSubscription", False),
        ("https://evil.example/?https://sns.eu-west-1.amazonaws.com/", False),
        ("https://sns.eu-west-1.amazonaws.com/?a b", False),
        ("https://sns.eu-west-1.amazonaws.com/?a\nb", False),
        ("https://169.254.169.254/latest/meta-data", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_only_urls_of_sns_are_called(url: Any, called: bool) -> None:
    body = jsontext.encode({"Type": "SubscriptionConfirmation", "SubscribeURL": url})
    request = replace(REQUEST, body=body)
    step = HANDSHAKES["aws-sns"].step(request)
    assert step is not None
    assert step.signed
    reply = step.answer(Asked(request=request, keys=KEYS))
    assert reply is not None
    assert (reply.visit, reply.refused) == ((url, None) if called else ("", HandshakeRefusal.URL_NOT_ALLOWED))


def test_the_pages_examples_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources").mkdir()
    target = "{url: http://127.0.0.1:1/api, authorization: {scheme: bearer, token: t}}"
    (tmp_path / "bridge.yaml").write_text(f"targets: {{crm: {target}}}\n")
    examples = re.findall(r"^( *)```yaml\n(.*?)```", (DOCS / "handshakes.md").read_text(), re.MULTILINE | re.DOTALL)
    for number, (indent, example) in enumerate(examples):
        lines = [line.removeprefix(indent) for line in example.splitlines()]
        (tmp_path / "sources" / f"s{number}.yaml").write_text("\n".join([*lines, "rules: []", ""]))
    for name in ("META_SECRET", "META_VERIFY_TOKEN"):
        monkeypatch.setenv(name, f"{name}-that-is-long-enough")
    built = composition.build(tmp_path)
    assert [source.handshake and source.handshake.name for source in built.sources.values()] == [
        "asana",
        "meta",
        "aws-sns",
    ]
    assert [problem.path for problem in built.problems] == ["registering"]


def test_the_pages_tell_every_handshake_and_every_reason() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([a-z-]+) \|", (DOCS / "handshakes.md").read_text(), re.MULTILINE)
    assert rows == sorted((sender.handshake, name) for name, sender in SENDERS.items() if sender.handshake)
    page = (DOCS / "logs.md").read_text()
    section = page[page.index("### `handshake.refused`") :]
    reasons = re.findall(r"^\| `([a-z_]+)` \| [45]", section[: section.index("\n### ", 5)], re.MULTILINE)
    assert sorted(reasons) == sorted(HandshakeRefusal)


@pytest.mark.parametrize("method", get_args(Method))
def test_what_x_had_signed_is_no_webhook_whatever_the_method(method: str) -> None:
    """A source may say methods: [PUT]; anybody can have any token signed."""
    asked = replace(REQUEST, method=method, body=b"12345")
    step = HANDSHAKES["x"].step(asked)
    assert step is not None
    reply = step.answer(Asked(request=asked, keys=KEYS))
    assert reply is not None
    assert reply.refused is HandshakeRefusal.CHALLENGE_AS_BODY
