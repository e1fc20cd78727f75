"""The vendors' own libraries and the bridge agree: what one signs the other verifies, on generated bodies."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier

from bridge.errors import NotVerified
from bridge.receiving.verification import Verifier
from bridge.times import now

from .support import compiled, request

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STRIPE = compiled({"scheme": "stripe", "secrets": [WHSEC]})
SLACK = compiled({"scheme": "slack", "secrets": [WHSEC]})
SVIX = compiled({"scheme": "svix", "secrets": [WHSEC]})
STANDARD = compiled({"scheme": "standard-webhooks", "secrets": [WHSEC]})

texts = st.text(st.characters(codec="utf-8"), max_size=60)
objects = texts.map(lambda text: f'{{"id": "1", "text": {json.dumps(text)}}}')  # what these libraries also parse


def signed(verifier: Verifier, body: bytes) -> dict[str, str]:
    return verifier.sign(body, method="POST", at=now(), delivery_id="msg_1")


def verifies(verifier: Verifier, body: bytes, headers: dict[str, str]) -> bool:
    try:
        verifier.verify(request(body, headers), now())
    except NotVerified:
        return False
    return True


@given(objects, st.booleans())
def test_stripe(text: str, altered: bool) -> None:
    header = signed(STRIPE, text.encode())["stripe-signature"]
    sent = text + " " * altered
    try:
        stripe.Webhook.construct_event(sent, header, WHSEC)
    except stripe.SignatureVerificationError:
        theirs = False
    else:
        theirs = True
    assert theirs is verifies(STRIPE, sent.encode(), {"Stripe-Signature": header}) is not altered


@given(st.binary(max_size=60), st.booleans())
def test_slack(body: bytes, altered: bool) -> None:
    at = now()

    class Now(Clock):
        def now(self) -> float:
            return at / 1000

    sdk = SignatureVerifier(WHSEC, Now())
    time = str(at // 1000)
    text = body.decode("latin-1")
    signature = sdk.generate_signature(timestamp=time, body=text)
    assert signature is not None
    sent = text + "x" * altered
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": time}
    assert sdk.is_valid_request(sent, headers) is verifies(SLACK, sent.encode(), headers) is not altered
    ours = signed(SLACK, text.encode())
    assert sdk.is_valid(text, ours["x-slack-request-timestamp"], ours["x-slack-signature"])


@pytest.mark.parametrize(
    ("verifier", "start", "library"),
    [
        (SVIX, "svix", "svix"),  # which takes half a second to import
        (STANDARD, "webhook", "standardwebhooks"),
    ],
)
@given(text=objects, altered=st.booleans())
def test_standard_webhooks(verifier: Verifier, start: str, library: str, text: str, altered: bool) -> None:
    sdk: Any = import_module(library).Webhook(WHSEC)
    moment = datetime.now(UTC)
    signature = sdk.sign("msg_1", moment, text)
    headers = {
        f"{start}-id": "msg_1",
        f"{start}-timestamp": str(int(moment.timestamp())),
        f"{start}-signature": signature,
    }
    sent = text + " " * altered
    assert verifies(verifier, sent.encode(), headers) is not altered
    refusal = import_module(f"{library}.webhooks").WebhookVerificationError
    for ours in (signed(verifier, text.encode()), headers):
        with pytest.raises(refusal) if altered else nullcontext():
            sdk.verify(sent, ours)
