"""Mailgun's signature in the body: of JSON, of the older form fields, of inbound mail."""

import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from operations.support import Configuration

from bridge.model import Request
from bridge.receiving.processing import process
from receiving.verification.genuine import MAILGUN_SECRET, mailgun_signature, refusal, verified
from receiving.verification.support import NOW, compiled, request

JSON = {"Content-Type": "application/json"}
VERIFIER = compiled({"scheme": "mailgun", "secrets": ["other", MAILGUN_SECRET]})
GENUINE = mailgun_signature(NOW)


def as_json(signature: Any, **others: Any) -> Request:
    return request(json.dumps({"signature": signature, **others}).encode(), {"Content-Type": "application/json"})


def as_form(fields: dict[str, Any]) -> Request:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    return request(urlencode(fields, doseq=True).encode(), headers)


def as_mail(fields: dict[str, str]) -> Request:
    begin = "--b\r\nContent-Disposition: form-data; name="
    parts = [f'{begin}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return request(("".join(parts) + "--b--\r\n").encode(), headers)


@pytest.mark.parametrize("made", [as_json(GENUINE), as_form(GENUINE), as_mail(GENUINE)], ids=["json", "form", "mail"])
def test_a_signature_is_found_wherever_mailgun_puts_it(made: Request) -> None:
    assert verified(VERIFIER, made).secret == 2


@pytest.mark.parametrize("make", [as_json, as_form, as_mail])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"signature": "00" * 32}, "signature_mismatch"),
        ({"signature": ""}, "signature_missing"),
        ({"signature": "ü"}, "signature_mismatch"),
        ({"token": "u" * 50}, "signature_mismatch"),
        ({"token": ""}, "body_malformed"),
        ({"token": "t" * 101}, "body_malformed"),
        ({"timestamp": str(NOW // 1000 + 1)}, "signature_mismatch"),
        ({"timestamp": ""}, "timestamp_missing"),
    ],
)
def test_what_is_changed_is_refused(make: Any, changed: dict[str, str], reason: str) -> None:
    assert refusal(VERIFIER, make(GENUINE | changed)) == reason


@pytest.mark.parametrize("name", GENUINE)
def test_what_is_missing_or_no_text_is_refused(name: str) -> None:
    for value in (None, 5, ["x"], {"x": "y"}, True):
        assert refusal(VERIFIER, as_json(GENUINE | {name: value})) is not None
    for make in (as_json, as_form, as_mail):
        assert refusal(VERIFIER, make({key: value for key, value in GENUINE.items() if key != name})) is not None
    assert refusal(VERIFIER, as_form(GENUINE | {name: [GENUINE[name], GENUINE[name]]})) == "body_malformed"


@pytest.mark.parametrize("signature", [None, [], "x", 5])
def test_json_without_a_signature_object_is_refused(signature: Any) -> None:
    assert refusal(VERIFIER, as_json(signature)) == ("signature_missing" if signature is None else "body_malformed")
    assert refusal(VERIFIER, request(b"[]", {"Content-Type": "application/json"})) == "body_malformed"


def test_a_signature_in_upper_case_is_the_same() -> None:
    assert refusal(VERIFIER, as_json(GENUINE | {"signature": GENUINE["signature"].upper()})) is None


def test_a_time_that_is_no_number_is_refused_though_it_is_signed() -> None:
    made = hmac.digest(MAILGUN_SECRET.encode(), b"soont", "sha256").hex()
    assert refusal(VERIFIER, as_json({"timestamp": "soon", "token": "t", "signature": made})) == "timestamp_malformed"


FRESH = json.dumps({"signature": {"token": "fresh"}, "event-data": {"event": "opened"}})
SIGNED = urlencode(GENUINE)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (SIGNED + "&" + urlencode({"payload": FRESH}), "application/x-www-form-urlencoded"),
        ('{"x":"&' + SIGNED + '&",' + FRESH[1:], "application/x-www-form-urlencoded"),
        (SIGNED, "application/x-www-form-urlencoded; charset=utf-16"),
        (as_mail(GENUINE).body.decode(), "multipart/form-data; boundary=b; charset=utf-16le"),
        (json.dumps({"signature": GENUINE, "x": "&token=fresh&"}), ""),
        (json.dumps({"signature": GENUINE, "x": "&token=fresh&"}), "text/plain"),
    ],
)
def test_a_body_that_rules_may_read_otherwise_than_its_proof_is_refused(body: str, content_type: str) -> None:
    """Else one captured signature would be good for any number of bodies, each with a token of its own."""
    headers = {"Content-Type": content_type} if content_type else {}
    assert refusal(VERIFIER, request(body.encode(), headers)) == "body_malformed"


@pytest.mark.parametrize("make", [as_json, as_form, as_mail])
def test_the_proven_token_is_the_delivery_id(make: Any) -> None:
    assert verified(VERIFIER, make(GENUINE)).delivery_id == GENUINE["token"]


def test_a_token_is_good_for_one_body_even_where_that_cannot_be_read(tmp_path: Path) -> None:
    configuration = Configuration(tmp_path, shop="verify: {scheme: mailgun, secrets: [key-mailgun]}\nrules: []\n")
    _, rules = configuration.source()
    webhook = verified(VERIFIER, request(as_json(GENUINE).body[:-1] + b', "x": 1e999}', JSON))
    mapped = process(rules, webhook)
    assert mapped.state == "unreadable"
    assert mapped.dedupe_key == GENUINE["token"]
