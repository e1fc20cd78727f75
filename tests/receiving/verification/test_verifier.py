import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .genuine import SCHEMES, Genuine
from .support import BASIC, GITHUB, NOW, PROVING, SHA512, STANDARD, TOKEN, compiled, request, signed

ANYONE = compiled({"scheme": "none"})


def test_a_webhook_is_the_request_as_it_was() -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"x-caf\xe9", b"caf\xc3\xa9"),
        (b"x-old", b"caf\xe9"),
        *signed(compiled(GITHUB), b"\xff"),
    ]
    made = compiled(GITHUB).verify(request(b"\xff", headers, b"a=1&b=%C3%A9", "PUT"), NOW + 1)
    assert (made.source, made.method, made.query, made.body) == ("x", "PUT", "a=1&b=%C3%A9", b"\xff")
    assert made.received_at == NOW
    assert made.id.startswith("wh_")
    assert made.headers == {
        "content-type": "text/plain",
        "x-caf\xe9": "caf\xe9",
        "x-old": "caf\xe9",
        "x-github-delivery": "delivery-1",
    }


@pytest.mark.parametrize("settings", PROVING.values(), ids=PROVING)
def test_signatures_and_credentials_are_not_kept(settings: dict[str, Any]) -> None:
    proof = signed(compiled(settings))
    private = [(b"cookie", b"c"), (b"proxy-authorization", b"p"), (b"authorization", b"a")]
    headers = [*(pair for pair in private if pair[0] not in dict(proof)), *proof, (b"x-sender-note", b"n")]
    kept = set(compiled(settings).verify(request(b"{}", headers), NOW).headers)
    assert "x-sender-note" in kept
    assert not kept & {"cookie", "authorization", "proxy-authorization", proof[-1][0].decode()}


def test_the_older_signature_of_github_is_not_kept() -> None:
    headers = [(b"x-hub-signature", b"sha1=00"), *signed(compiled(GITHUB))]
    assert set(compiled(GITHUB).verify(request(b"{}", headers), NOW).headers) == {"x-github-delivery"}


def test_an_ordinary_header_that_comes_twice_is_joined() -> None:
    headers = [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]
    assert ANYONE.verify(request(b"", headers), NOW).headers == {"x-a": "1, 3", "x-b": "2"}


def test_secret_parameters_are_not_kept_however_they_are_written() -> None:
    query = b"a=1&token=t&A%50i-Key=k&to%6ben=u&b=token&SIG&code=&+secret=s&tokens=2&&access_token=x=y&%ff=1"
    assert ANYONE.verify(request(b"", {}, query), NOW).query == "a=1&b=token&tokens=2&&%ff=1"


@given(st.binary())
def test_any_query_can_be_stored(query: bytes) -> None:
    assert isinstance(ANYONE.verify(request(b"", {}, query), NOW).query, str)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"msg_1", "msg_1"),
        (b"m" * 255, "m" * 255),
        (b"m" * 256, "sha256:" + hashlib.sha256(b"m" * 256).hexdigest()),
        (b"m\xff", "sha256:" + hashlib.sha256(b"m\xff").hexdigest()),
        (b"m\x00", "sha256:" + hashlib.sha256(b"m\x00").hexdigest()),
        (b"", None),
        (b" ", None),
    ],
)
def test_a_delivery_id_is_bounded_and_plain(value: bytes, expected: str | None) -> None:
    headers = dict(signed(compiled(GITHUB))) | {b"x-github-delivery": value}
    assert compiled(GITHUB).verify(request(b"{}", list(headers.items())), NOW).delivery_id == expected


def test_delivery_ids_come_from_where_the_recipe_says() -> None:
    for settings in (GITHUB, STANDARD):
        verifier = compiled(settings)
        assert verifier.verify(request(b"{}", signed(verifier)), NOW).delivery_id == "delivery-1"
    for settings in (SHA512, TOKEN, BASIC):
        verifier = compiled(settings)
        assert verifier.verify(request(b"{}", signed(verifier)), NOW).delivery_id is None
    bare = [pair for pair in signed(compiled(GITHUB)) if pair[0] != b"x-github-delivery"]
    assert compiled(GITHUB).verify(request(b"{}", bare), NOW).delivery_id is None


def test_signing_takes_signed_headers_that_are_given() -> None:
    settings = {"scheme": "hmac", "header": "X-S", "signed": ["header:X-Topic", "body"], "secrets": ["s"]}
    verifier = compiled(settings)
    made = verifier.sign(b"{}", method="POST", at=NOW, delivery_id="1", headers={"X-TOPIC": "orders", "X-Other": "o"})
    assert made["x-topic"] == "orders"
    assert set(made) == {"x-topic", "x-s"}
    assert verifier.verify(request(b"{}", made), NOW).headers == {"x-topic": "orders"}


@pytest.mark.parametrize(("name", "one"), SCHEMES.items(), ids=SCHEMES)
def test_a_challenge_tells_how_authorization_is_written_and_nothing_more_of_a_scheme(name: str, one: Genuine) -> None:
    in_authorization = {"basic": "Basic"} | dict.fromkeys(
        ("azure-event-grid", "bearer", "cloudevents", "jira-connect", "okta"), "Bearer"
    )
    assert one.verifier().challenge == f'{in_authorization.get(name, "Signature")} realm="webhooks"'


def test_a_token_in_authorization_is_asked_for_as_a_bearers() -> None:
    assert compiled(TOKEN).challenge == 'Signature realm="webhooks"'
    assert compiled({**TOKEN, "header": "AUTHORIZATION"}).challenge == 'Bearer realm="webhooks"'
