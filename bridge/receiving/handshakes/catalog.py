"""The catalogue of handshakes: requests that senders make beside their webhooks, one row of `HANDSHAKES` each.

Nothing here has effects. What must be done before an answer is given (a secret kept, a URL called) stands in the
`Reply`, and the intake does it. A stranger can ask most of this: what is echoed is short, plain text, never HTML.
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bridge import jsontext
from bridge.errors import Problem, Severity
from bridge.model import Request
from bridge.receiving.handshakes.handshake import (
    Asked,
    Handshake,
    HandshakeKeys,
    HandshakeRefusal,
    Reply,
    Step,
    refused,
)
from bridge.receiving.senders.sender import Sender
from bridge.receiving.senders.sns_urls import CONFIRMATIONS
from bridge.receiving.verification.secret_match import signing
from bridge.settings.document import Section
from bridge.settings.secrets import Secret, written
from bridge.settings.source_schema import SourceSettings

_SMALL = 16 * 1024  # bytes of a body that is read before anything about it is proven
_TEXT = re.compile(r"[ -;=?-~]{1,1000}")  # printable ASCII, and neither < nor >
_TOKEN = re.compile(r"[A-Za-z0-9+/=._-]{1,255}")
_SECRET = re.compile(r"[!-~]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")


def _text(text: Any) -> Reply:
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        return refused(HandshakeRefusal.MALFORMED)
    return Reply(headers=((b"content-type", b"text/plain"),), body=text.encode())


def _json(value: dict[str, Any]) -> Reply:
    return Reply(headers=((b"content-type", b"application/json"),), body=jsontext.encode(value))


def _json_of(name: str, text: Any) -> Reply:
    return _json({name: text}) if _text(text).refused is None else refused(HandshakeRefusal.MALFORMED)


def _ok(_asked: Asked) -> Reply:
    return Reply()


def _echo(name: str) -> Callable[[Asked], Reply]:
    return lambda asked: _text(asked.parameter(name))


def _parameter(name: bytes) -> Callable[[Request], bool]:
    return lambda request: name in request.query


def _header(name: bytes, value: bytes | None = None) -> Callable[[Request], bool]:
    return lambda request: any(name == given and value in (None, said) for given, said in request.headers)


def _holds(words: bytes) -> Callable[[Request], bool]:
    return lambda request: words in request.body


def _meta(asked: Asked) -> Reply | None:
    ours = asked.keys.verify_token
    if asked.parameter("hub.mode") != "subscribe":
        return refused(HandshakeRefusal.MALFORMED)
    if ours is None:
        return refused(HandshakeRefusal.VERIFY_TOKEN_UNSET)
    if not hmac.compare_digest(asked.parameter("hub.verify_token").encode(), ours.reveal().encode()):
        return refused(HandshakeRefusal.VERIFY_TOKEN_MISMATCH)
    return _text(asked.parameter("hub.challenge"))


def _zoom(asked: Asked) -> Reply | None:
    payload = asked.member("payload")
    if asked.member("event") != "endpoint.url_validation":
        return None
    token = payload.get("plainToken") if isinstance(payload, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return refused(HandshakeRefusal.MALFORMED)
    digest = hmac.digest(_key(asked), token.encode(), "sha256")
    return _json({"plainToken": token, "encryptedToken": digest.hex()})


def _x(asked: Asked) -> Reply | None:
    """X signs its webhooks like this, so what is signed here must never be taken for a webhook: see `_is_token`."""
    token = asked.parameter("crc_token")
    if not _TOKEN.fullmatch(token):
        return refused(HandshakeRefusal.MALFORMED)
    digest = hmac.digest(_key(asked), token.encode(), "sha256")
    return _json({"response_token": "sha256=" + b64encode(digest).decode()})


def _is_token(request: Request) -> bool:
    return len(request.body) <= 255 and _TOKEN.fullmatch(request.body.decode("latin-1")) is not None


def _key(asked: Asked) -> bytes:
    secrets = asked.keys.secrets
    return (secrets[asked.secret - 1] if asked.secret else signing(secrets)).reveal().encode()


def _slack(asked: Asked) -> Reply | None:
    return _text(asked.member("challenge")) if asked.member("type") == "url_verification" else None


def _event_grid(asked: Asked) -> Reply:
    events = asked.body()
    data = events[0].get("data") if isinstance(events, list) and events and isinstance(events[0], dict) else None
    return _json_of("validationResponse", data.get("validationCode") if isinstance(data, dict) else None)


def _cloudevents(asked: Asked) -> Reply:
    """Consent to be sent to (http-webhook.md, section 4). The callback is never called: it is a stranger's URL."""
    origin = asked.header(b"webhook-request-origin")
    if not _HOST.fullmatch(origin):
        return refused(HandshakeRefusal.MALFORMED)
    rate = "*" if asked.keys.rate is None else str(asked.keys.rate)
    return Reply(
        headers=(
            (b"allow", b"POST"),
            (b"webhook-allowed-origin", origin.encode()),
            (b"webhook-allowed-rate", rate.encode()),
        )
    )


def _sns(asked: Asked) -> Reply | None:
    """Call the URL, within the answer: where that fails, the sender hears so and comes again.

    That it is a message of one of the source's topics is part of what its signature's verification proves.
    """
    if asked.member("Type") != "SubscriptionConfirmation":
        return None
    url = asked.member("SubscribeURL")
    known = isinstance(url, str) and CONFIRMATIONS.fullmatch(url)
    return Reply(visit=url) if known else refused(HandshakeRefusal.URL_NOT_ALLOWED)


