"""An httpx transport over aiohttp's connections, that knows of each request whether it went out.

httpx's own pools collapse under concurrency, and aiohttp's exceptions do not tell in every case whether the other side
may have seen the request: decision 0002 has both at length.
"""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter

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


class Transport(httpx.AsyncBaseTransport):
    """At most so many connections to one target, kept alive for a while. It raises what aiohttp raises."""

    def __init__(self, connections: int, trust: ssl.SSLContext) -> None:
        self._connections = connections
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the answer's body is still to be read, and to be closed."""
        session = self._session or self._open()
        response = await session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=_Body(request.content, request.extensions["progress"]),
            allow_redirects=False,
            timeout=_NO_TIMEOUTS,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Answer(response))

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_IDLE, ssl=self._trust)
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
