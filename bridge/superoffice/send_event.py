"""Sends one WorkflowEvent to one target; whatever happens comes back as an Attempt."""

import asyncio
import functools
import time

import httpx

from bridge.clock import Clock
from bridge.errors import Problem
from bridge.model import Attempt, Claim, Outcome
from bridge.settings.document import Section
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice import payloads
from bridge.superoffice.decoding import body_of
from bridge.superoffice.event_types import KNOWN, is_known
from bridge.superoffice.http.tls import Trust, compile_trust, system_trust
from bridge.superoffice.http.transport import Progress, Transport
from bridge.superoffice.login.authorization import Authorization, Static, compile_authorization
from bridge.superoffice.login.oauth import OAuth
from bridge.superoffice.login.refresh_token import TokenStore
from bridge.superoffice.login.session import REFUSED, LoginSession
from bridge.superoffice.login.token_service import LogInService, TokenAnswer
from bridge.superoffice.outcome import Judgement, NotSent, judge, judge_fault, retry_after
from bridge.superoffice.request_headers import TargetHeaders
from bridge.superoffice.tenant.discovery import Tenant
from bridge.timeouts import TimeoutQueue

SEND_EVENT = "/v1/Agents/Workflow/SendEvent"
_LOG_IN_SHARE = 0.9  # of an attempt's time, so that an attempt that waits for a log-in learns why it failed


class SuperOffice:
    """One target. Open it within the event loop, close it when done."""

    def __init__(
        self,
        name: str,
        settings: TargetSettings,
        authorization: Authorization | None,
        clock: Clock | None = None,
        trust: Trust = system_trust,
    ) -> None:
        self.name = name
        self._timeout = settings.timeout / 1000
        self._timeouts: TimeoutQueue[asyncio.Timeout] = TimeoutQueue(self._timeout, lambda limit: limit.reschedule(0))
        self._clock = clock = clock or Clock()
        path = SEND_EVENT + ("?$select=" + ",".join(settings.select) if settings.select else "")
        self._base = settings.url or ""
        self._url = httpx.URL(self._base + path)
        self._headers = TargetHeaders(settings)
        self.trust = trust
        self._transport = Transport(settings.max_in_flight, trust, settings.proxy)
        self._log_in_service = LogInService(Transport(1, trust, settings.proxy))  # events may use all of their own
        self._session: LoginSession | None = None
        if authorization is None or isinstance(authorization, Static):
            self.authorization: httpx.Auth | None = authorization
        else:
            exchange, within = self._log_in_service.exchange, self._timeout * _LOG_IN_SHARE
            self.authorization = self._session = LoginSession(authorization, name, exchange, clock, within)
        self.tenant: Tenant | None = None
        if settings.online:
            ask = self._transport.handle_async_request
            self.tenant = Tenant(name, settings.online, path, ask, self._timeout / 2, clock)

    async def send(self, claim: Claim) -> Attempt:
        """POST the event; never raises but for cancellation."""
        started_at, started = self._clock.wall(), time.monotonic()
        progress = Progress()
        post = functools.partial(self._post, claim, progress)
        try:
            async with asyncio.timeout(None) as limit:
                self._timeouts.start(limit)
                try:
                    judgement = await (self.tenant.reach(post, progress) if self.tenant else post(self._url))
                finally:
                    self._timeouts.stop(limit)
        except NotSent as error:
            judgement = Judgement(
                outcome=error.outcome, detail=error.detail, retry_after=error.retry_after, pause=error.pause
            )
        except Exception as error:
            judgement = judge_fault(error, sent=progress.sent, within=f"{self._timeout:g} s")
        return Attempt(
            outcome=judgement.outcome,
            started_at=started_at,
            duration=round((time.monotonic() - started) * 1000),
            status=judgement.status,
            detail=judgement.detail,
            result=judgement.result,
            retry_after=judgement.retry_after if judgement.outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN) else None,
            pause=judgement.pause,
            unclear=judgement.unclear,
        )

    async def _post(self, claim: Claim, progress: Progress, url: httpx.URL) -> Judgement:
        request = httpx.Request(
            "POST",
            url,
            headers=self._headers.of(claim),
            # As `content` it would take ten times as long. The transport adds its length, and the host.
            stream=httpx.ByteStream(payloads.wrapper(claim.type, claim.text)),
            extensions={"progress": progress},
        )
        response, body = await self._exchange(request, progress)
        status = response.status_code
        wait = None if status == 200 else retry_after(response.headers, self._clock.wall())
        return judge(status, response.headers, body, online=self.tenant is not None, retry_after=wait)

    async def _exchange(self, request: httpx.Request, progress: Progress) -> tuple[httpx.Response, bytes]:
        """Let the authorization have its say; httpx's own client would, at twice the price of the whole exchange.

        It says what to send, and after a refusal it may say to send it once more.
        """
        if self.authorization is None:
            return await self._call(request)
        flow = self.authorization.async_auth_flow(request)
        try:
            request = await anext(flow)
            while True:
                response, body = await self._call(request)
                if response.status_code in REFUSED:
                    progress.sent = False  # it was refused, so it was not taken
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return response, body
        finally:
            await flow.aclose()

    async def _call(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        response = await self._transport.handle_async_request(request)
        return response, await body_of(response)

    async def base(self) -> str:
        """The URL of its web API.

        Raises:
            NotSent: its tenant is not running, or where it is cannot be told.
        """
        return (await self.tenant.place()).base if self.tenant else self._base

    async def ask(self, path: str = "", *, logged_in: bool = False) -> TokenAnswer:
        """What it answers to a GET of a path beneath its base URL, within `timeout`. No GET sends an event.

        Raises:
            NotSent: there is no answer, or what comes before it failed.
        """
        try:
            async with asyncio.timeout(self._timeout):
                request = httpx.Request("GET", await self.base() + path, headers=self._headers.of_question())
                response, body = await (self._exchange(request, Progress()) if logged_in else self._call(request))
        except NotSent:
            raise
        except TimeoutError:
            raise NotSent(Outcome.UNAVAILABLE, f"no answer within {self._timeout:g} s") from None
        except Exception as error:
            detail = judge_fault(error, sent=False, within=f"{self._timeout:g} s").detail
            raise NotSent(Outcome.UNAVAILABLE, detail) from None
        return TokenAnswer(response.status_code, response.headers, body)

    async def log_in(self) -> bool:
        """Log in, where that takes a request of its own and is not done yet; whether it does.

        Raises:
            NotSent: it does not succeed.
        """
        if self._session:
            await self._session.granted()
            return True
        return False

    def keep_by(self, token_store: TokenStore) -> None:
        """Say what keeps a refresh token that the log-in service gives in place of the configured one."""
        if self._session and isinstance(self._session.log_in, OAuth):
            self._session.log_in.refresh_token.token_store = token_store

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
        await self._log_in_service.close()
        if self.tenant:
            await self.tenant.close()
        await self._transport.aclose()


def compile_target(name: str, settings: TargetSettings, section: Section) -> tuple[SuperOffice | None, list[Problem]]:
    """A target's settings -> the target, or what is wrong with them."""
    authorization, problems = compile_authorization(section["authorization"])
    trust, found = compile_trust(name, settings.tls, section["tls"])
    problems += found
    if not is_known(settings.version):
        message = f"event types of version `{settings.version}` are not known"
        problems.append(section["version"].problem(message, f"use {KNOWN}"))
    return SuperOffice(name, settings, authorization, trust=trust) if authorization else None, problems