def _asana(asked: Asked) -> Reply:
    secret = asked.header(b"x-hook-secret")
    reply = _handed_over(asked, secret)
    return reply if reply.refused else replace(reply, headers=((b"x-hook-secret", secret.encode()),))


def _notion(asked: Asked) -> Reply | None:
    token = asked.member("verification_token")
    return None if token is None else _handed_over(asked, token)


def _is_of_notion(request: Request) -> bool:
    signed = _header(b"x-notion-signature")(request)
    return not signed and len(request.body) <= _SMALL and b'"verification_token"' in request.body


def _handed_over(asked: Asked, secret: Any) -> Reply:
    if not asked.keys.registering:
        return refused(HandshakeRefusal.NOT_REGISTERING)
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        return refused(HandshakeRefusal.MALFORMED)
    return Reply(keep=secret)


def _discord(asked: Asked) -> Reply | None:
    return Reply(is_nothing=True) if asked.member("type") == 0 else _json({"type": 1})


def _is_ping_of_discord(request: Request) -> bool:
    """Type 0 of webhook events, or type 1 of interactions; that of webhook events is an event, and holds one."""
    body = Asked(request=request, keys=HandshakeKeys()).body() if len(request.body) <= _SMALL else None
    kind = body.get("type") if isinstance(body, dict) and "event" not in body else None
    return type(kind) is int and kind in (0, 1)


def _is_of_no_event(request: Request) -> bool:
    return re.search(rb'"events"\s*:\s*\[\s*\]', request.body) is not None


def _xero(asked: Asked) -> Reply | None:
    return Reply() if asked.member("events") == [] else None


def _intercom(asked: Asked) -> Reply | None:
    return Reply() if asked.member("topic") == "ping" else None


_CONSENT = Step(method="OPTIONS", when=_header(b"webhook-request-origin"), answer=_cloudevents)

HANDSHAKES: Mapping[str, Handshake] = {
    "asana": Handshake(steps=(Step(when=_header(b"x-hook-secret"), answer=_asana),)),
    "aws-sns": Handshake(steps=(Step(when=_holds(b"SubscriptionConfirmation"), answer=_sns, signed=True),)),
    "cloudevents": Handshake(steps=(_CONSENT,)),
    "discord": Handshake(steps=(Step(when=_is_ping_of_discord, answer=_discord, signed=True),)),
    "dropbox": Handshake(steps=(Step(method="GET", when=_parameter(b"challenge="), answer=_echo("challenge")),)),
    "event-grid": Handshake(
        steps=(
            _CONSENT,
            Step(when=_header(b"aeg-event-type", b"SubscriptionValidation"), answer=_event_grid, signed=True),
        )
    ),
    "head": Handshake(steps=(Step(method="HEAD", answer=_ok),)),
    "intercom": Handshake(
        steps=(Step(method="HEAD", answer=_ok), Step(when=_holds(b'"ping"'), answer=_intercom, signed=True))
    ),
    "meta": Handshake(steps=(Step(method="GET", when=_parameter(b"hub.mode="), answer=_meta),)),
    "microsoft-graph": Handshake(steps=(Step(when=_parameter(b"validationToken="), answer=_echo("validationToken")),)),
    "notion": Handshake(steps=(Step(when=_is_of_notion, answer=_notion),)),
    "okta": Handshake(
        steps=(
            Step(
                method="GET",
                when=_header(b"x-okta-verification-challenge"),
                answer=lambda asked: _json_of("verification", asked.header(b"x-okta-verification-challenge")),
            ),
        )
    ),
    "slack": Handshake(steps=(Step(when=_holds(b'"url_verification"'), answer=_slack, signed=True),)),
    "x": Handshake(
        steps=(
            Step(method="GET", when=_parameter(b"crc_token="), answer=_x),
            Step(method="", when=_is_token, answer=lambda _: refused(HandshakeRefusal.CHALLENGE_AS_BODY)),
        )
    ),
    "xero": Handshake(steps=(Step(when=_is_of_no_event, answer=_xero, signed=True),)),
    "zoom": Handshake(steps=(Step(when=_holds(b'"endpoint.url_validation"'), answer=_zoom, signed=True),)),
}


def compile_handshake(
    sender: Sender | None, source: Section, settings: SourceSettings
) -> tuple[Handshake | None, list[Problem]]:
    """The handshake of a source's sender, with what the source says for it; None where it has none.

    The source's `verify` is read as it stands: whether its shape is right is told where its verifier is compiled.
    """
    verify = source["verify"].value
    secrets = tuple(secret for _, secret in written(verify.get("secrets", ())))
    problems = []
    if settings.registering and not (sender and sender.hands_over):
        place = source["registering"]
        problems.append(place.problem("is for senders that hand over a secret, and this one does not", "remove it"))
    elif settings.registering:
        message = "lets anyone who knows the URL hand over a secret"
        hint = "remove it once `bridge secrets` has shown yours"
        problems.append(source["registering"].problem(message, hint, Severity.WARNING))
    elif sender and sender.hands_over and not any(secrets):
        hint = "give at least one that is not empty, or say registering: true until the sender has handed one over"
        problems.append(source["verify"]["secrets"].problem("holds no secret", hint))
    if sender is None or not sender.handshake:
        return None, problems
    token = verify.get("verify_token")
    keys = HandshakeKeys(
        secrets=secrets,
        verify_token=Secret.from_settings(token) if token else None,
        registering=settings.registering,
        rate=max(1, settings.rate.count * 60_000 // settings.rate.per) if settings.rate else None,
    )
    return replace(HANDSHAKES[sender.handshake], name=sender.handshake, keys=keys), problems
