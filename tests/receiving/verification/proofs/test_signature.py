import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import NotVerified
from bridge.receiving.verification import Reason, Verifier
from receiving.verification.support import (
    GITHUB,
    MILLISECONDS,
    NOW,
    SHA512,
    SIGNING,
    SLACK,
    STANDARD,
    STRIPE,
    compiled,
    request,
    signed,
)

VERIFIERS = {name: compiled(settings) for name, settings in SIGNING.items()}
every_scheme = pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS.keys())
URL = "https://hooks.example.com/webhooks/x"
Headers = list[tuple[bytes, bytes]]


def reason(verifier: Verifier, headers: Headers, body: bytes = b"{}", now: int = NOW, method: str = "POST") -> str:
    with pytest.raises(NotVerified) as refused:
        verifier.verify(request(body, headers, method=method), now)
    assert isinstance(refused.value.reason, Reason)
    return refused.value.reason


def changed(headers: Headers, name: bytes, change: Callable[[bytes], bytes]) -> Headers:
    assert name in dict(headers)
    return [(key, change(value) if key == name else value) for key, value in headers]


def signature_header(verifier: Verifier) -> bytes:
    return signed(verifier)[-1][0]


@given(st.binary(), st.sampled_from(list(VERIFIERS)), st.integers(0, 2**42))
def test_what_a_scheme_signs_it_verifies(body: bytes, name: str, at: int) -> None:
    webhook = VERIFIERS[name].verify(request(body, signed(VERIFIERS[name], body, at)), at)
    assert (webhook.body, webhook.secret) == (body, 1)


@given(st.binary(min_size=1), st.sampled_from(list(VERIFIERS)), st.data())
def test_a_body_with_any_byte_changed_is_refused(body: bytes, name: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(body) - 1))
    other = body[:index] + bytes([body[index] ^ data.draw(st.integers(1, 255))]) + body[index + 1 :]
    assert reason(VERIFIERS[name], signed(VERIFIERS[name], body), other) == "signature_mismatch"


@given(st.sampled_from(list(VERIFIERS)), st.data())
def test_a_signature_header_with_any_byte_changed_is_refused(name: str, data: st.DataObject) -> None:
    headers = signed(VERIFIERS[name])
    genuine = headers[-1][1]
    index = data.draw(st.integers(0, len(genuine) - 1))
    other = genuine[:index] + bytes([data.draw(st.integers(0, 255))]) + genuine[index + 1 :]
    if other.lower() != genuine.lower():
        reason(VERIFIERS[name], [*headers[:-1], (headers[-1][0], other)])


@given(st.sampled_from(list(VERIFIERS)), st.lists(st.binary(max_size=60), max_size=4), st.binary(max_size=20))
def test_no_bytes_in_any_header_raise_anything_but_not_verified(name: str, values: list[bytes], body: bytes) -> None:
    names = [key for key, _ in reversed(signed(VERIFIERS[name]))] + [b"x-other", b"x-another"]
    reason(VERIFIERS[name], list(zip(names, values, strict=False)), body)


@given(st.sampled_from(list(VERIFIERS)), st.binary(max_size=60), st.data())
def test_no_bytes_in_a_header_beside_the_signature_raise_anything_but_not_verified(
    name: str, value: bytes, data: st.DataObject
) -> None:
    headers = signed(VERIFIERS[name])
    replaced = data.draw(st.sampled_from([key for key, _ in headers]))
    body = data.draw(st.binary(max_size=5))
    try:
        VERIFIERS[name].verify(request(body, changed(headers, replaced, lambda _: value)), NOW)
    except NotVerified as refused:
        Reason(refused.reason)


@pytest.mark.parametrize("settings", SIGNING.values(), ids=SIGNING)
def test_another_secret_does_not_verify(settings: dict[str, Any]) -> None:
    other = compiled({**settings, "secrets": ["aabbccdd"]})  # a key of every form
    assert reason(other, signed(compiled(settings))) == "signature_mismatch"


@every_scheme
def test_a_missing_or_empty_signature_is_told_apart_from_a_wrong_one(verifier: Verifier) -> None:
    name = signature_header(verifier)
    assert reason(verifier, [pair for pair in signed(verifier) if pair[0] != name]) == "signature_missing"
    assert reason(verifier, changed(signed(verifier), name, lambda _: b"")) == "signature_missing"
    assert reason(verifier, signed(verifier), b"another") == "signature_mismatch"


@every_scheme
def test_a_signature_header_that_comes_twice_is_refused_though_both_are_genuine(verifier: Verifier) -> None:
    headers = signed(verifier)
    assert reason(verifier, [*headers, headers[-1]]) == "header_repeated"


@pytest.mark.parametrize("settings", [STANDARD, SLACK, MILLISECONDS])
def test_a_signed_header_that_comes_twice_is_refused(settings: dict[str, Any]) -> None:
    headers = signed(compiled(settings))
    assert reason(compiled(settings), [headers[0], *headers]) == "header_repeated"


