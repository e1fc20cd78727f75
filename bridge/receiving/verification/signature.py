"""Carries out a recipe: an HMAC over the raw bytes, compared in constant time; the same data signs and verifies."""

import hmac
from binascii import b2a_base64
from collections.abc import Iterable, Sequence

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.verification.headers import Headers
from bridge.receiving.verification.keys import key_of, position_of_match
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.recipes import Kind, Part, Recipe
from bridge.settings.secrets import Secret

MOST_ITEMS = 20  # of a signature header that are looked at: one digest is compared with each
MOST_DIGITS = 20  # of a timestamp


class Signature:
    """A recipe with a source's secrets."""

    def __init__(self, recipe: Recipe, secrets: Sequence[Secret], tolerance: int | None = None) -> None:
        self.drops = frozenset(name.lower().encode() for name in (recipe.header, *recipe.drops))
        self.delivery_id = Part.parse(recipe.delivery_id).name if recipe.delivery_id else None
        self._recipe = recipe
        self._secrets = tuple(secrets)
        self._header = recipe.header.lower().encode()
        self._separator = recipe.separator.encode()
        self._marker = recipe.marker.encode()
        self._parts = tuple(map(Part.parse, recipe.signed))
        self._timestamp = Part.parse(recipe.timestamp) if recipe.timestamp else None
        self._unit = 1000 if recipe.timestamp_unit == "s" else 1
        self._tolerance = recipe.tolerance if tolerance is None else tolerance

    def prove(self, request: Request, headers: Headers, now: int) -> int:
        """The position, from 1, of the secret that signed the request.

        Raises:
            NotVerified: no secret did, or the signed timestamp is too far from `now`, in milliseconds.
        """
        items = self._items(headers.one(self._header, Reason.SIGNATURE_MISSING))
        begin = len(self._marker)
        candidates = [item[begin:] for item in items if item.startswith(self._marker) and len(item) > begin]
        if not candidates:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        if self._recipe.encoding == "hex":
            candidates = [candidate.lower() for candidate in candidates]
        content = self._content(request, headers, items)
        genuine = (self._signature(secret, content) for secret in self._secrets)
        position = position_of_match(genuine, candidates, Reason.SIGNATURE_MISMATCH)
        if self._timestamp:
            self._check_time(self._read(self._timestamp, headers, items), now)
        return position

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
            value = str(request.received_at // self._unit) if part == self._timestamp else delivery_id
            if part.kind is Kind.HEADER:
                made[part.name] = given.get(part.name) or value.encode()
            elif part.kind is Kind.ITEM:
                items[part.name] = value.encode()

        written = [name + value for name, value in items.items()]
        signature = self._signature(self._secrets[0], self._content(request, Headers(tuple(made.items())), written))
        if signature is None:
            raise NotVerified(Reason.SECRET_UNUSABLE)
        made[self._header] = self._separator.join((*written, self._marker + signature))
        return made

    def _items(self, value: bytes) -> list[bytes]:
        if not self._separator:
            return [value]
        return [item.strip() for item in value.split(self._separator, MOST_ITEMS)[:MOST_ITEMS]]

    def _content(self, request: Request, headers: Headers, items: Iterable[bytes]) -> bytes:
        content = []
        for part in self._parts:
            if part.kind is Kind.BODY:
                content.append(request.body)
            elif part.kind is Kind.LITERAL:
                content.append(part.name)
            elif part.kind is Kind.METHOD:
                content.append(request.method.encode())
            else:
                content.append(self._read(part, headers, items))
        return b"".join(content)

    def _read(self, part: Part, headers: Headers, items: Iterable[bytes]) -> bytes:
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
        digest = hmac.digest(key, content, self._recipe.algorithm)
        return digest.hex().encode() if self._recipe.encoding == "hex" else b2a_base64(digest, newline=False)

    def _check_time(self, value: bytes, now: int) -> None:
        if len(value) > MOST_DIGITS or not value.isdigit():
            raise NotVerified(Reason.TIMESTAMP_MALFORMED)
        age = now - int(value) * self._unit
        if age > self._tolerance:
            raise NotVerified(Reason.TIMESTAMP_STALE)
        if age < -self._tolerance:
            raise NotVerified(Reason.TIMESTAMP_FUTURE)
