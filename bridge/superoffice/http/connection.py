"""An HTTP/1.1 client connection: one exchange after the other, parsed by httptools (llhttp).

What is ours is whose turn it is, and where the bytes stop. Decision 0002 says why this is not a library's.
"""

import asyncio
import re
import ssl
from math import inf
from typing import cast

import httptools
import httpx

_HEAD_LIMIT = 64 * 1024  # bytes of an answer's head, and of each piece that a body is framed by
_READ_AHEAD = 256 * 1024  # bytes of a body that nobody has asked for yet

_KEEP_ALIVE = b"keep-alive"
_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,9})(?!\d)", re.IGNORECASE)

# What servers and proxies write that others read all the same. None of it can move the end of an answer.
_FORGIVEN = {
    "lenient_headers": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
}


class ClientConnection(asyncio.Protocol):
    """One connection. An exchange: `begin`, `write` the request, wait until it is `answered`, `read` to the end.

    Whoever stops before the end calls `abort`. The attributes of an answer hold until the next `begin`; nothing of a
    body is decoded.
    """

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._fresh = True  # nothing but whole answers came, and the other side did not say that it ends
        self._under_way = False  # an exchange is, and no error ended it: more of its answer is to come
        self._bodiless = False
        self._parser_is_spent = False
        self.kept_for = inf  # seconds without a request, after which the other side may close it, less some on the way
        self.is_full = False  # more has been written than the other side has read: wait until it is `drained`
        self._forget()

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(**_FORGIVEN)
        return parser

    def _forget(self) -> None:
        """Make room for the next answer."""
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._held = 0  # bytes of them
        self._reading_paused = False
        self._unparsed = 0  # bytes since the last one that ended a head or belonged to a body
        self._in_body = False
        self._error: httpx.TransportError | None = None

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return self._fresh and not self._under_way and self._transport is not None and not self._transport.is_closing()

    @property
    def is_complete(self) -> bool:
        """Whether the whole answer has come."""
        return not self._under_way and self._error is None

    @property
    def takes_more(self) -> bool:
        """Whether the rest of a request may still be sent: it has no answer yet, and there is somebody to give one."""
        return self._under_way and not self._in_body

    @property
    def http_version(self) -> bytes:
        """The answer's, such as `HTTP/1.1`."""
        version = self._parser.get_http_version()
        return b"HTTP/1.1" if version == "1.1" else b"HTTP/" + version.encode()

    def begin(self, *, bodiless: bool = False) -> None:
        """Begin an exchange. `bodiless`: its answer has no body whatever its head says, as with HEAD.

        Raises:
            httpx.ReadError: the connection has ended.
        """
        if not self.reusable:
            raise httpx.ReadError("the connection has ended")
        if self._parser_is_spent:
            self._parser, self._parser_is_spent = self._new_parser(), False
        self._forget()
        self._bodiless = bodiless
        self._under_way = True

    def write(self, data: bytes) -> None:
        """Send a part of the request."""
        cast("asyncio.Transport", self._transport).write(data)

    async def drained(self) -> None:
        """Wait until more may be written, or until it is of no more use."""
        while self.is_full and self.takes_more:
            await self._change()

    async def answered(self) -> None:
        """Wait for the head of the answer; interim ones (1xx) are passed by.

        Raises:
            httpx.RemoteProtocolError, httpx.ReadError: there is none.
        """
        while not self._in_body:
            if self._error is not None:
                raise self._error
            await self._change()

    async def read(self) -> bytes:
        """What has come of the body since the last call, or comes next; nothing at its end.

        Raises:
            httpx.RemoteProtocolError, httpx.ReadError: it ends early.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if not self._under_way:
                return b""
            await self._change()
        return self.take()

    def take(self) -> bytes:
        """What has come of the body since the last call."""
        data = b"".join(self._pieces)
        self._pieces = []
        self._held = 0
        if self._reading_paused:
            self._reading_paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def used_up(self) -> None:
        """Let no other request follow this one."""
        self._fresh = False

    def close(self) -> None:
        """Close it with a goodbye, where nothing is under way."""
        self._fresh = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        self._fresh = False
        if self._transport is not None:
            self._transport.abort()

    async def secured(self, context: ssl.SSLContext, host: str) -> "ClientConnection":
        """The connection that TLS makes of this one, with `host` at its other end.

        Raises:
            OSError: it does not come about; ssl.SSLError is one, too.
        """
        secure = ClientConnection()
        plain = cast("asyncio.Transport", self._transport)
        try:
            transport = await asyncio.get_running_loop().start_tls(plain, secure, context, server_hostname=host)
        except BaseException:
            self.abort()
            raise
        secure.connection_made(cast("asyncio.Transport", transport))
        return secure

    # What the event loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fresh = False
        if not self._under_way:
            return
        if exc is not None:
            self._fail(httpx.ReadError(str(exc)))
        elif self._in_body and self._ends_with_connection():
            self._finish()
        else:
            self._fail(httpx.RemoteProtocolError("the connection ended before the answer was whole"))
        self._wake()

    def data_received(self, data: bytes) -> None:
        if not self._under_way:  # nobody asked for it
            self.abort()
            return
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"this is no HTTP/1.1 answer: {error}"))
        else:
            if self._unparsed > _HEAD_LIMIT:
                self._fail(httpx.RemoteProtocolError("the answer's head is too large"))
        if self._in_body or self._error is not None:
            self._wake()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake()

    # What the parser finds.

    def on_message_begin(self) -> None:
        if not self._under_way:
            self._fresh = False

    def on_status(self, reason: bytes) -> None:
        if not self._in_body:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what stands after a body is no header of the answer
            self.headers.append((name, value.rstrip(b" \t")))
            if len(name) == len(_KEEP_ALIVE) and name.lower() == _KEEP_ALIVE and (told := _TIMEOUT.search(value)):
                seconds = int(told[1])
                self.kept_for = seconds - min(1, seconds / 2)
                self._fresh = self._fresh and seconds > 0

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        if not self._under_way:
            return
        self.status = self._parser.get_status_code()
        self._in_body = self.status >= 200
        if self._bodiless and self._in_body:  # the parser does not know
            self._parser_is_spent = True
            self._fresh = self._fresh and self._parser.should_keep_alive()
            self._finish()

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        if not self._under_way:
            self._fresh = False
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > _READ_AHEAD and not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._under_way:
            return
        if not self._in_body:  # an interim answer: the one that counts is still to come
            self._forget()
            return
        if not self._parser.should_keep_alive():
            self._fresh = False
        self._finish()

    def _ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, 6.3).

        The parser knows, but httptools has no way to tell it of the end.
        """
        names = {name.lower(): value for name, value in self.headers}
        return b"content-length" not in names and b"chunked" not in names.get(b"transfer-encoding", b"").lower()

    def _finish(self) -> None:
        self._under_way = False

    def _fail(self, error: httpx.TransportError) -> None:
        self._fresh = False
        if self._under_way:
            self._under_way = False
            self._error = error

    def _change(self) -> asyncio.Future[None]:
        """Done when something has changed for whoever waits."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