@every_scheme
def test_a_non_ascii_signature_is_refused(verifier: Verifier) -> None:
    name = signature_header(verifier)
    assert reason(verifier, changed(signed(verifier), name, lambda value: value + b"\xff\xc3\xa9"))


def test_any_of_several_secrets_verifies_and_the_position_says_which() -> None:
    both = compiled({**GITHUB, "secrets": ["new", "", "old"]})
    for position, secret in enumerate(["new", "old"], 1):
        headers = signed(compiled({**GITHUB, "secrets": [secret]}))
        assert both.verify(request(b"{}", headers), NOW).secret == position


@pytest.mark.parametrize("settings", [STRIPE, STANDARD], ids=["keyed", "prefixed"])
def test_any_genuine_signature_of_a_list_verifies(settings: dict[str, Any]) -> None:
    verifier = compiled(settings)
    name = signature_header(verifier)
    separator, marker = (b",", b"v1=") if settings is STRIPE else (b" ", b"v1,")
    rotated = changed(signed(verifier), name, lambda value: separator.join([value, marker + b"bm8=", b"v0=x", b"junk"]))
    assert verifier.verify(request(b"{}", rotated), NOW).secret == 1
    first = changed(signed(verifier), name, lambda value: value.replace(marker, marker + b"bm8=" + separator + marker))
    assert verifier.verify(request(b"{}", first), NOW).secret == 1


def test_items_may_have_blanks_around_them() -> None:
    verifier = compiled(STRIPE)
    spaced = changed(signed(verifier), signature_header(verifier), lambda value: value.replace(b",", b" ,\t"))
    assert verifier.verify(request(b"{}", spaced), NOW).secret == 1


def test_only_the_first_twenty_items_of_a_list_are_looked_at() -> None:
    verifier = compiled(STANDARD)
    name = signature_header(verifier)
    for before, works in ((19, True), (20, False)):
        headers = changed(signed(verifier), name, lambda value, n=before: b"v1,bm8= " * n + value)  # type: ignore[misc]
        if works:
            assert verifier.verify(request(b"{}", headers), NOW).secret == 1
        else:
            assert reason(verifier, headers) == "signature_mismatch"


def test_a_signature_without_the_prefix_or_of_another_version_is_malformed() -> None:
    verifier = compiled(GITHUB)
    name = signature_header(verifier)
    assert reason(verifier, changed(signed(verifier), name, lambda value: value[7:])) == "signature_malformed"
    assert reason(verifier, changed(signed(verifier), name, lambda _: b"sha256=")) == "signature_malformed"
    standard = compiled(STANDARD)
    asymmetric = changed(signed(standard), signature_header(standard), lambda value: value.replace(b"v1,", b"v1a,"))
    assert reason(standard, asymmetric) == "signature_malformed"


def test_hexadecimal_may_be_upper_case() -> None:
    verifier = compiled(GITHUB)
    upper = changed(signed(verifier), signature_header(verifier), lambda value: b"sha256=" + value[7:].upper())
    assert verifier.verify(request(b"{}", upper), NOW).secret == 1


@pytest.mark.parametrize("name", ["standard", "stripe", "slack", "ms"])
def test_a_signed_timestamp_is_checked_to_both_sides_and_only_after_the_signature(name: str) -> None:
    verifier, tolerance = VERIFIERS[name], 300_000
    headers = signed(verifier)
    for now in (NOW - tolerance, NOW + tolerance):
        assert verifier.verify(request(b"{}", headers), now).secret == 1
    assert reason(verifier, headers, now=NOW + tolerance + 1) == "timestamp_stale"
    assert reason(verifier, headers, now=NOW - tolerance - 1) == "timestamp_future"
    assert reason(verifier, headers, b"another", now=NOW + tolerance + 1) == "signature_mismatch"


def test_the_tolerance_can_be_set() -> None:
    verifier = compiled({**STANDARD, "tolerance": "10s"})
    assert verifier.verify(request(b"{}", signed(verifier)), NOW + 10_000).secret == 1
    assert reason(verifier, signed(verifier), now=NOW + 10_001) == "timestamp_stale"


@pytest.mark.parametrize("text", ["1e9", "-1", "+1", " 1", "1_0", "1.5", "0x1", "\u0661\u0662", "9" * 21, "now"])
def test_a_signed_timestamp_that_is_no_plain_number_is_malformed(text: str) -> None:
    verifier = compiled(SLACK)
    made = verifier.sign(b"{}", method="POST", at=NOW, delivery_id="1", headers={"X-Slack-Request-Timestamp": text})
    assert reason(verifier, [(k.encode(), v.encode()) for k, v in made.items()]) == "timestamp_malformed"


