"""A request's body, read within the limits of size, time and memory that hold before anything is proven."""

import asyncio
from collections.abc import Sequence
from itertools import chain

from starlette.types import Receive, Scope

from bridge.content_codings import is_supported
from bridge.errors import Refused
from bridge.receiving.limits import Limits
from bridge.web.exchanges import whole_body

_PER_PIECE = 50  # bytes of memory, whatever a piece's length
Headers = Sequence[tuple[bytes, bytes]]


class Bodies:
    """Reads bodies, and knows how many bytes of unfinished ones are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    async def read(
        self, scope: Scope, headers: Headers, receive: Receive, max_body: int, max_head: int | None
    ) -> bytes:
        """The whole body, of at most `max_body` bytes, after a head of at most `max_head`.

        Raises:
            Refused: the headers or the body break a limit, or the body was cut off.
        """
        self._check_head(scope, headers, max_body, max_head or self._limits.head)
        body = whole_body(receive)
        if body is not None:  # nothing to wait for: a timer would cost as much as the signature
            if len(body) > max_body:
                raise _too_large(max_body)
            return body
        try:
            async with asyncio.timeout(self._limits.body_within):
                return await self._pieces(receive, max_body)
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

    def _check_head(self, scope: Scope, headers: Headers, max_body: int, max_head: int) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, chain.from_iterable(headers)))
        fields = dict(headers)
        if int(fields.get(b"content-length", 0)) > max_body:
            raise _too_large(max_body)
        if size > min(max_head, self._limits.head) or len(headers) > self._limits.headers:
            raise Refused(431, "headers_too_large", "the headers are too large")
        if b"content-encoding" in fields:
            encoding = b""
            for name, value in headers:
                if name == b"content-encoding":
                    encoding = encoding + b"," + value if encoding else value  # several are none that can be read
            if not is_supported(encoding):
                raise Refused(415, "content_encoding", "send the body plain, or with one of gzip, deflate, br and zstd")

    async def _pieces(self, receive: Receive, max_body: int) -> bytes:
        pieces: list[bytes] = []
        most_held = max(self._limits.bodies, max_body)
        size = held = 0
        try:
            while (message := await receive())["type"] != "http.disconnect":
                piece = message.get("body", b"")
                pieces.append(piece)
                size += len(piece)
                held += len(piece) + _PER_PIECE
                self._held += len(piece) + _PER_PIECE
                if size > max_body:
                    raise _too_large(max_body)
                if not message.get("more_body", False):
                    return b"".join(pieces)
                if self._held > most_held:
                    raise Refused(503, "too_many_bodies", "too many bodies are on their way, please send it again")
        finally:
            self._held -= held
        raise Refused(400, "body_cut_off", "the body was cut off")


def _too_large(max_body: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is larger than {max_body} bytes")
