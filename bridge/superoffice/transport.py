"""An httpx transport over aiohttp's connections, that knows of each request whether it went out.

httpx's own pools collapse under concurrency, and aiohttp's exceptions do not tell in every case whether the other side
may have seen the request: decision 0002 has both at length.
"""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import TypedDict

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter

from bridge.settings.connecting import ProxySettings

_KEEP_IDLE = 15.0  # seconds; a connection kept longer is likelier to be closed under a request, which is `unknown`
_NO_TIMEOUTS = aiohttp.ClientTimeout()  # none of them bounds the whole exchange; whoever sends does


class Progress:
    """Whether a request has gone out; the value of its extension `progress`."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


class _Body(aiohttp.BytesPayload):
    """A request's body. aiohttp writes the head together with its first byte, so then the request goes out."""

    def __init__(self, content: bytes, progress: Progress) -> None:
        super().__init__(content)
        self._progress = progress

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._progress.sent = True
        await super().write_with_length(writer, content_length)


class _Answer(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._response.content.readany():
            yield chunk

    async def aclose(self) -> None:
        self._response.release()


async def read(response: httpx.Response, most: int) -> bytes:
    """The body of a Transport's response, or a little more than its first `most` bytes; then its connection is free."""
    body = b""
    try:
        async for chunk in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
            body += chunk
            if len(body) > most:
                break
    finally:
        await response.stream.aclose()  # type: ignore[union-attr]
    return body


class Transport(httpx.AsyncBaseTransport):
    """At most so many connections to one target, kept alive for a while. It raises what aiohttp raises.

    `trust` gives the TLS context of each request: another one than before means another connection.
    """

    def __init__(
        self, connections: int, trust: Callable[[], ssl.SSLContext], proxy: ProxySettings | None = None
    ) -> None:
        self._connections = connections
        self._trust = trust
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's body is still to be read, and to be closed.

        The extension `progress` is told when it goes out; where there is none, as with a GET, nobody asks.
        """
        session = self._session or self._open()
        headers = [(name.decode(), value.decode()) for name, value in request.headers.raw]
        progress = request.extensions.get("progress")
        response = await session.request(
            request.method,
            str(request.url),
            headers=headers,
            data=_Body(request.content, progress) if progress else request.content or None,
            allow_redirects=False,
            timeout=_NO_TIMEOUTS,
            ssl=self._trust(),
            **(_through(self._proxy, request.url, headers) if self._proxy else {}),
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Answer(response))

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_IDLE)
        # No cookies: each request logs in by itself, and an answer must not change the next request.
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None


def proxy_login(proxy: ProxySettings) -> dict[str, str]:
    """The headers by which a proxy knows its user, as they are now; none where it asks nobody."""
    if proxy.username is None or proxy.password is None:
        return {}
    login = f"{proxy.username}:{proxy.password.reveal()}".encode()
    return {"Proxy-Authorization": "Basic " + b64encode(login).decode()}


class _Through(TypedDict, total=False):
    proxy: str
    proxy_headers: dict[str, str] | None


def _through(proxy: ProxySettings, url: httpx.URL, headers: list[tuple[str, str]]) -> _Through:
    """What sends a request through a proxy. It logs in with the CONNECT, or where there is none, with the request."""
    login = proxy_login(proxy)
    if url.scheme == "http":
        headers += login.items()
    return {"proxy": proxy.url, "proxy_headers": login if url.scheme == "https" else None}
