"""Twilio: HMAC of the URL and the sorted fields of the form; of JSON, of the URL alone, which holds the body's hash.

Facts: twilio-python, twilio/request_validator.py; twilio.com/docs/usage/webhooks/webhooks-security. Names and values
are signed without anything between them, so who has one genuine request can move letters from a value into the next
name, and the other way round.
"""

import hashlib
import hmac
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from typing import Literal
from urllib.parse import SplitResult, parse_qs, urlsplit

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.content import cloud_events, forms
from bridge.receiving.verification.compilation import (
    Compiled,
    SecretList,
    Tolerance,
    check_secrets,
    check_untimed,
    check_url,
)
from bridge.receiving.verification.proofs import unverified_body
from bridge.receiving.verification.public_url import PublicUrl
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import key_of, position_of_match, signing
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Secret

HEADER = b"x-twilio-signature"
SETTINGS_HEADER = b"x-twilio-webhooks-signature-settings"
BODY_HASH = "bodySHA256"
MOST_PARAMETERS = 200
_PORTS = {"https": 443, "http": 80}
_ALGORITHMS = {"hmac_sha1": "sha1", "hmac_sha256": "sha256"}


class TwilioSettings(Strict):
    """`verify` for Twilio."""

    scheme: Literal["twilio"]
    secrets: SecretList
    tolerance: Tolerance = None
    max_fields: unverified_body.MaxFields = None


class Twilio:
    """A request to `public_url`, signed by one of the secrets."""

    redacted_headers = frozenset([HEADER, cloud_events.MARK.encode()])
    tolerance = None
    delivery_id = None

    def __init__(self, secrets: Sequence[Secret], public_url: str, max_fields: int | None = None) -> None:
        self._secrets = tuple(secrets)
        self._url = PublicUrl(public_url)
        self._max_fields = max_fields

    def prove(self, request: Request, headers: RequestHeaders, _now: int) -> Proven:
        shown = headers.one(HEADER, Reason.SIGNATURE_MISSING)
        algorithm = _algorithm(headers)
        written = _written(request, headers, self._max_fields)
        url = self._url.called(request).decode("latin-1")
        if written is None:
            _check_body(url, request.body)
        refusal = NotVerified(Reason.SIGNATURE_MISMATCH)
        for form in _forms_of(url):
            content = form.encode("latin-1") + (written or b"")
            genuine = (_signature(secret, content, algorithm) for secret in self._secrets)
            try:
                return Proven(position_of_match(genuine, (shown,), Reason.SIGNATURE_MISMATCH))
            except NotVerified as error:
                refusal = error
        raise refusal

    def sign(self, request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        """As Twilio signs a form, or a request without a body.

        Raises:
            NotVerified: the first secret is no key, or the body is no form and its hash is not in the URL.
        """
        headers = RequestHeaders(request.headers)
        url = self._url.called(request)
        written = _written(request, headers, self._max_fields)
        if written is None:
            _check_body(url.decode("latin-1"), request.body)
        made = _signature(signing(self._secrets), url + (written or b""), _algorithm(headers))
        if made is None:
            raise NotVerified(Reason.SECRET_UNUSABLE)
        return {HEADER: made}


def _algorithm(headers: RequestHeaders) -> str:
    """SHA-1, unless the sender says SHA-256 by `key=...,algorithm=HMAC_SHA256`; either needs one of our secrets."""
    for item in headers.get(SETTINGS_HEADER).decode("latin-1").split(","):
        name, _, value = item.partition("=")
        if name.strip() == "algorithm" and value.strip():
            if value.strip().lower() not in _ALGORITHMS:
                raise NotVerified(Reason.SIGNATURE_MALFORMED)
            return _ALGORITHMS[value.strip().lower()]
    return "sha1"


def _written(request: Request, headers: RequestHeaders, max_fields: int | None) -> bytes | None:
    """What is signed of a form behind the URL: names and values, sorted, each value of a name once; None of no form."""
    if unverified_body.content_type(headers).type != forms.URL_ENCODED:
        return None
    written = []
    for name, value in sorted(unverified_body.all_fields(request, headers, max_fields).items()):
        written += [name + one for one in sorted(set(value if isinstance(value, list) else [value]))]
    return "".join(written).encode()


def _check_body(url: str, body: bytes) -> None:
    """Refuse a body that the URL, which is signed, does not hold the hash of. None at all needs no hash."""
    try:
        told = parse_qs(urlsplit(url).query, max_num_fields=MOST_PARAMETERS).get(BODY_HASH, [])
    except ValueError:
        raise NotVerified(Reason.BODY_MISMATCH) from None
    if not told and not body:
        return
    ours = hashlib.sha256(body).hexdigest().encode()
    position_of_match((ours,), [one.lower().encode() for one in told[:1]], Reason.BODY_MISMATCH)


def _forms_of(url: str) -> Iterator[str]:
    """The URL as it stands, and with the port the other way: Twilio leaves ports out, and adds the usual ones."""
    yield url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return
    host, _, written = parts.netloc.rpartition(":") if port else (parts.netloc, "", "")
    if written:
        yield _with(parts, host)
    elif parts.scheme in _PORTS:
        yield _with(parts, f"{parts.netloc}:{_PORTS[parts.scheme]}")


def _with(parts: SplitResult, netloc: str) -> str:
    return parts._replace(netloc=netloc).geturl()


def _signature(secret: Secret, content: bytes, algorithm: str) -> bytes | None:
    key = key_of("utf8", secret.reveal())
    return None if key is None else b2a_base64(hmac.digest(key, content, algorithm), newline=False)


def compile_twilio(section: Section, public_url: str) -> Compiled:
    """`verify: {scheme: twilio, secrets: [...]}`."""
    settings, problems = parse(section, TwilioSettings)
    if settings is None:
        return None, problems
    problems += check_url(section, public_url)
    problems += check_untimed(section, settings.tolerance)
    problems += check_secrets(
        section, lambda text: key_of("utf8", text) is not None, "is not text that UTF-8 can write"
    )
    return Twilio(settings.secrets, public_url, settings.max_fields), problems
