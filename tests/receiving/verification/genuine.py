"""Genuine requests of the senders that no recipe describes, made as only they could: with keys of the tests' own.

`SCHEMES` has one `Genuine` for each way to prove; tests forge from it.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
from authorities import authority, rsa_key
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from msgspec.structs import replace

from bridge.errors import NotVerified
from bridge.model import Request, Webhook
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.remote_keys import KeyNeeded
from bridge.settings.document import Document, Section
from bridge.times import iso

from .support import NOW, request

ROOT = authority("a root")
BETWEEN = ROOT.issue("between", authority=True)
PAYPAL = BETWEEN.issue("messageverificationcerts.paypal.com", key=rsa_key())
AMAZON = ROOT.issue("sns.amazonaws.com", key=rsa_key())
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(0xB0B, ec.SECP256R1())

TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
CERT_OF_SNS = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
CERT_OF_PAYPAL = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"
JWKS = "https://login.example.com/keys"
TWILIO_SECRET = "12345"
MAILGUN_SECRET = "key-mailgun"
CLIENT_STATE = "a state that nobody guesses"
SHARED = "a shared secret of at least 32 bytes"


def raw_public(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def spki(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def key_set(*keys: tuple[str, rsa.RSAPrivateKey]) -> bytes:
    listed = [
        jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"}
        for kid, key in keys
    ]
    return json.dumps({"keys": listed}).encode()


PUBLISHED = {CERT_OF_SNS: AMAZON.pem, CERT_OF_PAYPAL: PAYPAL.pem + BETWEEN.pem, JWKS: key_set(("one", rsa_key()))}


def discord(body: bytes, at: int) -> Request:
    seconds = str(at // 1000)
    signed = ED25519.sign(seconds.encode() + body)
    return request(body, {"X-Signature-Ed25519": signed.hex(), "X-Signature-Timestamp": seconds})


def sendgrid(body: bytes, at: int) -> Request:
    seconds = str(at // 1000)
    signed = P256.sign(seconds.encode() + body, ec.ECDSA(hashes.SHA256()))
    begin = "X-Twilio-Email-Event-Webhook"
    return request(body, {f"{begin}-Signature": b64(signed), f"{begin}-Timestamp": seconds})


def standard_v1a(body: bytes, at: int) -> Request:
    seconds = str(at // 1000)
    signed = ED25519.sign(f"msg_1.{seconds}.".encode() + body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": seconds, "webhook-signature": f"v1a,{b64(signed)}"}
    return request(body, headers)


def paypal(body: bytes, at: int, webhook_id: str = "8PT597110X687430LKGECATA") -> Request:
    seconds = iso(at)
    signed = rsa_key().sign(f"69cd13f0|{seconds}|{webhook_id}|{zlib.crc32(body)}".encode(), *_RSA)
    headers = {
        "PAYPAL-TRANSMISSION-ID": "69cd13f0",
        "PAYPAL-TRANSMISSION-TIME": seconds,
        "PAYPAL-TRANSMISSION-SIG": b64(signed),
        "PAYPAL-CERT-URL": CERT_OF_PAYPAL,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }
    return request(body, headers)


_RSA = (padding.PKCS1v15(), hashes.SHA256())


def sns_message(at: int, **changed: Any) -> dict[str, Any]:
    """A message before it is signed."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "An order",
        "Message": '{"order": 1}',
        "Timestamp": iso(at),
        "SignatureVersion": "2",
        "SigningCertURL": CERT_OF_SNS,
    } | changed


def signed_by_amazon(message: dict[str, Any]) -> dict[str, Any]:
    """As docs.aws.amazon.com/sns (verifying signatures) says it, written apart from what is tested."""
    content = ""
    for name in ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"):
        wanted = name not in ("SubscribeURL", "Token") if message["Type"] == "Notification" else name != "Subject"
        if wanted and name in message:
            content += name + "\n" + message[name] + "\n"
    algorithm = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    return message | {"Signature": b64(rsa_key().sign(content.encode(), padding.PKCS1v15(), algorithm))}


