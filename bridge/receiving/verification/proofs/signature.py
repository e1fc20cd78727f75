"""Verifies and makes HMAC signatures by a signature specification."""

import hashlib
import hmac
import re
from binascii import b2a_base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from urllib.parse import unquote_to_bytes

from bridge import jsontext
from bridge.errors import NotVerified, Unreadable
from bridge.model import Request
from bridge.receiving.content import cloud_events
from bridge.receiving.content.body import json as read_json
from bridge.receiving.senders.signature_spec import Kind, Part, SignatureSpec
from bridge.receiving.verification import timestamps
from bridge.receiving.verification.public_url import PublicUrl
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import key_of, position_of_match, signing
from bridge.receiving.verification.verifier import Proven
from bridge.settings.secrets import Secret

_JSON_BEGINS = (b"", b"[", b"{")
MOST_ITEMS = 20  # of a signature header that are looked at: one digest is compared with each


class Signature:
    """A recipe with a source's secrets. `public_url` is needed where the recipe signs the URL."""

    def __init__(
        self, recipe: SignatureSpec, secrets: Sequence[Secret], tolerance: int | None = None, public_url: str = ""
    ) -> None:
        dropped = (recipe.header, *recipe.also, *recipe.redacted_headers, cloud_events.MARK)
        self.redacted_headers = frozenset(name.lower().encode() for name in dropped)
        self.delivery_id = Part.parse(recipe.delivery_id).name if recipe.delivery_id else None
        self._recipe = recipe
        self._secrets = tuple(secrets)
        self._header = recipe.header.lower().encode()
        self._also = tuple(name.lower().encode() for name in recipe.also)
        self._separator = recipe.separator.encode()
        self._marker = recipe.marker.encode()
        self._parts = tuple(map(Part.parse, recipe.signed))
        self._followed_by = {
            part: after.name
            for part, after in pairwise(self._parts)
            if part.kind in (Kind.HEADER, Kind.ITEM) and after.kind is Kind.LITERAL
        }
        self._signs_body_only = self._parts == (Part(Kind.BODY),)
        self._timestamp = Part.source(recipe.timestamp) if recipe.timestamp else None
        self._tolerance = recipe.tolerance if tolerance is None else tolerance
        self.tolerance = self._tolerance if recipe.timestamp else None
        self._url = PublicUrl(public_url if Part(Kind.URL) in self._parts else "")
        escapes = "|".join(recipe.decoded.split()).encode()
        self._decoded = re.compile(escapes, re.IGNORECASE) if escapes else None

    @property
    def header(self) -> bytes:
        """The header of the signature, by which a request shows that it follows this recipe."""
        return self._header

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        """The secret that signed the request.

        Raises:
            NotVerified: no secret did, or the signed timestamp is too far from `now`, in milliseconds.
        """
        items = self._items(headers)
        begin = len(self._marker)
        candidates = [item[begin:] for item in items if item.startswith(self._marker) and len(item) > begin]
        if not candidates:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        if self._recipe.encoding == "hex":
            candidates = [candidate.lower() for candidate in candidates]
        position = self._position(request, headers, items, candidates)
        if self._timestamp:
            self._check_time(self._timestamp, request, headers, items, now)
        return Proven(position)

    def sign(self, request: Request, delivery_id: str) -> dict[bytes, bytes]:
        """The headers that a sender with the first secret would add to a request at its `received_at`.

        A signed header or item that the request does not bring is made: the timestamp, else the delivery id.

        Raises:
            NotVerified: the first secret is no key any more.
        """
        given = dict(request.headers)
        made: dict[bytes, bytes] = {}
        items: dict[bytes, bytes] = {}
        for part in (*self._parts, *([Part(Kind.HEADER, self.delivery_id)] if self.delivery_id else [])):
            value = self._written(request.received_at) if part == self._timestamp else delivery_id
            if part.kind is Kind.HEADER:
                made[part.name] = given.get(part.name) or value.encode()
            elif part.kind is Kind.ITEM:
                items[part.name] = value.encode()

        written = [name + value for name, value in items.items()]
        content = self._content(request, RequestHeaders(tuple(made.items())), written, self._url.called(request))
        signature = self._signature(signing(self._secrets), content) if self._secrets else None
        if signature is None:
            raise NotVerified(Reason.SECRET_UNUSABLE)
        made[self._header] = self._separator.join((*written, self._marker + signature))
        return made

    def _items(self, headers: RequestHeaders) -> list[bytes]:
        values = [headers.one(name, Reason.SIGNATURE_MISSING) for name in self._also if headers.get(name)]
        if not values or headers.get(self._header):
            values.append(headers.one(self._header, Reason.SIGNATURE_MISSING))
        if not self._separator:
            return values
        items = [item for value in values for item in value.split(self._separator, MOST_ITEMS)]
        return [item.strip() for item in items[:MOST_ITEMS]]

    def _position(self, request: Request, headers: RequestHeaders, items: list[bytes], candidates: list[bytes]) -> int:
        if self._recipe.algorithm == "sha256-concat" and not _is_text(request.body):
            raise NotVerified(Reason.SIGNATURE_MISMATCH)
        if self._recipe.json_body and request.body.lstrip()[:1] not in _JSON_BEGINS:
            raise NotVerified(Reason.SIGNATURE_MISMATCH)
        url = self._url.called(request)
        if self._decoded and b"%" in url:
            other = self._decoded.sub(lambda escape: unquote_to_bytes(escape[0]), url)
            try:
                return self._match(self._content(request, headers, items, other), candidates)
            except NotVerified:
                pass
        return self._match(self._content(request, headers, items, url), candidates)

    def _match(self, content: bytes, candidates: list[bytes]) -> int:
        genuine = [self._signature(secret, content) for secret in self._secrets]
        return position_of_match(genuine, candidates, Reason.SIGNATURE_MISMATCH)

    def _content(self, request: Request, headers: RequestHeaders, items: Iterable[bytes], url: bytes) -> bytes:
        if self._signs_body_only:
            return request.body
        content = []
        for part in self._parts:
            if part.kind is Kind.BODY:
                content.append(request.body)
            elif part.kind is Kind.LITERAL:
                content.append(part.name)
            elif part.kind is Kind.METHOD:
                content.append(request.method.encode())
            elif part.kind is Kind.URL:
                content.append(url)
            else:
                content.append(self._read(part, headers, items))
        return b"".join(content)

    def _read(self, part: Part, headers: RequestHeaders, items: Iterable[bytes]) -> bytes:
        value = self._found(part, headers, items)
        # With what separates it from the next part in it, its end could be taken for the beginning of that.
        if (separator := self._followed_by.get(part)) and separator in value and part != self._timestamp:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        return value

    def _found(self, part: Part, headers: RequestHeaders, items: Iterable[bytes]) -> bytes:
        missing = Reason.TIMESTAMP_MISSING if part == self._timestamp else Reason.SIGNED_HEADER_MISSING
        if part.kind is Kind.HEADER:
            return headers.one(part.name, missing)
        values = [item[len(part.name) :] for item in items if item.startswith(part.name)]
        if len(values) > 1:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        if not values or not values[0]:
            raise NotVerified(missing if part == self._timestamp else Reason.SIGNATURE_MALFORMED)
        return values[0]

    def _signature(self, secret: Secret, content: bytes) -> bytes | None:
        key = key_of(self._recipe.key, secret.reveal())
        if key is None:
            return None
        if self._recipe.algorithm == "sha256-concat":
            digest = hashlib.sha256(key + content).digest()
        else:
            digest = hmac.digest(key, content, self._recipe.algorithm)
        return digest.hex().encode() if self._recipe.encoding == "hex" else b2a_base64(digest, newline=False)

    def _check_time(
        self, source: Part, request: Request, headers: RequestHeaders, items: Iterable[bytes], now: int
    ) -> None:
        value = _field(request.body, source.name) if source.kind is Kind.FIELD else self._read(source, headers, items)
        if value is None:
            return
        timestamps.check(timestamps.milliseconds(value, self._recipe.timestamp_unit), now, self._tolerance)

    def _written(self, at: int) -> str:
        if self._recipe.timestamp_unit == "rfc3339":
            return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return str(at // (1000 if self._recipe.timestamp_unit == "s" else 1))


def _is_text(body: bytes) -> bool:
    """Whether a body is UTF-8: what anybody can append to what a plain hash covers begins with 0x80, and is not."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _field(body: bytes, key: bytes) -> bytes | None:
    """A key of a proven body as it is written in JSON; None where it is not there, or the body is no object."""
    try:
        value = read_json(body)
    except Unreadable:
        return None
    found = value.get(key.decode()) if isinstance(value, dict) else None
    return None if found is None else jsontext.as_text(found).encode()
