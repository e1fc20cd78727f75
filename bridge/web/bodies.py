"""Reads request bodies within limits of size, time and memory."""

import asyncio
from collections.abc import Sequence
from itertools import chain

from starlette.types import Receive, Scope, Send

from bridge.content_codings import ACCEPTED, is_supported
from bridge.errors import Refused
from bridge.receiving.limits.addresses import of_one_holder
from bridge.receiving.limits.request_limits import Largest, Limits
from bridge.web.problems import RawAnswer
from bridge.web.protocol.fast_path import whole_body
from bridge.web.protocol.request_reader import FIELDS

_PER_PIECE = 50  # bytes of memory, whatever a piece's length
HeaderList = Sequence[tuple[bytes, bytes]]


class BodyReader:
    """Reads bodies, in the memory that all unfinished ones share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.memory = BodyMemory(limits.bodies)

    async def read(
        self, scope: Scope, headers: HeaderList, receive: Receive, client: str, largest: Largest, max_head: int | None
    ) -> bytes:
        """The whole body that `client` sends, of the `largest` size at most, after a head of at most `max_head`.

        Raises:
            Refused: the headers or the body break a limit, or the body was cut off.
        """
        self._check_head(scope, headers, largest, max_head)
        body = whole_body(receive)
        if body is not None:  # nothing to wait for: a timer would cost as much as the signature
            if len(body) > largest.size:
                raise largest.refusal()
            return body
        unfinished = UnfinishedBody(of_one_holder(client), asyncio.timeout(self._limits.body_within))
        try:
            async with unfinished.clock:
                return await self._pieces(unfinished, receive, largest)
        except TimeoutError:
            if unfinished.evicted:
                raise _too_many() from None
            detail = f"the body did not arrive within {self._limits.body_within:g} s"
            raise Refused("body_too_slow", detail) from None
        finally:
            self.memory.leave(unfinished)

    async def leave(self, answer: RawAnswer, receive: Receive, send: Send) -> None:
        """Answer a request whose body is not read to its end: its connection cannot carry another one.

        The rest is thrown away for a while: a socket closed over unread bytes would take the answer along.
        """
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        try:
            async with asyncio.timeout(self._limits.linger):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
        await send({"type": "http.response.body", "body": b""})

    def _check_head(self, scope: Scope, headers: HeaderList, largest: Largest, max_head: int | None) -> None:
        fields = scope[FIELDS]
        if int(fields.get(b"content-length", 0)) > largest.size:
            raise largest.refusal()
        if max_head is not None:
            size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(map(len, chain.from_iterable(headers)))
            if size > max_head:
                raise Refused("headers_too_large", "the headers are too large")
        if b"content-encoding" in fields:
            encoding = b""
            for name, value in headers:
                if name == b"content-encoding":
                    encoding = encoding + b"," + value if encoding else value  # several are none that can be read
            if not is_supported(encoding):
                raise Refused("content_encoding", f"send the body plain, or with one of {', '.join(ACCEPTED)}")

    async def _pieces(self, unfinished: "UnfinishedBody", receive: Receive, largest: Largest) -> bytes:
        size = 0
        while (message := await receive())["type"] != "http.disconnect":
            if unfinished.evicted:
                raise _too_many()
            piece = message.get("body", b"")
            size += len(piece)
            if size > largest.size:
                raise largest.refusal()
            if not message.get("more_body", False):
                return b"".join((*unfinished.pieces, piece))
            self.memory.hold(unfinished, piece, largest.size)
        raise Refused("body_cut_off", "the body was cut off")


class UnfinishedBody:
    """What has come of one body before its `clock` runs out. `evicted`: others needed its memory."""

    __slots__ = ("address", "clock", "evicted", "held", "pieces")

    def __init__(self, address: str, clock: asyncio.Timeout) -> None:
        self.address = address
        self.clock = clock
        self.pieces: list[bytes] = []
        self.held = 0  # bytes of memory
        self.evicted = False


class BodyMemory:
    """The memory that unfinished bodies share: `most` bytes.

    One address may hold all of it while there is space, since a whole site may come through one gateway. When it is
    full, the address that holds most gives way, by the body that it holds longest: whoever comes is never the one.
    """

    def __init__(self, most: int) -> None:
        self.held = 0  # bytes of memory
        self._most = most
        self._of: dict[str, dict[UnfinishedBody, None]] = {}  # an address's bodies, held longest first

    def hold(self, unfinished: UnfinishedBody, piece: bytes, max_body: int) -> None:
        """Keep one more piece of a body, of which no more than `max_body` bytes will come; one alone always fits."""
        size = len(piece) + _PER_PIECE
        while self.held + size > max(self._most, max_body) and self.held > unfinished.held:
            self._evict()
            if unfinished.evicted:
                return
        unfinished.pieces.append(piece)
        unfinished.held += size
        self.held += size
        self._of.setdefault(unfinished.address, {})[unfinished] = None

    def leave(self, unfinished: UnfinishedBody) -> None:
        """Let go of what is kept of a body."""
        of_address = self._of.get(unfinished.address, {})
        if unfinished in of_address:
            del of_address[unfinished]
            self.held -= unfinished.held
            if not of_address:
                del self._of[unfinished.address]

    def _evict(self) -> None:
        bodies = max(self._of.values(), key=lambda bodies: sum(body.held for body in bodies))
        longest = next(iter(bodies))
        self.leave(longest)
        longest.pieces.clear()
        longest.evicted = True
        if not longest.clock.expired():
            longest.clock.reschedule(asyncio.get_running_loop().time())


def _too_many() -> Refused:
    return Refused("too_many_bodies", "too many bodies are on their way, please send it again")
