"""Opens connections: name look-up, Happy Eyeballs (RFC 8305), proxy tunnels, TLS."""

import asyncio
import socket
import ssl
from base64 import b64encode
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from aiohappyeyeballs import start_connection

from bridge.settings.tls_and_proxy import ProxySettings
from bridge.superoffice.http.connection import ClientConnection
from bridge.superoffice.http.request_writer import serialize_head

_NEXT_ADDRESS = 0.25  # seconds until the next address of a name is tried beside the one before (RFC 8305)

_Addresses = list[Any]  # as getaddrinfo gives them


class ProxyUnreachable(httpx.ConnectError):
    """There is no connection to the proxy; the cause is an OSError."""


class ProxyRefused(httpx.ProxyError):
    """The proxy answered that it does not connect to the target."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


class Route(NamedTuple):
    """Where a connection leads: only requests of the same route share one."""

    host: bytes
    port: int
    tls: ssl.SSLContext | None


class Dialer:
    """Opens connections, by way of a proxy where there is one."""

    def __init__(self, proxy: ProxySettings | None = None) -> None:
        self._proxy = proxy
        self._look_ups: dict[tuple[str, int], asyncio.Task[_Addresses]] = {}  # those under way

    async def connect(self, route: Route) -> ClientConnection:
        """Open a connection.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: there is none; the cause is an OSError.
            httpx.ProxyError, httpx.RemoteProtocolError, httpx.ReadError: the proxy refuses, or does not answer as one.
        """
        host = route.host.decode()
        try:
            if self._proxy is None:
                return await self._dial(host, route.port, route.tls)
            connection = await self._dial_proxy(self._proxy)
            if route.tls is None:
                return connection
            await _tunnel(connection, route, self._proxy)
            return await connection.secured(route.tls, host)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:  # the latter where it is no name
            raise httpx.ConnectError(str(error)) from error

    async def _dial_proxy(self, proxy: ProxySettings) -> ClientConnection:
        parts = urlsplit(proxy.url)
        try:
            return await self._dial(parts.hostname or "", parts.port or 0, None)
        except OSError as error:
            raise ProxyUnreachable(str(error)) from error

    async def _dial(self, host: str, port: int, tls: ssl.SSLContext | None) -> ClientConnection:
        """A connection to whichever of the host's addresses answers first."""
        addresses = await self.look_up(host, port)
        connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                ClientConnection, sock=connected, ssl=tls, server_hostname=host if tls else None
            )
        except BaseException:
            connected.close()
            raise
        return connection

    async def look_up(self, host: str, port: int) -> _Addresses:
        """The host's addresses. All who wait share one look-up: it cannot be cancelled, and few may run at a time.

        Raises:
            OSError: it has none.
        """
        place = host, port
        if place not in self._look_ups:
            loop = asyncio.get_running_loop()
            is_address = ":" in host or host.replace(".", "").isdigit()
            flags = 0 if is_address else socket.AI_ADDRCONFIG  # of a name, no addresses that this machine has no way to
            asking = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            task = self._look_ups[place] = loop.create_task(asking)
            task.add_done_callback(lambda done: self._looked_up(place, done))
        return await asyncio.shield(self._look_ups[place])

    def _looked_up(self, place: tuple[str, int], task: asyncio.Task[_Addresses]) -> None:
        del self._look_ups[place]
        if not task.cancelled():
            task.exception()  # all who asked may have stopped waiting


async def _tunnel(connection: ClientConnection, route: Route, proxy: ProxySettings) -> None:
    place = b"%s:%d" % (b"[%s]" % route.host if b":" in route.host else route.host, route.port)
    headers = {"Host": place.decode(), **proxy_login(proxy)}
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        connection.begin(bodiless=True)
        connection.write(serialize_head(b"CONNECT", place, lines))
        await connection.answered()
    except BaseException:
        connection.abort()
        raise
    if not 200 <= connection.status < 300:
        connection.abort()
        raise ProxyRefused(connection.status)


def proxy_login(proxy: ProxySettings) -> dict[str, str]:
    """The headers by which a proxy knows its user, as they are now; none where it asks nobody."""
    if proxy.username is None or proxy.password is None:
        return {}
    login = f"{proxy.username}:{proxy.password.reveal()}".encode()
    return {"Proxy-Authorization": "Basic " + b64encode(login).decode()}
