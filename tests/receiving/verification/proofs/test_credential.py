import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.errors import NotVerified
from bridge.receiving.verification import Reason
from bridge.receiving.verification.proofs.credential import Parameter
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.settings.secrets import Secret
from receiving.verification.support import BASIC, NOW, TOKEN, compiled, request, signed

TOKENS = compiled({**TOKEN, "secrets": ["tök-en", "old"]})
BASICS = compiled({**BASIC, "secrets": ["pass:word", "öld"]})


def basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


def shown(name: bytes, *values: bytes) -> int | str | None:
    """The position of the secret that matched, or the reason why none did."""
    verifier = TOKENS if name == b"x-token" else BASICS
    try:
        return verifier.verify(request(b"anything", [(name, value) for value in values]), NOW).secret
    except NotVerified as refused:
        return Reason(refused.reason)


def test_a_token_is_the_whole_value_of_its_header() -> None:
    assert shown(b"x-token", "tök-en".encode()) == 1
    assert shown(b"x-token", b"old") == 2
    assert shown(b"x-token", b"ol") == shown(b"x-token", b"old ") == shown(b"x-token", b"OLD") == "credential_mismatch"
    assert shown(b"x-token") == shown(b"x-token", b"") == "credential_missing"
    assert shown(b"x-token", b"old", b"old") == "header_repeated"


def test_basic_wants_the_name_and_one_of_the_passwords() -> None:
    assert shown(b"authorization", basic("hook:pass:word")) == 1
    assert shown(b"authorization", basic("hook:öld").replace(b"Basic", b"bASIC")) == 2
    for wrong in ("hook:", ":pass:word", "hook:pass", "Hook:pass:word", "hook:pass:word2", "pass:word"):
        assert shown(b"authorization", basic(wrong)) == "credential_mismatch"
    for malformed in (
        b"Basic",
        b"Basic ",
        b"Basic !!" + basic("hook:pass:word")[6:],
        b"Bearer " + basic("hook:pass:word")[6:],
        b"\xff",
    ):
        assert shown(b"authorization", malformed) == "credential_malformed"
    assert shown(b"authorization") == "credential_missing"
    assert shown(b"authorization", basic("hook:pass:word"), b"x") == "header_repeated"


@given(st.sampled_from([b"x-token", b"authorization"]), st.binary(), st.booleans())
def test_no_bytes_raise_anything_but_not_verified(name: bytes, value: bytes, prefixed: bool) -> None:
    assert isinstance(shown(name, b"Basic " + value if prefixed else value), Reason)


def test_what_is_signed_is_verified_by_the_first_secret() -> None:
    for verifier in (TOKENS, BASICS):
        assert verifier.verify(request(b"any", signed(verifier)), NOW).secret == 1


def test_no_scheme_takes_everything_and_signs_nothing() -> None:
    verifier = compiled({"scheme": "none"})
    webhook = verifier.verify(request(b"any", [(b"x", b"y")]), NOW)
    assert (webhook.body, webhook.secret, webhook.delivery_id) == (b"any", None, None)
    assert verifier.sign(b"", method="POST", at=NOW, delivery_id="1") == {}


def test_a_refusal_holds_nothing_of_the_request() -> None:
    with pytest.raises(NotVerified) as refused:
        BASICS.verify(request(b"", [(b"authorization", b"Basic not-base64")]), NOW)
    assert str(refused.value) == "credential_malformed"
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"key=s%20ecret", 1),
        (b"a=1&key=s+ecret&b=2", 1),
        (b"key=other", "credential_mismatch"),
        (b"key=", "credential_missing"),
        (b"key", "credential_missing"),
        (b"a=key&xkey=s+ecret", "credential_missing"),
        (b"key=s+ecret&key=s+ecret", "credential_malformed"),
        (b"key&key=s+ecret", "credential_malformed"),
        (b"", "credential_missing"),
        (b"a=1&" * 16_000 + b"key=s+ecret", 1),
    ],
)
def test_a_secret_in_the_query_stands_there_once(query: bytes, expected: int | str) -> None:
    proof = Parameter("key", [Secret("s ecret")])
    asked = replace(request(b"", {}), query=query)
    if expected == 1:
        assert proof.prove(asked, RequestHeaders(()), NOW).secret == 1
        return
    with pytest.raises(NotVerified) as refused:
        proof.prove(asked, RequestHeaders(()), NOW)
    assert refused.value.reason == expected
