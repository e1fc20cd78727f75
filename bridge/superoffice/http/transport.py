"""An httpx transport of our own: connections to one target, kept for a while, that know of each request whether it went
out.

httpx's own pools collapse under concurrency, and no other client tells in every case whether the other side may have
seen a request: decision 0002 has both at length.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from aiohappyeyeballs import start_connection

from bridge.settings.tls_and_proxy import ProxySettings
from bridge.superoffice.http.connection import ClientConnection, ProxyRefused, ProxyUnreachable
from bridge.timeouts import TimeoutQueue

_KEEP_IDLE = 15.0  # seconds; a connection kept longer is likelier to be closed under a request, which is `unknown`
_NEXT_ADDRESS = 0.25  # seconds until the next address of a name is tried beside the one before (RFC 8305)
_FRAMING = frozenset({b"Host", b"Content-Length"})  # as httpx adds them, where it does
ANSWER_LIMIT = 1024 * 1024  # bytes read of an answer; a WorkflowEventResult has a few hundred


class Progress:
    """Whether a request has gone out; the value of its extension `progress`."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


_Addresses = list[Any]  # as getaddrinfo gives them


class _Route(NamedTuple):
    """Where a connection leads: only requests of the same route share one."""

    host: bytes
    port: int
    tls: ssl.SSLContext | None


def body_of(message: httpx.Request | httpx.Response) -> bytes:
    """The body of what a Transport sends or returns, as it is."""
    assert isinstance(message.stream, httpx.ByteStream)  # noqa: S101 - it is never made in pieces
    return b"".join(message.stream)


class Transport(httpx.AsyncBaseTransport):
    """At most so many connections to one target, kept alive for `keep_idle` seconds, or as long as the target says.

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
        self._idle: dict[_Route, list[ClientConnection]] = {}
        self._keep_idle = keep_idle
        self._timeouts: dict[
            float, TimeoutQueue[tuple[_Route, ClientConnection]]
        ] = {}  # of those, by how long each is kept
        self._look_ups: dict[tuple[str, int], asyncio.Task[_Addresses]] = {}  # those under way

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the whole answer; of a body longer than 1 MiB, its start.

        The extension `progress` is told when it goes out; where there is none, as with a GET, nobody asks.

        Raises:
            OSError, ProxyRefused: there is no connection.
            Broken: there is no whole answer.
        """
        url = request.url
        tls = self._trust() if url.scheme == "https" else None
        route = _Route(url.raw_host, url.port or (443 if tls else 80), tls)
        message = self._message(request)
        async with self._room:
            connection = self._kept(route) or await self._connected(route)
            if connection.reusable and (progress := request.extensions.get("progress")):
                progress.sent = True
            answer = await connection.exchange(message)
            self._keep(route, connection)
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))

    def _message(self, request: httpx.Request) -> bytes:
        """A request as it goes over the wire."""
        url, body = request.url, body_of(request)
        target = url.raw_path
        headers = [header for header in request.headers.raw if header[0] not in _FRAMING]
        headers.append((b"Host", url.netloc))
        if body or request.method == "POST":
            headers.append((b"Content-Length", b"%d" % len(body)))
        if self._proxy and url.scheme == "http":
            target = b"http://" + url.netloc + target
            headers += [(name.encode(), value.encode()) for name, value in proxy_login(self._proxy).items()]
        return _head(request.method.encode(), target, headers) + body

    def _kept(self, route: _Route) -> ClientConnection | None:
        """A connection that waits for a request, the one used last first."""
        idle = self._idle.get(route)
        while idle:
            connection = idle.pop()
            self._deadline(connection).stop((route, connection))
            if connection.reusable:
                return connection
            connection.abort()
        return None

    def _keep(self, route: _Route, connection: ClientConnection) -> None:
        if not connection.reusable:
            connection.abort()
            return
        self._idle.setdefault(route, []).append(connection)
        self._deadline(connection).start((route, connection))

    def _deadline(self, connection: ClientConnection) -> TimeoutQueue[tuple[_Route, ClientConnection]]:
        seconds = min(self._keep_idle, connection.kept_for)
        timeouts = self._timeouts.get(seconds)
        if timeouts is None:
            timeouts = self._timeouts[seconds] = TimeoutQueue(seconds, self._close)
        return timeouts

    def _close(self, unused: tuple[_Route, ClientConnection]) -> None:
        route, connection = unused
        connection.close()
        self._idle[route].remove(connection)
        if not self._idle[route]:
            del self._idle[route]

    async def _connected(self, route: _Route) -> ClientConnection:
        host = route.host.decode()
        if self._proxy is None:
            return await self._dialled(host, route.port, route.tls)
        parts = urlsplit(self._proxy.url)
        try:
            connection = await self._dialled(parts.hostname or "", parts.port or 0, None)
        except OSError as error:
            raise ProxyUnreachable(*error.args) from error
        if route.tls is None:
            return connection
        place = b"%s:%d" % (b"[%s]" % route.host if b":" in route.host else route.host, route.port)
        headers = {"Host": place.decode(), **proxy_login(self._proxy)}
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await connection.exchange(_head(b"CONNECT", place, lines), tunnel=True)
        if not 200 <= answer.status < 300:
            connection.abort()
            raise ProxyRefused(answer.status)
        return await connection.secured(route.tls, host)

    async def _dialled(self, host: str, port: int, tls: ssl.SSLContext | None) -> ClientConnection:
        """A connection to whichever of the host's addresses answers first."""
        its_socket = await start_connection(
            await self._looked_up(host, port), happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1
        )
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(ANSWER_LIMIT), sock=its_socket, ssl=tls, server_hostname=host if tls else None
            )
        except BaseException:
            its_socket.close()
            raise
        return connection

    async def _looked_up(self, host: str, port: int) -> _Addresses:
        """The host's addresses. All who wait share one look-up: it cannot be cancelled, and few may run at a time."""
        place = host, port
        if place not in self._look_ups:
            loop = asyncio.get_running_loop()
            is_address = ":" in host or host.replace(".", "").isdigit()
            flags = 0 if is_address else socket.AI_ADDRCONFIG  # of a name, no addresses that this machine has no way to
            asking = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            task = self._look_ups[place] = loop.create_task(asking)
            task.add_done_callback(lambda done: self._answered(place, done))
        return await asyncio.shield(self._look_ups[place])

    def _answered(self, place: tuple[str, int], task: asyncio.Task[_Addresses]) -> None:
        del self._look_ups[place]
        if not task.cancelled():
            task.exception()  # all who asked may have stopped waiting

    async def aclose(self) -> None:
        """Close the connections."""
        for route, idle in list(self._idle.items()):
            for connection in list(idle):
                self._deadline(connection).stop((route, connection))
                self._close((route, connection))


def _head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%s %s HTTP/1.1\r\n" % (method, target), *[b"%s: %s\r\n" % header for header in headers], b"\r\n"]
    head = b"".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines):
        raise ValueError("a header holds the end of a line")  # what follows would be read as another header
    return head


def proxy_login(proxy: ProxySettings) -> dict[str, str]:
    """The headers by which a proxy knows its user, as they are now; none where it asks nobody."""
    if proxy.username is None or proxy.password is None:
        return {}
    login = f"{proxy.username}:{proxy.password.reveal()}".encode()
    return {"Proxy-Authorization": "Basic " + b64encode(login).decode()}
