"""What the tests of this room share: requests, and verifiers from what ops would write."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from bridge.errors import Problem
from bridge.model import Request
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.settings.document import Document, Section

NOW = 1_700_000_000_000

GITHUB = {"scheme": "github", "secrets": ["It's a Secret to Everybody"]}
STANDARD = {"scheme": "standard-webhooks", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
STRIPE = {
    "scheme": "hmac",
    "secrets": ["whsec_stripe"],
    "header": "Stripe-Signature",
    "separator": ",",
    "item": "v1",
    "signed": ["item:t", "lit:.", "body"],
    "timestamp": "item:t",
}
SLACK = {
    "scheme": "hmac",
    "header": "X-Slack-Signature",
    "prefix": "v0=",
    "signed": ["lit:v0:", "header:X-Slack-Request-Timestamp", "lit::", "body"],
    "timestamp": "header:X-Slack-Request-Timestamp",
    "secrets": ["slack"],
}
MILLISECONDS = {  # as HubSpot has it, but for the URL
    "scheme": "hmac",
    "secrets": ["hubspot"],
    "header": "X-HubSpot-Signature-v3",
    "encoding": "base64",
    "signed": ["method", "body", "header:X-HubSpot-Request-Timestamp"],
    "timestamp": "header:X-HubSpot-Request-Timestamp",
    "timestamp_unit": "ms",
}
SHA512 = {"scheme": "hmac", "header": "X-Signature", "algorithm": "sha512", "key": "hex", "secrets": ["00ff10"]}
TOKEN = {"scheme": "token", "header": "X-Token", "secrets": ["tök-en"]}
BASIC = {"scheme": "basic", "username": "hook", "secrets": ["pass:word"]}

SIGNING = {"github": GITHUB, "standard": STANDARD, "stripe": STRIPE, "slack": SLACK, "ms": MILLISECONDS, "512": SHA512}
PROVING = {**SIGNING, "token": TOKEN, "basic": BASIC}


def compiled(settings: Mapping[str, Any], public_url: str = "") -> Verifier:
    verifier, problems = tried(settings, public_url=public_url)
    assert isinstance(verifier, Verifier), problems
    return verifier


def tried(
    settings: object, places: Mapping[tuple[str | int, ...], tuple[int, int]] | None = None, public_url: str = ""
) -> Any:
    section = Section(Document("sources/x.yaml", {"verify": settings}, places or {}), ("verify",))
    return compile_verifier(section, public_url)


def found(settings: object) -> list[str]:
    """All problems, as people read them."""
    problems: list[Problem] = tried(settings)[1]
    return [str(problem) for problem in problems]


def request(
    body: bytes, headers: Mapping[str, str] | list[tuple[bytes, bytes]], query: bytes = b"", method: str = "POST"
) -> Request:
    pairs = headers if isinstance(headers, list) else [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    return Request(
        source="x",
        method=method,
        path="/webhooks/x",
        query=query,
        headers=tuple(pairs),
        body=body,
        received_at=NOW,
        client="192.0.2.1",
    )


def with_body(asked: Request, body: bytes) -> Request:
    """The same request with another body."""
    return replace(asked, body=body)


def signed(verifier: Verifier, body: bytes = b"{}", at: int = NOW) -> list[tuple[bytes, bytes]]:
    """The headers of a genuine request."""
    made = verifier.sign(body, method="POST", at=at, delivery_id="delivery-1")
    return [(name.encode(), value.encode()) for name, value in made.items()]