def sns(body: bytes, at: int) -> Request:
    message = signed_by_amazon(sns_message(at, Message=body.decode()))
    return request(json.dumps(message).encode(), {"content-type": "text/plain; charset=UTF-8"})


def twilio(body: bytes, at: int) -> Request:
    fields = {"MessageSid": "SM1", "Body": body.decode()}
    content = "https://hooks.example.com/webhooks/x" + "".join(name + fields[name] for name in sorted(fields))
    made = b64(hmac.digest(TWILIO_SECRET.encode(), content.encode(), "sha1"))
    headers = {"X-Twilio-Signature": made, "Content-Type": "application/x-www-form-urlencoded"}
    return request(urlencode(fields).encode(), headers)


def mailgun_signature(at: int, token: str = "t" * 50, secret: str = MAILGUN_SECRET) -> dict[str, str]:
    seconds = str(at // 1000)
    made = hmac.digest(secret.encode(), (seconds + token).encode(), "sha256").hex()
    return {"timestamp": seconds, "token": token, "signature": made}


def mailgun(body: bytes, at: int) -> Request:
    event = {"signature": mailgun_signature(at), "event-data": {"event": "opened", "text": body.decode()}}
    return request(json.dumps(event).encode(), {"content-type": "application/json"})


def graph(body: bytes, at: int) -> Request:
    item = {"subscriptionId": "1", "changeType": "updated", "clientState": CLIENT_STATE, "resource": body.decode()}
    return request(json.dumps({"value": [item, item]}).encode(), {"content-type": "application/json"})


def jira_connect(body: bytes, at: int) -> Request:
    qsh = hashlib.sha256(b"POST&/x&user=1").hexdigest()
    told = {"iss": "jira:1", "iat": at // 1000, "exp": at // 1000 + 180, "qsh": qsh}
    token = jwt.encode(told, SHARED, "HS256")
    return request(body, {"Authorization": f"JWT {token}"}, query=b"user=1")


def bearer_claims(at: int, **changed: Any) -> dict[str, Any]:
    seconds = at // 1000
    told = {"iss": "https://login.example.com/", "aud": "api://bridge", "appid": "grid", "nbf": seconds}
    return told | {"exp": seconds + 3600} | changed


def bearer(body: bytes, at: int) -> Request:
    token = jwt.encode(bearer_claims(at), rsa_key(), "RS256", headers={"kid": "one"})
    return request(body, {"Authorization": f"Bearer {token}"})


@dataclass(frozen=True, kw_only=True)
class Genuine:
    """One sender: what ops write, a request that it makes of a text at a time, and what its proof covers."""

    settings: Mapping[str, Any]
    make: Callable[[bytes, int], Request]
    other: Mapping[str, Any]  # settings by which a request of it is not genuine
    headers: tuple[str, ...] = ()  # those that the proof reads
    covers_body: bool = True
    tolerance: int | None = None  # milliseconds; None where nothing of it grows stale
    public_url: str = ""
    future: bool = True  # whether a time to come is refused
    roots: bool = False

    def verifier(self, **changed: Any) -> Verifier:
        settings = {**self.settings, **changed}
        verifier, problems = compile_verifier(
            Section(Document("sources/x.yaml", {"verify": settings}), ("verify",)), self.public_url
        )
        assert isinstance(verifier, Verifier), problems
        return verifier


SCHEMES: Mapping[str, Genuine] = {
    "discord": Genuine(
        settings={"scheme": "discord", "secrets": [raw_public(ED25519).hex()]},
        other={"secrets": [bytes(32).hex()]},
        make=discord,
        headers=("x-signature-ed25519", "x-signature-timestamp"),
        tolerance=300_000,
    ),
    "sendgrid": Genuine(
        settings={"scheme": "sendgrid", "secrets": [spki(P256)]},
        other={"secrets": [spki(ec.derive_private_key(7, ec.SECP256R1()))]},
        make=sendgrid,
        headers=("x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"),
        tolerance=2 * 86_400_000,
    ),
    "standard-webhooks": Genuine(
        settings={"scheme": "standard-webhooks", "secrets": ["whpk_" + b64(raw_public(ED25519))]},
        other={"secrets": ["whpk_" + b64(bytes(32))]},
        make=standard_v1a,
        headers=("webhook-id", "webhook-timestamp", "webhook-signature"),
        tolerance=300_000,
    ),
    "paypal": Genuine(
        settings={"scheme": "paypal", "webhook_id": "8PT597110X687430LKGECATA", "roots": ROOT.pem.decode()},
        other={"webhook_id": "another"},
        make=paypal,
        headers=(
            "paypal-transmission-id",
            "paypal-transmission-time",
            "paypal-transmission-sig",
            "paypal-cert-url",
        ),
        tolerance=4 * 86_400_000,
    ),
    "aws-sns": Genuine(
        settings={"scheme": "aws-sns", "topic_arns": [TOPIC]},
        other={"topic_arns": [TOPIC + "s"]},
        make=sns,
        tolerance=86_400_000,
    ),
    "twilio": Genuine(
        settings={"scheme": "twilio", "secrets": [TWILIO_SECRET]},
        other={"secrets": ["54321"]},
        make=twilio,
        headers=("x-twilio-signature", "content-type"),
        public_url="https://hooks.example.com/webhooks/x",
    ),
    "mailgun": Genuine(
        settings={"scheme": "mailgun", "secrets": [MAILGUN_SECRET]},
        other={"secrets": ["another"]},
        make=mailgun,
        covers_body=False,
        tolerance=86_400_000,
    ),
    "microsoft-graph": Genuine(
        settings={"scheme": "microsoft-graph", "secrets": [CLIENT_STATE]},
        other={"secrets": ["another"]},
        make=graph,
        covers_body=False,
    ),
    "jira-connect": Genuine(
        settings={"scheme": "jira-connect", "secrets": [SHARED], "base_url": "https://hooks.example.com/webhooks"},
        other={"secrets": [SHARED + "!"]},
        make=jira_connect,
        headers=("authorization",),
        covers_body=False,
        tolerance=240_000,  # 180 s of the token, and what clocks may differ by
        future=False,
        public_url="https://hooks.example.com/webhooks/x",
    ),
    "bearer": Genuine(
        settings={
            "scheme": "bearer",
            "jwks_url": JWKS,
            "issuer": "https://login.example.com/",
            "audience": ["api://other", "api://bridge"],
            "claims": {"appid": "grid"},
        },
        other={"audience": "api://other"},
        make=bearer,
        headers=("authorization",),
        covers_body=False,
        tolerance=3_660_000,
        future=False,
    ),
}


def verified(verifier: Verifier, asked: Request, now: int = NOW, published: Mapping[str, bytes] = PUBLISHED) -> Webhook:
    """Verify as the intake does: a key that is needed is fetched, and then it is tried once more."""

    async def look_up(url: str) -> bytes:
        if url not in published:
            raise NotVerified(Reason.KEY_UNUSABLE)
        return published[url]

    try:
        return verifier.verify(asked, now)
    except KeyNeeded as needed:
        asyncio.run(needed.fetch(look_up))
    return verifier.verify(asked, now)


def refusal(verifier: Verifier, asked: Request, now: int = NOW) -> str | None:
    """Why a request is refused; None where it is not."""
    try:
        verified(verifier, asked, now)
    except NotVerified as error:
        return Reason(error.reason)
    return None


def with_header(asked: Request, name: str, *values: bytes) -> Request:
    """The request with these values of a header instead of its own."""
    kept = tuple(pair for pair in asked.headers if pair[0] != name.encode())
    return replace(asked, headers=kept + tuple((name.encode(), value) for value in values))
