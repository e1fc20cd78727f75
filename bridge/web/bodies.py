"""A request's body, read within the limits of size, time and memory that hold before anything is proven."""

import asyncio
from collections.abc import Sequence

from starlette.types import Message, Receive, Scope

from bridge.errors import Refused
from bridge.receiving.limits import Limits

_PER_PIECE = 50  # bytes of memory, whatever a piece's length
Headers = Sequence[tuple[bytes, bytes]]


class Bodies:
    """Reads bodies of at most `max_body` bytes, and knows how many bytes of unfinished ones are in memory."""

    def __init__(self, limits: Limits, max_body: int) -> None:
        self._limits = limits
        self._max_body = max_body
        self._most_held = max(limits.bodies, max_body)
        self._held = 0

    async def read(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            Refused: the headers or the body break a limit, or the body was cut off.
        """
        self._check_head(scope, headers)
        try:
            async with asyncio.timeout(self._limits.body_within):
                message = await receive()
                if message["type"] != "http.request" or message.get("more_body", False):
                    return await self._pieces(message, receive)
                body: bytes = message.get("body", b"")
                self._check_size(body)
                return body
        except TimeoutError:
            detail = f"the body did not arrive within {self._limits.body_within:g} s"
            raise Refused(408, "body_too_slow", detail) from None

    async def skip(self, receive: Receive) -> None:
        """Throw away the rest of a refused body: a socket closed over unread bytes would take the answer along."""
        try:
            async with asyncio.timeout(self._limits.linger):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass

    def _check_head(self, scope: Scope, headers: Headers) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"])
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"content-length" and int(value) > self._max_body:
                raise self._too_large()
        if size > self._limits.head or len(headers) > self._limits.headers:
            raise Refused(431, "headers_too_large", "the headers are too large")

    async def _pieces(self, message: Message, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size = held = 0
        try:
            while message["type"] != "http.disconnect":
                piece = message.get("body", b"")
                pieces.append(piece)
                size += len(piece)
                held += len(piece) + _PER_PIECE
                self._held += len(piece) + _PER_PIECE
                if size > self._max_body:
                    raise self._too_large()
                if not message.get("more_body", False):
                    return b"".join(pieces)
                if self._held > self._most_held:
                    raise Refused(503, "too_many_bodies", "too many bodies are on their way, please send it again")
                message = await receive()
        finally:
            self._held -= held
        raise Refused(400, "body_cut_off", "the body was cut off")

    def _check_size(self, body: bytes | bytearray) -> None:
        if len(body) > self._max_body:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(413, "body_too_large", f"the body is larger than {self._max_body} bytes")
