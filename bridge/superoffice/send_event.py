"""One POST of one WorkflowEvent to one target, over httpx; whatever happens comes back as an Attempt."""

import asyncio
import functools
import ssl
import time

import httpx

from bridge import __version__
from bridge.errors import Problem
from bridge.model import Attempt, Claim, Outcome
from bridge.settings.document import Section
from bridge.settings.schema import TargetSettings
from bridge.superoffice import carriers
from bridge.superoffice.authorization import Authorization, compile_authorization
from bridge.superoffice.event_types import EVENT_TYPES
from bridge.superoffice.outcome import judge, judge_fault, retry_after
from bridge.superoffice.transport import Progress, Transport
from bridge.times import Clock, now

_ANSWER_LIMIT = 1024 * 1024  # bytes read of an answer; a WorkflowEventResult has a few hundred


@functools.cache
def _system_trust() -> ssl.SSLContext:
    """The certificates that this machine trusts: an on-site SuperOffice often has one of the company's own."""
    return ssl.create_default_context()


class SuperOffice:
    """One target. Open it within the event loop, close it when done."""

    def __init__(
        self, name: str, settings: TargetSettings, authorization: Authorization | None, clock: Clock = now
    ) -> None:
        self.name = name
        self._timeout = settings.timeout / 1000
        self._clock = clock
        url = settings.url.rstrip("/") + "/v1/Agents/Workflow/SendEvent"
        if settings.select:
            url += "?$select=" + ",".join(settings.select)
        self._url = httpx.URL(url)
        self._headers = httpx.Headers(_headers(settings))
        self._app_token = settings.app_token
        self._authorization = authorization
        self._transport = Transport(settings.max_in_flight, _system_trust())

    async def send(self, claim: Claim) -> Attempt:
        """POST the event; never raises but for cancellation."""
        started_at, started = self._clock(), time.monotonic()
        progress = Progress()
        wait = None
        try:
            async with asyncio.timeout(self._timeout):
                status, body, asked = await self._post(carriers.wrapper(claim.type, claim.text), progress)
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

    async def _post(self, content: bytes, progress: Progress) -> tuple[int, bytes, str | None]:
        request = httpx.Request(
            "POST", self._url, headers=self._headers, content=content, extensions={"progress": progress}
        )
        if self._app_token:
            request.headers["SO-AppToken"] = self._app_token.reveal().strip()
        response = await self._exchange(request)
        body = b""
        try:
            async for chunk in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
                body += chunk
                if len(body) > _ANSWER_LIMIT:
                    break
        finally:
            await response.stream.aclose()  # type: ignore[union-attr]
        return response.status_code, body, response.headers.get("retry-after")

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        """Let the authorization have its say; httpx's own client would, at twice the price of the whole exchange."""
        if self._authorization is None:
            return await self._transport.handle_async_request(request)
        flow = self._authorization.async_auth_flow(request)
        try:
            return await self._transport.handle_async_request(await anext(flow))
        finally:
            await flow.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


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
