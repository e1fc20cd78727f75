"""One POST of one WorkflowEvent to one target, over httpx; whatever happens comes back as an Attempt."""

import asyncio
import functools
import ssl
import time
from contextvars import ContextVar
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from bridge import __version__
from bridge.errors import Problem
from bridge.model import Attempt, Claim, Outcome
from bridge.settings.document import Section
from bridge.settings.schema import TargetSettings
from bridge.superoffice import carriers
from bridge.superoffice.authorization import Authorization, compile_authorization
from bridge.superoffice.event_types import EVENT_TYPES
from bridge.superoffice.outcome import judge, judge_fault, retry_after
from bridge.times import Clock, now

_ANSWER_LIMIT = 1024 * 1024  # bytes read of an answer; a WorkflowEventResult has a few hundred
_KEEP_IDLE = 15.0  # seconds; a connection kept longer is likelier to be closed under a request, which is `unknown`


@functools.cache
def _system_trust() -> ssl.SSLContext:
    """The certificates that this machine trusts: an on-site SuperOffice often has one of the company's own."""
    return ssl.create_default_context()


class _Progress:
    """Whether the request at hand has gone out. aiohttp's own exceptions do not tell in every case."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


_progress: ContextVar[_Progress] = ContextVar("progress")


async def _mark_sent(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, _: aiohttp.TraceRequestHeadersSentParams
) -> None:
    _progress.get().sent = True


class SuperOffice:
    """One target. Open it within the event loop, close it when done."""

    def __init__(
        self, name: str, settings: TargetSettings, authorization: Authorization | None, clock: Clock = now
    ) -> None:
        self.name = name
        self._timeout = settings.timeout / 1000
        self._clock = clock
        self._url = settings.url.rstrip("/") + "/v1/Agents/Workflow/SendEvent"
        if settings.select:
            self._url += "?$select=" + ",".join(settings.select)
        self._headers = _headers(settings)
        self._app_token = settings.app_token
        self._authorization = authorization
        self._connections = settings.max_in_flight
        self._client: httpx.AsyncClient | None = None

    async def send(self, claim: Claim) -> Attempt:
        """POST the event; never raises but for cancellation."""
        started_at, started = self._clock(), time.monotonic()
        progress = _Progress()
        _progress.set(progress)
        wait = None
        try:
            async with asyncio.timeout(self._timeout):
                status, body, asked = await self._post(carriers.wrapper(claim.type, claim.text))
            judgement = judge(status, body)
            wait = retry_after(asked, self._clock())
        except Exception as error:
            status = None
            judgement = judge_fault(error, sent=progress.sent, within=f"{self._timeout:g} s")
        return Attempt(
            outcome=judgement.outcome,
            started_at=started_at,
            duration=round((time.monotonic() - started) * 1000),
            status=status,
            detail=judgement.detail,
            result=judgement.result,
            retry_after=wait if judgement.outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN) else None,
        )

    async def _post(self, content: bytes) -> tuple[int, bytes, str | None]:
        client = self._client or self._open()
        request = client.build_request("POST", self._url, content=content, headers=self._headers)
        if self._app_token:
            request.headers["SO-AppToken"] = self._app_token.reveal().strip()
        response = await client.send(request, auth=self._authorization, stream=True, follow_redirects=False)
        body = b""
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    break
        finally:
            await response.aclose()
        return response.status_code, body, response.headers.get("retry-after")

    def _open(self) -> httpx.AsyncClient:
        trust = _system_trust()
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_mark_sent)

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_IDLE, ssl=trust),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )

        # No timeouts of httpx's: none of them bounds the whole exchange, and asyncio.timeout does.
        transport = AiohttpTransport(client=session, verify=trust)
        # No cookies: each request logs in by itself, and an answer must not change the next request.
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.AsyncClient(transport=transport, timeout=None, trust_env=False, cookies=cookies)  # noqa: S113
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()
            self._client = None


def _headers(settings: TargetSettings) -> dict[str, str]:
    chosen = {
        "Accept-Language": settings.accept_language,
        "SO-Language": settings.language,
        "SO-Culture": settings.culture,
        "SO-TimeZone": settings.time_zone,
    }
    return {
        "User-Agent": f"superoffice-bridge/{__version__}",
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    } | {name: value for name, value in chosen.items() if value}


def compile_target(name: str, settings: TargetSettings, section: Section) -> tuple[SuperOffice | None, list[Problem]]:
    """A target's settings -> the target, or what is wrong with them."""
    authorization, problems = compile_authorization(section["authorization"])
    if settings.version not in EVENT_TYPES:
        known = ", ".join(EVENT_TYPES)
        problems.append(
            section["version"].problem(
                f"event types of version `{settings.version}` are not known", f"use one of {known}"
            )
        )
    return (None, problems) if authorization is None else (SuperOffice(name, settings, authorization), problems)
