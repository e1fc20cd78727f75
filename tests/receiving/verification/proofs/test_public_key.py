"""Signatures by a private key: those that senders' own libraries make and accept are ours, and no others."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey
from sendgrid.helpers.eventwebhook import EventWebhook

from bridge.errors import CannotSign
from bridge.receiving.senders.signature_spec import SignatureSpec
from bridge.receiving.verification.proofs.public_key import ED25519_HEX, MOST_SIGNATURES, PublicKeys, by_secrets
from bridge.receiving.verification.verifier import Verifier
from bridge.settings.secrets import FileText, Secret
from receiving.verification.genuine import (
    ED25519,
    P256,
    SCHEMES,
    b64,
    discord,
    raw_public,
    refusal,
    sendgrid,
    spki,
    standard_v1a,
    verified,
)
from receiving.verification.support import NOW, STANDARD, compiled, request, signed, with_body

VECTORS = [
    vector
    for vector in json.loads((Path(__file__).parents[1] / "vectors.json").read_text(encoding="utf-8"))
    if vector["scheme"] == "sendgrid"
]
PUBLIC = "whpk_" + b64(raw_public(ED25519))
OTHER_PUBLIC = "whpk_" + b64(bytes(range(32)))
SECRET = STANDARD["secrets"][0]


@pytest.mark.parametrize("vector", VECTORS, ids=[str(number) for number in range(len(VECTORS))])
def test_what_sendgrid_publishes_is_judged_as_it_says(vector: dict[str, Any]) -> None:
    verifier = compiled({"scheme": "sendgrid", "secrets": [vector["secret"]]})
    told = refusal(verifier, request(vector["body"].encode(), vector["headers"]), vector["timestamp"] * 1000)
    assert (told is None) == vector["valid"]


def test_there_are_vectors() -> None:
    assert [vector["valid"] for vector in VECTORS] == [True, False, False, False, False]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_sendgrids_library_accepts_what_we_accept(body: str) -> None:
    asked = sendgrid(body.encode(), NOW)
    given = {name.decode(): value.decode() for name, value in asked.headers}
    begin = "x-twilio-email-event-webhook"
    theirs = EventWebhook(spki(P256))
    told = (given[f"{begin}-signature"], given[f"{begin}-timestamp"])
    assert theirs.verify_signature(body, *told)
    assert not theirs.verify_signature(body + "!", *told)
    verifier = SCHEMES["sendgrid"].verifier()
    assert refusal(verifier, asked) is None
    assert refusal(verifier, with_body(asked, body.encode() + b"!")) == "signature_mismatch"


@given(st.binary(), st.binary(min_size=32, max_size=32))
def test_what_libsodium_signs_is_verified_and_what_we_verify_it_verifies(body: bytes, seed: bytes) -> None:
    seconds = str(NOW // 1000).encode()
    key = SigningKey(seed)
    verifier = compiled({"scheme": "discord", "secrets": [bytes(key.verify_key).hex()]})
    made = key.sign(seconds + body).signature
    headers = [(b"x-signature-ed25519", made.hex().encode()), (b"x-signature-timestamp", seconds)]
    assert refusal(verifier, request(body, headers)) is None
    assert refusal(verifier, request(body + b"!", headers)) == "signature_mismatch"

    ours = dict(discord(body, NOW).headers)[b"x-signature-ed25519"]
    VerifyKey(raw_public(ED25519)).verify(seconds + body, bytes.fromhex(ours.decode()))


def test_any_of_the_keys_will_do_and_it_is_told_which() -> None:
    verifier = compiled({"scheme": "discord", "secrets": [bytes(range(32)).hex(), raw_public(ED25519).hex().upper()]})
    assert verified(verifier, discord(b"a body", NOW)).secret == 2


def test_secrets_and_public_keys_stand_side_by_side() -> None:
    by_secret = compiled(STANDARD)
    v1, v1a = dict(signed(by_secret, b"{}")), dict(standard_v1a(b"{}", NOW).headers)
    for secrets, of_v1, of_v1a in (
        ([SECRET, PUBLIC], 1, 2),
        ([PUBLIC, SECRET], 2, 1),
        ([OTHER_PUBLIC, PUBLIC, "whsec_AAAA", SECRET], 4, 2),
    ):
        verifier = compiled({"scheme": "standard-webhooks", "secrets": secrets})
        assert verified(verifier, request(b"{}", list(v1.items()))).secret == of_v1
        assert verified(verifier, request(b"{}", list(v1a.items()))).secret == of_v1a
        assert refusal(verifier, request(b"{ }", list(v1.items()))) is not None
        assert refusal(verifier, request(b"{ }", list(v1a.items()))) is not None


def test_one_header_may_hold_both_kinds_of_signatures() -> None:
    asked = dict(standard_v1a(b"{}", NOW).headers)
    (good,) = (asked[b"webhook-signature"],)
    both = compiled({"scheme": "standard-webhooks", "secrets": [SECRET, PUBLIC]})
    only = compiled({"scheme": "standard-webhooks", "secrets": [PUBLIC]})
    wrong = b"v1a," + b64encode(bytes(64))
    for items in ([b"v1,AAAA", good], [good, b"v1,AAAA"], [wrong, good], [b"v1a,!", b"v2a,x", b"", good]):
        headers = list((asked | {b"webhook-signature": b" ".join(items)}).items())
        assert refusal(both, request(b"{}", headers)) is None
        assert refusal(only, request(b"{}", headers)) is None
    for items in ([wrong], [b"v1a,!"], [b"v1," + good[4:]], [good[:-4]]):
        headers = list((asked | {b"webhook-signature": b" ".join(items)}).items())
        assert refusal(both, request(b"{}", headers)) is not None
        assert refusal(only, request(b"{}", headers)) is not None


def test_only_so_many_signatures_are_looked_at() -> None:
    asked = dict(standard_v1a(b"{}", NOW).headers)
    good, wrong = asked[b"webhook-signature"], b"v1a," + b64encode(bytes(64))
    verifier = compiled({"scheme": "standard-webhooks", "secrets": [PUBLIC]})
    for before, told in ((MOST_SIGNATURES - 1, None), (MOST_SIGNATURES, "signature_mismatch")):
        headers = list((asked | {b"webhook-signature": b" ".join([wrong] * before + [good])}).items())
        assert refusal(verifier, request(b"{}", headers)) == told


def test_the_bridge_signs_by_a_secret_that_stands_first_only() -> None:
    assert signed(compiled({"scheme": "standard-webhooks", "secrets": [SECRET, PUBLIC]}))
    with pytest.raises(CannotSign):
        signed(compiled({"scheme": "standard-webhooks", "secrets": [PUBLIC, SECRET]}))


def test_a_key_from_a_file_that_is_no_key_any_more_proves_nothing() -> None:
    text = raw_public(ED25519).hex()
    secret = Secret(FileText(lambda: text))
    recipe = SignatureSpec(header="X-Signature-Ed25519", signed=("header:X-Signature-Timestamp", "body"))
    verifier = Verifier("discord", PublicKeys(recipe, by_secrets(ED25519_HEX, [secret]), None))
    assert refusal(verifier, discord(b"{}", NOW)) is None
    text = "no key"
    assert refusal(verifier, discord(b"{}", NOW)) == "secret_unusable"


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_no_other_bytes_are_a_signature(value: bytes) -> None:
    asked = request(b"{}", [(b"x-signature-ed25519", value.hex().encode()), (b"x-signature-timestamp", b"1700000000")])
    told = "signature_missing" if not value else "signature_mismatch"
    assert refusal(SCHEMES["discord"].verifier(), asked) == told
