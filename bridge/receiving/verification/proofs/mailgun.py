"""Mailgun: the signature stands in the body, and covers a time and a token there, nothing else.

So a token must be good for one webhook only: it is the delivery id that duplicates are told by, and a webhook whose
token came before is not mapped again, whatever else it holds.

Facts: documentation.mailgun.com, securing webhooks. Events come as JSON (`signature: {timestamp, token, signature}`),
those of old and inbound mail as forms with these fields beside the others.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bridge.errors import CannotSign, NotVerified
from bridge.model import Content, Request
from bridge.receiving.content import cloud_events, forms
from bridge.receiving.verification import timestamps
from bridge.receiving.verification.compilation import Compiled, SecretList, Tolerance, check_secrets
from bridge.receiving.verification.proofs import unverified_body
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import key_of, position_of_match
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Secret

TOLERANCE = 24 * 3600 * 1000  # it tries again for 8 hours, and may not sign anew when it does
LONGEST = 100  # characters of a token; they have 50
_LIKE_JSON = re.compile(rb"\s*[{\[]")


class MailgunSettings(Strict):
    """`verify` for Mailgun."""

    scheme: Literal["mailgun"]
    secrets: SecretList
    tolerance: Tolerance = None
    max_fields: unverified_body.MaxFields = None


class _Signature(Struct):
    """What proves a body."""

    signature: str | None = None
    timestamp: str | None = None
    token: str | None = None


class _Event(Struct):
    """An event in JSON, as far as it proves itself."""

    signature: _Signature | None = None


_FIELDS = (*_Signature.__struct_fields__, "payload")


class Mailgun:
    """A body with a signature of its time and token by one of the secrets."""

    redacted_headers = frozenset([cloud_events.MARK.encode()])
    delivery_id = None

    def __init__(self, secrets: Sequence[Secret], tolerance: int = TOLERANCE, max_fields: int | None = None) -> None:
        self._secrets = tuple(secrets)
        self.tolerance = tolerance
        self._max_fields = max_fields

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        proven, at = self._prove(request, headers)
        timestamps.check(at, now, self.tolerance)
        return proven

    def sign(self, request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        """No header: the signature must stand in the body already.

        Raises:
            CannotSign: it does not, or is not that of the first secret.
        """
        try:
            position = self.prove(request, RequestHeaders(request.headers), request.received_at).secret
        except NotVerified:
            position = None
        if position != 1:
            raise CannotSign("the signature stands in the body, so the payload must be one that Mailgun signed lately")
        return {}

    def _prove(self, request: Request, headers: RequestHeaders) -> tuple[Proven, int]:
        signature = self._signature(request, headers)
        shown = unverified_body.text(signature.signature, Reason.SIGNATURE_MISSING).lower().encode()
        at = unverified_body.text(signature.timestamp, Reason.TIMESTAMP_MISSING).encode()
        nonce = unverified_body.text(signature.token).encode()
        if len(nonce) > LONGEST or not nonce.isascii():  # other text may be read in another charset
            raise NotVerified(Reason.BODY_MALFORMED)
        genuine = (_digest(secret, at + nonce) for secret in self._secrets)
        position = position_of_match(genuine, (shown,), Reason.SIGNATURE_MISMATCH)
        return Proven(position, nonce), timestamps.milliseconds(at, "s")

    def _signature(self, request: Request, headers: RequestHeaders) -> _Signature:
        if _content(request, headers) is Content.JSON:
            signature = unverified_body.members(request, headers, _Event).signature
            if signature is None:
                raise NotVerified(Reason.SIGNATURE_MISSING)
            return signature
        found = unverified_body.fields(request, headers, _FIELDS, self._max_fields)
        if "payload" in found:  # which a source of JSON reads instead
            raise NotVerified(Reason.BODY_MALFORMED)
        return _Signature(**found)


def _content(request: Request, headers: RequestHeaders) -> Content:
    """What the body is, by its Content-Type.

    A body that is read in one way for its proof and in another for the rules would show them another token than the
    proven one. So what could be read as JSON, too, is no form here.

    Raises:
        NotVerified: it is nothing that Mailgun sends.
    """
    media = unverified_body.content_type(headers)
    if media.type in (forms.URL_ENCODED, forms.MULTIPART):
        if media.charset in ("", "utf-8") and not _LIKE_JSON.match(request.body):
            return Content.FORM
    elif media.type == "application/json" or media.type.endswith("+json"):
        return Content.JSON
    raise NotVerified(Reason.BODY_MALFORMED)


def _digest(secret: Secret, content: bytes) -> bytes | None:
    key = key_of("utf8", secret.reveal())
    return None if key is None else hmac.digest(key, content, "sha256").hex().encode()


def compile_mailgun(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: mailgun, secrets: [...]}`."""
    settings, problems = parse(section, MailgunSettings)
    if settings is None:
        return None, problems
    problems += check_secrets(
        section, lambda text: key_of("utf8", text) is not None, "is not text that UTF-8 can write"
    )
    tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
    return Mailgun(settings.secrets, tolerance, settings.max_fields), problems
