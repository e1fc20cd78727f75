"""An httpx transport over our own connections, which knows of each request whether it was sent.

httpx's own pools collapse under concurrency, and no other client tells in every case whether the other side may have
seen a request: decision 0002 has both at length.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import httpx

from bridge.settings.tls_and_proxy import ProxySettings
from bridge.superoffice.http.connection import ClientConnection
from bridge.superoffice.http.dialer import Dialer, Route, proxy_login
from bridge.superoffice.http.request_writer import framed, serialize
from bridge.timeouts import TimeoutQueue

_KEEP_IDLE = 15.0  # seconds; a connection kept longer is likelier to be closed under a request, which is `unknown`
_NO_LIMITS: dict[str, float | None] = {}
_PORTS = {"http": 80, "https": 443}

T = TypeVar("T")


class Progress:
    """Whether a request has gone out; the value of its extension `progress`."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


class Transport(httpx.AsyncBaseTransport):
    """At most so many connections, kept alive for `keep_idle` seconds, or as long as the other side says.

    `trust` gives the TLS context of each request: another one than before means another connection.
    """

    def __init__(
        self,
        connections: int,
        trust: Callable[[], ssl.SSLContext],
        proxy: ProxySettings | None = None,
        *,
        keep_idle: float = _KEEP_IDLE,
    ) -> None:
        self._room = asyncio.Semaphore(connections)
        self._trust = trust
        self._proxy = proxy
        self._dialer = Dialer(proxy)
        self._idle: dict[Route, list[ClientConnection]] = {}
        self._keep_idle = keep_idle
        # Of idle connections, by the seconds for which each is kept.
        self._timeouts: dict[float, TimeoutQueue[tuple[Route, ClientConnection]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer once the head is there. A body that came along with it is a ByteStream.

        Of the extensions of requests, `timeout` is kept to (seconds for `pool`, `connect`, `write`, `read`), and
        `progress`, a Progress, is told right before the request goes out.

        Raises:
            httpx.TransportError: as httpx's own transports do; `sent` of it says whether the request had gone out.
            Whatever the stream of the request's body raises.
        """
        progress = request.extensions.get("progress") or Progress()
        try:
            return await self._exchange(request, progress)
        except httpx.TransportError as error:
            error.sent = progress.sent  # type: ignore[attr-defined]
            raise

    async def _exchange(self, request: httpx.Request, progress: Progress) -> httpx.Response:
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol(f"http and https are spoken here, not {url.scheme or 'a URL without them'}")
        tls = self._trust() if url.scheme == "https" else None
        route = Route(url.raw_host, url.port or _PORTS[url.scheme], tls)
        if self._proxy and tls is None:
            login = [(name.encode(), value.encode()) for name, value in proxy_login(self._proxy).items()]
            message = serialize(request, b"http://" + url.netloc + url.raw_path, login)
        else:
            message = serialize(request, url.raw_path)
        limits = request.extensions.get("timeout", _NO_LIMITS)
        if self._room.locked():
            await _within(limits.get("pool"), self._room.acquire(), httpx.PoolTimeout)
        else:
            await self._room.acquire()
        connection = self._kept(route)
        try:
            if connection is None:
                connection = await _within(limits.get("connect"), self._dialer.connect(route), httpx.ConnectTimeout)
            connection.begin(bodiless=request.method == "HEAD")
            progress.sent = True
            connection.write(message.data)
            if connection.is_full:
                await _within(limits.get("write"), connection.drained(), httpx.WriteTimeout)
            if not message.is_whole:
                await self._send_rest(connection, request.stream, message.length, limits.get("write"))
            if limits:
                await _within(limits.get("read"), connection.answered(), httpx.ReadTimeout)
            else:
                await connection.answered()
        except BaseException:
            self._leave(route, connection)
            raise
        extensions = {"http_version": connection.http_version, "reason_phrase": connection.reason}
        stream: httpx.AsyncByteStream
        if connection.is_complete:
            stream = httpx.ByteStream(connection.take())
            self._leave(route, connection)
        else:
            stream = _BodyStream(connection, lambda: self._leave(route, connection), limits.get("read"))
        return httpx.Response(connection.status, headers=connection.headers, stream=stream, extensions=extensions)

    async def _send_rest(
        self, connection: ClientConnection, stream: object, length: int | None, within: float | None
    ) -> None:
        """Send a body by its pieces, until somebody answers who has heard enough."""
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("the request's body is no stream for asyncio")
        async with aclosing(framed(stream, length)) as pieces:
            async for piece in pieces:
                if not connection.takes_more:
                    connection.used_up()
                    break
                connection.write(piece)
                if connection.is_full:
                    await _within(within, connection.drained(), httpx.WriteTimeout)

    def _kept(self, route: Route) -> ClientConnection | None:
        """A connection that waits for a request, the one used last first."""
        idle = self._idle.get(route)
        while idle:
            connection = idle.pop()
            self._deadline(connection).stop((route, connection))
            if connection.reusable:
                return connection
            connection.abort()
        return None

    def _leave(self, route: Route, connection: ClientConnection | None) -> None:
        """Make room for another request, on this connection where it is good for one."""
        self._room.release()
        if connection is None:
            return
        if not connection.reusable:
            connection.abort()
            return
        self._idle.setdefault(route, []).append(connection)
        self._deadline(connection).start((route, connection))

    def _deadline(self, connection: ClientConnection) -> TimeoutQueue[tuple[Route, ClientConnection]]:
        seconds = min(self._keep_idle, connection.kept_for)
        timeouts = self._timeouts.get(seconds)
        if timeouts is None:
            timeouts = self._timeouts[seconds] = TimeoutQueue(seconds, self._close)
        return timeouts

    def _close(self, unused: tuple[Route, ClientConnection]) -> None:
        route, connection = unused
        connection.close()
        self._idle[route].remove(connection)
        if not self._idle[route]:
            del self._idle[route]

    async def aclose(self) -> None:
        """Close the connections that no request uses."""
        for route, idle in list(self._idle.items()):
            for connection in list(idle):
                self._deadline(connection).stop((route, connection))
                self._close((route, connection))


class _BodyStream(httpx.AsyncByteStream):
    """The body of an answer as it comes, each piece `within` so many seconds. It can be read once."""

    def __init__(self, connection: ClientConnection, leave: Callable[[], None], within: float | None) -> None:
        self._connection = connection
        self._leave: Callable[[], None] | None = leave
        self._within = within

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._leave is None:
            raise StopAsyncIteration
        try:
            piece = await _within(self._within, self._connection.read(), httpx.ReadTimeout)
        except BaseException as error:
            await self.aclose()
            if isinstance(error, httpx.TransportError):
                error.sent = True  # type: ignore[attr-defined]
            raise
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Let go of the connection; of a body that was not read to its end, the rest is lost."""
        if self._leave:
            leave, self._leave = self._leave, None
            self._connection.take()
            leave()


async def _within(seconds: float | None, doing: Awaitable[T], late: type[httpx.TimeoutException]) -> T:
    """Wait for something no longer than so many seconds; raise `late` then."""
    if seconds is None:
        return await doing
    try:
        async with asyncio.timeout(seconds):
            return await doing
    except TimeoutError:
        raise late(f"not within {seconds:g} s") from None
