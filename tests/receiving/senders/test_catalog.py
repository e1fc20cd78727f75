"""What is particular about senders: their rows say what their documentation says."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import NotVerified
from bridge.mapping.expressions.expression import compile_expression
from bridge.mapping.expressions.registry import Registry
from bridge.model import Request
from bridge.receiving.handshakes.catalog import HANDSHAKES
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification import Verifier
from receiving.verification.support import NOW, compiled, request

KEY = "a secret"
NAMES = """
github gitlab bitbucket gitea gogs stripe slack shopify twilio hubspot jira zendesk typeform pagerduty
standard-webhooks svix sendgrid mailgun paypal docusign intercom linear zoom calendly pipedrive xero paddle square
dropbox meta microsoft-graph x aws-sns trello asana notion discord sentry okta azure-event-grid cloudevents superoffice
razorpay mux bearer hmac token basic none
"""


def sender(name: str, url: str = "", **more: Any) -> Verifier:
    return compiled({"scheme": name, "secrets": [KEY], **more}, url)


def refusal(verifier: Verifier, asked: Request, now: int = NOW) -> str | None:
    try:
        verifier.verify(asked, now)
    except NotVerified as error:
        return error.reason
    return None


def digest(content: bytes, algorithm: str = "sha256", key: str = KEY) -> bytes:
    return hmac.digest(key.encode(), content, algorithm)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_all_the_senders_are_there() -> None:
    assert set(NAMES.split()) <= set(SENDERS)


def test_every_row_is_whole() -> None:
    for name, row in SENDERS.items():
        assert row.title, name
        assert row.proof, name
        assert row.sources or name in ("hmac", "token", "basic", "none"), name
        assert not row.handshake or row.handshake in HANDSHAKES, name
        assert row.proves or len(row.recipes) == len(row.proof) or name == "gitlab", name
        assert {recipe.key for recipe in row.recipes} <= {"utf8"} or len({recipe.key for recipe in row.recipes}) == 1
    used = {row.handshake for row in SENDERS.values()} - {""}
    assert used == set(HANDSHAKES)


def test_whether_a_delivery_id_is_signed_follows_from_what_is_signed() -> None:
    signed = {name for name, row in SENDERS.items() if row.delivery_id and row.signs_id}
    assert {"stripe", "standard-webhooks", "svix", "linear"} & signed == {"stripe", "standard-webhooks", "svix"}
    for name in ("github", "shopify", "zendesk", "sentry", "superoffice", "gitea", "pipedrive", "okta", "cloudevents"):
        assert SENDERS[name].delivery_id, name
        assert not SENDERS[name].signs_id, name


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"webhookTimestamp": NOW - 59_000}, None),
        ({"webhookTimestamp": NOW - 61_000}, "timestamp_stale"),
        ({"webhookTimestamp": NOW + 61_000}, "timestamp_future"),
        ({"webhookTimestamp": str(NOW)}, None),
        ({"webhookTimestamp": "soon"}, "timestamp_malformed"),
        ({"webhookTimestamp": [NOW]}, "timestamp_malformed"),
        ({"webhookTimestamp": True}, "timestamp_malformed"),
        ({"webhookTimestamp": None}, None),
        ({}, None),
        ([1], None),
    ],
)
def test_linears_timestamp_in_the_body_is_checked_where_it_is_there(body: object, expected: str | None) -> None:
    written = json.dumps(body).encode()
    asked = request(written, {"Linear-Signature": digest(written).hex()})
    assert refusal(sender("linear"), asked) == expected
    assert refusal(sender("linear"), request(written, {"Linear-Signature": digest(written + b" ").hex()})) is not None


def test_a_body_that_is_no_json_has_no_timestamp_in_it() -> None:
    assert refusal(sender("linear"), request(b"{", {"Linear-Signature": digest(b"{").hex()})) is None


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("2023-11-14T22:13:20Z", 0, None),
        ("2023-11-14T23:13:20+01:00", 0, None),
        ("2023-11-14T22:13:20.123456789Z", 0, None),
        ("2023-11-14T22:13:20Z", 301, "timestamp_stale"),
        ("2023-11-14T22:13:20Z", -301, "timestamp_future"),
        ("2023-11-14 22:13:20", 0, "timestamp_malformed"),
        ("2023-13-14T22:13:20Z", 0, "timestamp_malformed"),
        ("1700000000", 0, "timestamp_malformed"),
    ],
)
def test_zendesks_timestamp_is_written_as_rfc_3339(text: str, seconds: int, expected: str | None) -> None:
    assert datetime.fromtimestamp(NOW / 1000, UTC).isoformat() == "2023-11-14T22:13:20+00:00"
    headers = {
        "X-Zendesk-Webhook-Signature": b64(digest(text.encode() + b"{}")),
        "X-Zendesk-Webhook-Signature-Timestamp": text,
    }
    assert refusal(sender("zendesk"), request(b"{}", headers), NOW + seconds * 1000) == expected


def test_docusign_may_sign_with_any_of_its_keys_and_shopify_by_either_header() -> None:
    right, wrong = b64(digest(b"{}")), b64(digest(b"{}", key="another"))
    for name, headers in (
        ("docusign", ["X-DocuSign-Signature-1", "X-DocuSign-Signature-2"]),
        ("shopify", ["X-Shopify-Hmac-Sha256", "Shopify-Hmac-Sha256"]),
    ):
        first, second = headers
        for given_headers in (
            {first: right},
            {second: right},
            {first: wrong, second: right},
            {second: wrong, first: right},
        ):
            webhook = sender(name).verify(request(b"{}", given_headers), NOW)
            assert webhook.headers == {}, "no signature is stored"
        assert refusal(sender(name), request(b"{}", {first: wrong, second: wrong})) == "signature_mismatch"
        assert refusal(sender(name), request(b"{}", {first: "", second: ""})) == "signature_missing"
        assert refusal(sender(name), request(b"{}", {})) == "signature_missing"


HUBSPOT = "https://hooks.example.com/webhooks/hub"


def hubspot(url: str, at: int = NOW, body: bytes = b"[]") -> dict[str, str]:
    content = b"POST" + url.encode() + body + str(at).encode()
    return {"X-HubSpot-Signature-v3": b64(digest(content)), "X-HubSpot-Request-Timestamp": str(at)}


def test_hubspot_may_sign_the_url_as_it_is_called_or_with_escapes_decoded() -> None:
    query = b"path=%2Fa%3fb%26c%20d"
    for signed in ("path=%2Fa%3fb%26c%20d", "path=/a?b%26c%20d"):
        asked = request(b"[]", hubspot(f"{HUBSPOT}?{signed}"), query)
        assert refusal(sender("hubspot", HUBSPOT), asked) is None
    asked = request(b"[]", hubspot(f"{HUBSPOT}?path=/a?b&c%20d"), query)
    assert refusal(sender("hubspot", HUBSPOT), asked) == "signature_mismatch"


def test_a_request_with_hubspots_newest_signature_must_pass_by_it() -> None:
    v1 = {"X-HubSpot-Signature": hashlib.sha256(KEY.encode() + b"[]").hexdigest(), "X-HubSpot-Signature-Version": "v1"}
    v2 = {"X-HubSpot-Signature": hashlib.sha256(KEY.encode() + b"POST" + HUBSPOT.encode() + b"[]").hexdigest()}
    verifier = sender("hubspot", HUBSPOT)
    for older in (v1, v2):
        assert refusal(verifier, request(b"[]", older)) is None
        assert refusal(verifier, request(b"[]", hubspot(HUBSPOT) | older)) is None
        assert refusal(verifier, request(b"[]", hubspot(HUBSPOT, NOW - 301_000) | older)) == "timestamp_stale"
        assert refusal(verifier, request(b"[]", {"X-HubSpot-Signature-v3": "bm8="} | older)) is not None
        assert refusal(verifier, request(b"[ ]", older)) == "signature_mismatch"
    assert refusal(verifier, request(b"[]", {})) == "signature_missing"


def extended(secret_length: int, body: bytes, signature: str, suffix: bytes) -> tuple[bytes, str]:
    """What anybody can make of a plain hash without the secret: SHA-256 goes on from where it ended (FIPS 180-4)."""
    length = secret_length + len(body)
    padding = b"\x80" + bytes((55 - length) % 64) + (length * 8).to_bytes(8, "big")
    state = [int(signature[at : at + 8], 16) for at in range(0, 64, 8)]
    total = length + len(padding) + len(suffix)
    rest = suffix + b"\x80" + bytes((55 - total) % 64) + (total * 8).to_bytes(8, "big")
    for at in range(0, len(rest), 64):
        state = _compressed(state, rest[at : at + 64])
    return body + padding + suffix, "".join(f"{word:08x}" for word in state)


def _primes() -> list[int]:
    return [number for number in range(2, 312) if all(number % other for other in range(2, number))]


def _compressed(state: list[int], block: bytes) -> list[int]:
    def turn(word: int, by: int) -> int:
        return (word >> by | word << 32 - by) & 0xFFFFFFFF

    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    for at in range(16, 64):
        low, high = words[at - 15], words[at - 2]
        small = turn(low, 7) ^ turn(low, 18) ^ low >> 3
        large = turn(high, 17) ^ turn(high, 19) ^ high >> 10
        words.append((words[at - 16] + small + words[at - 7] + large) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, h = state
    for word, prime in zip(words, _primes(), strict=True):
        root = _cube_root(prime << 96) & 0xFFFFFFFF
        one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + root + word) & 0xFFFFFFFF
        two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c)) & 0xFFFFFFFF
        a, b, c, d, e, f, g, h = (one + two) & 0xFFFFFFFF, a, b, c, (d + one) & 0xFFFFFFFF, e, f, g
    return [(old + new) & 0xFFFFFFFF for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def _cube_root(number: int) -> int:
    root: int = round(number ** (1 / 3))
    while root**3 > number:
        root -= 1
    while (root + 1) ** 3 <= number:
        root += 1
    return root


def test_what_is_appended_to_a_plain_hash_is_refused() -> None:
    body = b'[{"eventId": 1}]'
    forged, signature = extended(len(KEY), body, hashlib.sha256(KEY.encode() + body).hexdigest(), b" more")
    assert signature == hashlib.sha256(KEY.encode() + forged).hexdigest(), "the attack itself works"
    asked = request(forged, {"X-HubSpot-Signature": signature})
    assert refusal(sender("hubspot", HUBSPOT), asked) == "signature_mismatch"


def test_gitlab_signs_or_shows_its_token_and_a_request_that_is_signed_must_be_signed_right() -> None:
    signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    verifier = compiled({"scheme": "gitlab", "secrets": [signing, "the token"]})
    made = verifier.sign(b"{}", method="POST", at=NOW, delivery_id="d-1")
    assert verifier.verify(request(b"{}", made), NOW).secret == 1
    shown = verifier.verify(request(b"{}", {"X-Gitlab-Token": "the token"}), NOW)
    assert (shown.secret, shown.headers) == (2, {})
    assert refusal(verifier, request(b"{}", {"X-Gitlab-Token": "another"})) == "credential_mismatch"
    assert refusal(verifier, request(b"{ }", made | {"X-Gitlab-Token": "the token"})) == "signature_mismatch"
    assert refusal(compiled({"scheme": "gitlab", "secrets": ["the token"]}), request(b"{}", made)) is not None


def test_an_id_that_is_not_the_signed_one_cannot_be_added() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    svix, standard = (compiled({"scheme": name, "secrets": [secret]}) for name in ("svix", "standard-webhooks"))
    made = standard.sign(b"{}", method="POST", at=NOW, delivery_id="msg_1")
    assert refusal(svix, request(b"{}", made)) is None
    assert refusal(svix, request(b"{}", made | {"svix-id": "msg_2"})) == "signature_missing"
    assert refusal(svix, request(b"{}", made | svix.sign(b"{}", method="POST", at=NOW, delivery_id="msg_1"))) is None


@pytest.mark.parametrize(
    ("name", "word", "parameter"), [("azure-event-grid", "", "code"), ("cloudevents", "Bearer ", "access_token")]
)
def test_a_secret_may_stand_in_a_header_or_in_the_query(name: str, word: str, parameter: str) -> None:
    verifier = sender(name)
    assert refusal(verifier, request(b"{}", {"Authorization": word + KEY})) is None
    asked = request(b"{}", {}, f"a=1&{parameter}=a%20secret".encode())
    assert verifier.verify(asked, NOW).query == "a=1"
    assert refusal(verifier, request(b"{}", {}, f"{parameter}=a+secret".encode())) is None
    for query in (
        f"{parameter}=another",
        f"{parameter}=",
        f"{parameter}=%00",
        "a=1",
        f"{parameter}=a+secret&{parameter}=x",
    ):
        assert refusal(verifier, request(b"{}", {}, query.encode())) is not None, query
    wrong = request(b"{}", {"Authorization": word + "another"}, f"{parameter}=a+secret".encode())
    assert refusal(verifier, wrong) == "credential_mismatch"
    assert refusal(sender(name, header="X-Mine"), request(b"{}", {"X-Mine": word + KEY})) is None


@pytest.mark.parametrize(
    ("name", "content", "encode", "header", "url"),
    [
        ("square", lambda url, body: url + body, b64, "x-square-hmacsha256-signature", "https://e.example.com/sq?a=1"),
        ("trello", lambda url, body: body + url, b64, "X-Trello-Webhook", "https://e.example.com/trello"),
    ],
)
@given(body=st.binary(max_size=40))
def test_the_url_is_signed_as_it_was_registered(
    name: str,
    content: Callable[[bytes, bytes], bytes],
    encode: Callable[[bytes], str],
    header: str,
    url: str,
    body: bytes,
) -> None:
    algorithm = "sha1" if name == "trello" else "sha256"
    made = {header: encode(digest(content(url.encode(), body), algorithm))}
    assert refusal(sender(name, url), request(body, made)) is None
    assert refusal(sender(name, "https://other.example.com/"), request(body, made)) == "signature_mismatch"


@pytest.mark.parametrize("name", [name for name, row in SENDERS.items() if "default(headers" in row.dedupe])
def test_an_empty_header_stands_in_no_other_ids_place(name: str) -> None:
    """Anybody can send one beside a genuine request's own, and it would be a webhook that nobody has seen before."""
    dedupe = compile_expression(SENDERS[name].dedupe, Registry.of("headers"))
    first, second = re.findall(r"headers\['([a-z-]+)'\]", SENDERS[name].dedupe)
    assert dedupe({"headers": {second: "id"}}) == "id"
    assert dedupe({"headers": {first: "", second: "id"}}) == "id"
    assert dedupe({"headers": {first: "one", second: "id"}}) == "one"
