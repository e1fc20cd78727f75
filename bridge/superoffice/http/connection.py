"""An HTTP/1.1 client connection.

httptools (llhttp) parses; what is ours is only whose turn it is. Decision 0002 says why this is not a library's.
"""

import asyncio
import re
import ssl
from math import inf
from typing import NamedTuple, cast

import httptools

_HEAD_LIMIT = 64 * 1024  # bytes of an answer's head, and of each piece that a body is framed by

_KEEP_ALIVE = b"keep-alive"
_TIMEOUT = re.compile(rb"timeout\s*=\s*(\d{1,9})(?!\d)", re.IGNORECASE)

# What servers and proxies write that others read all the same. None of it can move the end of an answer.
_FORGIVEN = {
    "lenient_headers": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_optional_lf_after_cr": True,
    "lenient_spaces_after_chunk_size": True,
}


class Broken(Exception):
    """The connection ended before the answer was whole, or what came over it is no answer."""


class ProxyUnreachable(OSError):
    """There is no connection to the proxy."""


class ProxyRefused(Exception):
    """The proxy answered that it does not connect to the target."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Answered(NamedTuple):
    """An answer as it came: nothing of its body is decoded."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ClientConnection(asyncio.Protocol):
    """One connection, for one exchange after the other. It reads a little more of a body than `most` bytes at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_FORGIVEN)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answered] | None = None  # done: nobody has asked for more
        self._tunnel = False
        self._fresh = True  # nothing but whole answers came, and the other side did not say that it ends
        self.kept_for = inf  # seconds without a request, after which the other side may close it, less some on the way
        self._forget()

    def _forget(self) -> None:
        """Make room for the next answer."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._unparsed = 0  # bytes since the last one that ended a head or belonged to a body
        self._in_body = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent."""
        return self._fresh and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, *, tunnel: bool = False) -> Answered:
        """Send a request, return its answer. `tunnel`: it is a CONNECT, and only the answer's head is read.

        Raises:
            Broken: there is no whole answer. The connection is closed then, as it is when the caller is cancelled.
        """
        if self._transport is None or not self.reusable:
            raise Broken
        self._forget()
        self._tunnel = tunnel
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answer
        except BaseException:
            self.abort()
            raise

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
        secure = ClientConnection(self._most)
        plain = cast("asyncio.Transport", self._transport)
        try:
            transport = await asyncio.get_running_loop().start_tls(plain, secure, context, server_hostname=host)
        except BaseException:
            self.abort()
            raise
        secure.connection_made(cast("asyncio.Transport", transport))
        return secure

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fresh = False
        if exc is None and self._in_body and self._ends_with_connection():
            self._finish()
        else:
            self._fail()

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody asked for it
            self.abort()
            return
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail()
        else:
            if self._unparsed > _HEAD_LIMIT:
                self._fail()

    # What the parser finds.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self._fresh = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what stands after a body is no header of the answer
            self._headers.append((name, value))
            if len(name) == len(_KEEP_ALIVE) and name.lower() == _KEEP_ALIVE and (told := _TIMEOUT.search(value)):
                seconds = int(told[1])
                self.kept_for = seconds - min(1, seconds / 2)
                self._fresh = self._fresh and seconds > 0

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        self._in_body = True
        if self._tunnel and self._parser.get_status_code() >= 200:
            self._finish()

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        self._size += len(data)
        self._body.append(data)
        if self._size > self._most:
            self._fresh = False
            self._finish()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # an interim answer: the one that counts is still to come
            self._forget()
            return
        if not self._parser.should_keep_alive():
            self._fresh = False
        self._finish()

    def _ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, 6.3).

        The parser knows, but httptools has no way to tell it of the end.
        """
        names = {name.lower(): value for name, value in self._headers}
        return b"content-length" not in names and b"chunked" not in names.get(b"transfer-encoding", b"").lower()

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            body = b"".join(self._body)
            self._answer.set_result(Answered(self._parser.get_status_code(), self._headers, body))

    def _fail(self) -> None:
        self._fresh = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Broken())
