"""Verifies a request and makes the Webhook, without what must not be stored; nothing else makes one.

`credential_filter` says what that is.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct

from bridge.model import Request, Webhook, new_webhook_id
from bridge.receiving.verification.credential_filter import CredentialFilter
from bridge.receiving.verification.request_headers import RequestHeaders

if TYPE_CHECKING:  # it takes long to load, and most sources need none
    from bridge.receiving.verification.remote_keys import RemoteKeys

LONGEST_DELIVERY_ID = 255


class Proven(Struct, frozen=True):
    """What a proof shows: the position, from 1, of the secret that matched; the delivery id, where that is proven."""

    secret: int | None = None
    delivery_id: bytes | None = None


class Proof(Protocol):
    """One way to prove that a request is genuine, with the secrets of one source."""

    @property
    def redacted_headers(self) -> frozenset[bytes]:
        """The headers that carry signatures or credentials, and those that would replace a body that is signed."""

    @property
    def delivery_id(self) -> bytes | None:
        """The header that holds the sender's delivery id, where the proof itself shows none."""

    @property
    def tolerance(self) -> int | None:
        """How far a signed time may be off, in milliseconds; None where none is signed, or it says its own end."""

    def prove(self, request: Request, headers: RequestHeaders, now: int, /) -> Proven:
        """What it shows; raises NotVerified."""

    def sign(self, request: Request, delivery_id: str, /) -> dict[bytes, bytes]:
        """The headers that make the request genuine at its `received_at`."""


@runtime_checkable
class _Fetching(Protocol):
    """A proof by keys that its sender publishes."""

    remote_keys: "RemoteKeys[Any]"


class Verifier:
    """Verifies, and for tests and demonstrations signs, the requests of one source.

    `challenge` is what a request that is not proven is answered in WWW-Authenticate (RFC 9110, 11.6.1): where the
    credential stands in Authorization, how it is written there; nothing more of the scheme is told.
    """

    def __init__(self, scheme: str, proof: Proof, credentials: CredentialFilter | None = None) -> None:
        self.scheme = scheme
        self.tolerance = proof.tolerance
        self._proof = proof
        self._delivery_id = proof.delivery_id
        self._credentials = credentials or CredentialFilter(name.decode() for name in proof.redacted_headers)
        self.remote_keys: RemoteKeys[Any] | None = proof.remote_keys if isinstance(proof, _Fetching) else None
        in_authorization = b"authorization" in proof.redacted_headers
        kind = "Basic" if scheme == "basic" else "Bearer" if in_authorization else "Signature"
        self.challenge = f'{kind} realm="webhooks"'

    def verify(self, request: Request, now: int) -> Webhook:
        """The webhook that a genuine request is; `now` in milliseconds.

        Its `delivery_id` is None where the sender gave none. One of over 255 characters, or with others than printable
        ASCII ones, becomes `sha256:` and its hash: as good to tell duplicates by, and bounded.

        Raises:
            NotVerified: it is not proven genuine; the reason is one of `Reason`.
        """
        headers = RequestHeaders(request.headers)
        proven = self._proof.prove(request, headers, now)
        delivery_id = proven.delivery_id
        if delivery_id is None and self._delivery_id is not None:
            delivery_id = headers.get(self._delivery_id)
        return Webhook(
            id=new_webhook_id(request.received_at),
            source=request.source,
            received_at=request.received_at,
            method=request.method,
            query=self._credentials.query(request.query.decode("latin-1")) if request.query else "",
            headers=headers.text(without=self._credentials.headers(headers.names)),
            body=request.body,
            delivery_id=None if delivery_id is None else _bounded(delivery_id),
            secret=proven.secret,
        )

    def sign(
        self, body: bytes, *, method: str, at: int, delivery_id: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers, names in lower case, that a genuine sender with the first secret adds at `at` (milliseconds).

        Headers that the scheme signs are taken from `headers`; where one is not there, it is made. Both are answered.

        Raises:
            NotVerified: the first secret is no key any more (its file was changed).
            CannotSign: only the sender can sign.
        """
        request = Request(
            source="",
            method=method,
            path="",
            query=b"",
            headers=tuple((name.lower().encode(), value.encode()) for name, value in (headers or {}).items()),
            body=body,
            received_at=at,
            client="",
        )
        return {name.decode(): value.decode() for name, value in self._proof.sign(request, delivery_id).items()}


def _bounded(value: bytes) -> str | None:
    text = value.decode("latin-1").strip()
    if len(text) > LONGEST_DELIVERY_ID or not (text.isascii() and text.isprintable()):
        return "sha256:" + hashlib.sha256(value).hexdigest()
    return text or None
