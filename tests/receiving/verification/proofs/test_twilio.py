"""Twilio's own library is the judge: what it signs is genuine, what it refuses is not."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from bridge.model import Request
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.settings.document import Document, Section
from receiving.verification.genuine import refusal, verified
from receiving.verification.support import NOW, request

VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parents[1] / "vectors.json").read_text(encoding="utf-8"))
    if vector["scheme"] == "twilio"
]
FORM = "application/x-www-form-urlencoded"
THEIRS = RequestValidator("12345")
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
urls = st.sampled_from(
    [
        "https://hooks.example.com/webhooks/x",
        "https://hooks.example.com:443/webhooks/x?a=1",
        "https://hooks.example.com:8443/webhooks/x?a=1&b=%2F",
        "http://hooks.example.com/webhooks/x",
        "http://hooks.example.com:80/x",
    ]
)


class Repeated(dict[str, list[str]]):
    """Parameters as the frameworks hold them that Twilio's library knows."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


def at_url(url: str, *secrets: str) -> Verifier:
    settings = {"scheme": "twilio", "secrets": list(secrets) or ["12345"]}
    verifier, problems = compile_verifier(Section(Document("x", {"verify": settings}), ("verify",)), url)
    assert isinstance(verifier, Verifier), problems
    return verifier


def form(body: bytes, made: str, **headers: str) -> Request:
    return request(body, {"X-Twilio-Signature": made, "Content-Type": FORM, **headers})


@pytest.mark.parametrize("vector", VECTORS, ids=[str(number) for number in range(len(VECTORS))])
def test_what_twilio_publishes_is_genuine(vector: dict[str, Any]) -> None:
    assert vector["valid"]
    verifier = at_url(vector["url"], "other", vector["secret"])
    asked = request(vector["body"].encode(), vector["headers"])
    assert verified(verifier, asked).secret == 2
    assert refusal(verifier, request(vector["body"].encode() + b"&x=1", vector["headers"])) is not None


@given(urls, urls, st.dictionaries(texts, st.lists(texts, min_size=1, max_size=3), max_size=4), st.booleans())
def test_a_form_is_judged_as_twilios_library_judges_it(
    url: str, configured: str, fields: dict[str, list[str]], strong: bool
) -> None:
    algorithm = "HMAC_SHA256" if strong else "HMAC_SHA1"
    params = Repeated(fields)
    made = THEIRS.compute_signature(url, params, algorithm)
    headers = {"X-Twilio-Webhooks-Signature-Settings": f"key=k,algorithm={algorithm}"} if strong else {}
    asked = form(urlencode(fields, doseq=True).encode(), made, **headers)
    assert (refusal(at_url(configured), asked) is None) == THEIRS.validate(configured, params, made, algorithm)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.booleans())
def test_json_is_judged_as_twilios_library_judges_it(body: str, other: bool) -> None:
    url = f"https://hooks.example.com/webhooks/x?bodySHA256={sha256(body.encode()).hexdigest()}"
    made = THEIRS.compute_signature(url, {})
    sent = body + "!" * other
    asked = request(sent.encode(), {"X-Twilio-Signature": made, "Content-Type": "application/json"})
    told = refusal(at_url(url), asked)
    assert (told is None) == THEIRS.validate(url, sent, made)
    assert told == ("body_mismatch" if other else None)


def test_a_body_that_is_no_form_needs_its_hash_in_the_url() -> None:
    url = "https://hooks.example.com/webhooks/x"
    made = THEIRS.compute_signature(url, {})
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x", ""):
        asked = request(b'{"amount": 1000000}', {"X-Twilio-Signature": made, "Content-Type": kind})
        assert refusal(at_url(url), asked) == "body_mismatch"
    assert refusal(at_url(url), request(b"", {"X-Twilio-Signature": made}, method="GET")) is None


def test_the_requests_query_counts_where_the_configured_url_has_none() -> None:
    made = THEIRS.compute_signature("https://hooks.example.com/webhooks/x?a=1", {})
    asked = request(b"", {"X-Twilio-Signature": made}, query=b"a=1")
    assert refusal(at_url("https://hooks.example.com/webhooks/x"), asked) is None
    assert refusal(at_url("https://hooks.example.com/webhooks/x?a=2"), asked) == "signature_mismatch"


def test_an_algorithm_that_nobody_knows_is_refused() -> None:
    asked = form(b"a=1", "x", **{"X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=none"})
    assert refusal(at_url("https://hooks.example.com/x"), asked) == "signature_malformed"


def test_a_form_that_no_form_may_be_is_refused() -> None:
    assert refusal(at_url("https://hooks.example.com/x"), form(b"a=%ff", "x")) == "body_malformed"


def test_what_the_bridge_signs_twilios_library_accepts() -> None:
    url = "https://hooks.example.com/webhooks/x"
    made = at_url(url).sign(b"b=2&a=1&a=0", method="POST", at=NOW, delivery_id="1", headers={"content-type": FORM})
    assert THEIRS.validate(url, Repeated(a=["1", "0"], b=["2"]), made["x-twilio-signature"])
