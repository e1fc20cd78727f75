"""A login session: credentials that are fetched once for all who wait, and again when they expire or are refused.

A scheme says how to log in (`LogIn`); `LoginSession` says when, and is the same for all of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from bridge.clock import Clock
from bridge.model import Outcome
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.superoffice.login.token_service import TokenExchange
from bridge.superoffice.outcome import NotSent
from bridge.times import iso

REFUSED = frozenset({401, 403})  # statuses for which credentials are refreshed, once
_AHEAD = 5 * 60_000  # milliseconds before its end that a grant is renewed, or a fifth of its life where that is shorter
_FIRST_PAUSE = 1_000  # milliseconds between a log-in that failed and the next; it doubles
_LONGEST_PAUSE = 60_000
_LONGEST_OBEYED = 3_600_000  # of a Retry-After
_GOODBYE = 2.0  # seconds for a log-in under way when the target is closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a log-in gave: headers that go with every request, for `lifetime` milliseconds."""

    headers: Mapping[str, str] = field(repr=False)
    lifetime: int
    sliding: bool = False  # every use makes it last as long again


class LogIn(Protocol):
    """How one scheme logs in."""

    scheme: str

    async def log_in(self, exchange: TokenExchange, clock: Clock) -> Grant:
        """Log in now.

        Raises:
            NotSent: why it did not succeed.
        """


class LoginSession(httpx.Auth):
    """Puts what a log-in gave into each request of a target.

    `exchange` sends the requests of a log-in, which may take `within` seconds.
    """

    def __init__(self, log_in: LogIn, target: str, exchange: TokenExchange, clock: Clock, within: float) -> None:
        self.log_in = log_in
        self._target = target
        self._exchange = exchange
        self._clock = clock
        self._within = within
        self._grant: Grant | None = None
        self._ends_at = 0
        self._renew_at = 0
        self._under_way: asyncio.Task[Grant | NotSent] | None = None
        self._failures = 0
        self._failure = NotSent(Outcome.UNAVAILABLE, "there was no log-in")
        self._again_at = 0

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        grant = await self.granted()
        request.headers.update(grant.headers)
        response = yield request
        if response.status_code in REFUSED:
            grant = await self._instead_of(grant)
            request.headers.update(grant.headers)
            response = yield request
        self._learn(grant, response.status_code)

    async def granted(self) -> Grant:
        """What the last log-in gave, while it lasts, else a new one.

        Raises:
            NotSent: there is none to be had.
        """
        now, grant = self._clock.running(), self._grant
        if grant is None or now >= self._ends_at:
            return await self._renewed(now)
        if now >= self._renew_at:
            self._start(now)  # nobody waits for it yet
        return grant

    async def close(self) -> None:
        """Let a log-in under way end, since what it gives may have to be kept; but not for long."""
        if task := self._under_way:
            await asyncio.wait([task], timeout=_GOODBYE)
            task.cancel()
            await asyncio.wait([task])

    async def _instead_of(self, refused: Grant) -> Grant:
        """Another grant than the one that was refused; somebody may have got one already."""
        if self._grant is refused:
            self._grant = None
        return await self.granted()

    def _learn(self, used: Grant, status: int) -> None:
        if self._grant is not used:
            return
        if status in REFUSED:
            self._grant = None  # whoever comes next begins anew
        elif used.sliding:
            self._last(self._clock.running() + used.lifetime, used)

    def _last(self, until: int, grant: Grant) -> None:
        self._ends_at = until
        self._renew_at = until - min(_AHEAD, grant.lifetime // 5)

    async def _renewed(self, now: int) -> Grant:
        task = self._start(now)
        # One attempt that stops waiting must not stop the log-in for the others.
        result = await asyncio.shield(task) if task else self._failure
        if isinstance(result, Grant):
            return result
        wait = None if result.retry_after is None else max(0, self._again_at - self._clock.running())
        raise NotSent(result.outcome, result.detail, wait)

    def _start(self, now: int) -> "asyncio.Task[Grant | NotSent] | None":
        """The log-in under way, else a new one; None where the last one failed just now."""
        if self._under_way is None and now >= self._again_at:
            self._under_way = asyncio.create_task(self._run(now))
        return self._under_way

    async def _run(self, now: int) -> Grant | NotSent:
        try:
            async with asyncio.timeout(self._within):
                grant = await self.log_in.log_in(self._exchange, self._clock)
        except NotSent as error:
            return self._failed(error)
        except TimeoutError:
            return self._failed(NotSent(Outcome.UNAVAILABLE, f"the log-in took longer than {self._within:g} s"))
        except Exception as error:
            return self._failed(NotSent(Outcome.UNAVAILABLE, f"the log-in failed ({type(error).__name__})"))
        finally:
            self._under_way = None
        self._grant, self._failures, self._again_at = grant, 0, 0
        self._last(now + grant.lifetime, grant)
        ends_at = iso(self._clock.on_wall(self._ends_at))
        log.info(logs.LOGIN_RENEWED, target=self._target, scheme=self.log_in.scheme, ends_at=ends_at)
        return grant

    def _failed(self, error: NotSent) -> NotSent:
        self._failures += 1
        # Without the frames of the one that was raised, which hold secrets.
        self._failure = NotSent(error.outcome, error.detail, error.retry_after)
        pause = min(_FIRST_PAUSE << min(self._failures - 1, 10), _LONGEST_PAUSE)
        self._again_at = self._clock.running() + max(pause, min(error.retry_after or 0, _LONGEST_OBEYED))
        log.warning(
            logs.LOGIN_FAILED,
            target=self._target,
            scheme=self.log_in.scheme,
            outcome=error.outcome,
            detail=error.detail,
            next_log_in_at=iso(self._clock.on_wall(self._again_at)),
        )
        return self._failure