def test_a_missing_timestamp_and_a_missing_signed_header_are_told_apart() -> None:
    verifier = compiled(STANDARD)
    headers = dict(signed(verifier))
    assert reason(verifier, list({**headers, b"webhook-timestamp": b""}.items())) == "timestamp_missing"
    assert reason(verifier, list({**headers, b"webhook-id": b""}.items())) == "signed_header_missing"
    stripe = compiled(STRIPE)
    name = signature_header(stripe)
    assert reason(stripe, changed(signed(stripe), name, lambda value: value.split(b",")[1])) == "timestamp_missing"


def test_an_item_that_comes_twice_is_malformed() -> None:
    verifier = compiled(STRIPE)
    twice = changed(signed(verifier), signature_header(verifier), lambda value: b"t=1," + value)
    assert reason(verifier, twice) == "signature_malformed"


def test_a_signed_method_and_a_signed_header_cannot_be_changed() -> None:
    verifier = compiled(MILLISECONDS)
    assert reason(verifier, signed(verifier), method="PUT") == "signature_mismatch"
    later = changed(signed(verifier), b"x-hubspot-request-timestamp", lambda value: value[:-1] + b"9")
    assert reason(verifier, later) == "signature_mismatch"


def test_recipes_compute_what_the_vendors_describe() -> None:
    body, second = b'{"id": "evt_1"}', str(NOW // 1000)
    stripe = hmac.new(b"whsec_stripe", f"{second}.".encode() + body, hashlib.sha256).hexdigest()
    assert dict(signed(compiled(STRIPE), body)) == {b"stripe-signature": f"t={second},v1={stripe}".encode()}

    zoom = {
        **SLACK,
        "header": "x-zm-signature",
        "signed": ["lit:v0:", "header:x-zm-request-timestamp", "lit::", "body"],
    }
    zoom["timestamp"] = "header:x-zm-request-timestamp"
    expected = "v0=" + hmac.new(b"slack", f"v0:{second}:".encode() + body, hashlib.sha256).hexdigest()
    assert dict(signed(compiled(zoom), body))[b"x-zm-signature"] == expected.encode()

    shopify = {"scheme": "hmac", "header": "X-Shopify-Hmac-SHA256", "encoding": "base64", "secrets": ["shop"]}
    expected = base64.b64encode(hmac.new(b"shop", body, hashlib.sha256).digest()).decode()
    assert dict(signed(compiled(shopify), body)) == {b"x-shopify-hmac-sha256": expected.encode()}

    intercom = {"scheme": "hmac", "header": "X-Hub-Signature", "prefix": "sha1=", "algorithm": "sha1", "secrets": ["i"]}
    expected = "sha1=" + hmac.new(b"i", body, hashlib.sha1).hexdigest()
    assert dict(signed(compiled(intercom), body)) == {b"x-hub-signature": expected.encode()}

    assert dict(signed(compiled(SHA512), body)) == {
        b"x-signature": hmac.new(b"\x00\xff\x10", body, hashlib.sha512).hexdigest().encode()
    }
    hubspot = base64.b64encode(hmac.new(b"hubspot", b"POST" + body + str(NOW).encode(), hashlib.sha256).digest())
    assert dict(signed(compiled(MILLISECONDS), body))[b"x-hubspot-signature-v3"] == hubspot


def test_what_one_way_of_hubspot_signs_is_no_body_by_another() -> None:
    verifier = compiled({"scheme": "hubspot", "secrets": ["s"]}, URL)
    body = b'[{"a": 1}]'
    v2 = hashlib.sha256(b"sPOST" + URL.encode() + body).hexdigest()
    v1 = hashlib.sha256(b"s" + body).hexdigest()
    for shown in (v1, v2):
        assert verifier.verify(request(body, {"X-HubSpot-Signature": shown}), NOW).body == body
    other = b"POST" + URL.encode() + body
    assert reason(verifier, [(b"x-hubspot-signature", v2.encode())], other) == "signature_mismatch"


def test_the_end_of_a_signed_header_is_not_taken_for_the_beginning_of_the_body() -> None:
    recipe = {
        "scheme": "hmac",
        "header": "X-Signature",
        "signed": ["header:X-Time", "lit::", "header:X-Id", "lit::", "body"],
        "timestamp": "header:X-Time",
        "secrets": ["a secret"],
    }
    verifier, second = compiled(recipe), str(NOW // 1000)
    genuine = hmac.new(b"a secret", f"{second}:42:".encode() + b"x:{}", hashlib.sha256).hexdigest()
    headers = {"X-Signature": genuine, "X-Time": second, "X-Id": "42"}
    assert verifier.verify(request(b"x:{}", headers), NOW).body == b"x:{}"
    shifted = request(b"{}", headers | {"X-Id": "42:x"})
    with pytest.raises(NotVerified) as refused:
        verifier.verify(shifted, NOW)
    assert refused.value.reason == "signature_malformed"
