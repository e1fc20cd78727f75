"""Finds the host of a SuperOffice Online tenant, and caches it.

It is asked for again when the answer expires or the tenant moves. No event is sent but to where a running tenant was
said to be.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from msgspec.structs import replace

from bridge.clock import Clock
from bridge.model import Outcome, PauseReason
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.settings.target_schema import OnlineSettings
from bridge.superoffice.decoding import body_of
from bridge.superoffice.http.transport import Progress
from bridge.superoffice.outcome import Judgement, NotSent, judge_fault, retry_after
from bridge.superoffice.tenant.state import read_state
from bridge.target_state import TenantState
from bridge.times import iso

TenantExchange = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TenantAddress:
    """Where a tenant was said to be, and until when by the running clock that holds."""

    base: str
    send_event: httpx.URL
    valid_until: int


class Tenant:
    """One target's tenant.

    `exchange` sends the question, which may take `within` seconds; `path` leads from the tenant's URL to SendEvent.
    `on_state` is called with every answer.
    """

    def __init__(
        self, name: str, online: OnlineSettings, path: str, exchange: TenantExchange, within: float, clock: Clock
    ) -> None:
        self._name = name
        self._online = online
        self._path = path
        self._exchange = exchange
        self._within = within
        self._clock = clock
        self._known: TenantAddress | None = None
        self._last_base: str | None = None
        self._asking: asyncio.Task[TenantAddress] | None = None
        self.on_state: Callable[[TenantState], None] = lambda _: None

    async def place(self) -> TenantAddress:
        """Where the tenant is now; all who wait for it share one question.

        Raises:
            NotSent: that cannot be told, or the tenant is not running.
        """
        if self._known is not None and self._clock.running() < self._known.valid_until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)  # one that stops waiting must not stop it for the others

    async def reach(self, post: Callable[[httpx.URL], Awaitable[Judgement]], progress: Progress) -> Judgement:
        """Post where the tenant is; where it has moved to, if it is not there.

        A connection that fails makes the next one ask. An answer that says moved (421, 404, 503) says that the event
        was not taken, so it is sent again at once where the tenant is now, if that is another place: the same one
        would answer the same, and may have asked for some rest.

        Raises:
            NotSent: it cannot be told where the tenant is, or it is not running.
            Whatever `post` raises.
        """
        place = await self.place()
        judgement = await self._post_to(place, post)
        if judgement.outcome is not Outcome.MOVED:
            return judgement
        progress.sent = False
        now = await self.place()
        if now.base == place.base:
            return replace(judgement, outcome=Outcome.UNAVAILABLE, detail=f"{judgement.detail}, but it is still there")
        again = await self._post_to(now, post)
        if again.outcome is Outcome.MOVED:
            return replace(again, outcome=Outcome.UNAVAILABLE, detail=f"{again.detail}, again")
        return again

    async def _post_to(self, place: TenantAddress, post: Callable[[httpx.URL], Awaitable[Judgement]]) -> Judgement:
        try:
            judgement = await post(place.send_event)
        except NotSent:  # its log-in failed, which tells nothing of the place
            raise
        except BaseException:
            self._forget(place)
            raise
        if judgement.outcome is Outcome.MOVED:
            self._forget(place)
        return judgement

    def _forget(self, place: TenantAddress) -> None:
        """The tenant was not there. Somebody else may have found that out, and the new place, before."""
        if self._known is place:
            self._known = None

    def _asked(self, task: asyncio.Task[TenantAddress]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # all who asked may have stopped waiting

    async def _ask(self) -> TenantAddress:
        state = await self._question()
        self.on_state(state)
        if state.url is None:
            detail = f"the tenant is not running ({state.state})"
            raise NotSent(Outcome.UNAVAILABLE, detail, pause=PauseReason.TENANT)
        if state.url != self._last_base:
            until = iso(state.valid_until)
            log.info(logs.TARGET_LOCATED, target=self._name, url=state.url, before=self._last_base, valid_until=until)
            self._last_base = state.url
        self._known = TenantAddress(
            base=state.url,
            send_event=httpx.URL(state.url + self._path),
            valid_until=self._clock.running() + state.valid_until - state.asked_at,
        )
        return self._known

    async def _question(self) -> TenantState:
        url = f"{self._online.environment}/api/state/{self._online.tenant}"
        request = httpx.Request("GET", url, headers={"Accept": "application/json", "Accept-Encoding": "identity"})
        try:
            async with asyncio.timeout(self._within):
                response = await self._exchange(request)
                body = await body_of(response)
        except TimeoutError:
            detail = f"it cannot be asked where the tenant is: no answer within {self._within:g} s"
            raise NotSent(Outcome.UNAVAILABLE, detail) from None
        except Exception as error:
            fault = judge_fault(error, sent=False, within="").detail
            raise NotSent(Outcome.UNAVAILABLE, f"it cannot be asked where the tenant is: {fault}") from None
        now = self._clock.wall()
        return read_state(
            response.status_code,
            response.headers,
            body,
            self._online,
            target=self._name,
            now=now,
            retry_after=retry_after(response.headers, now),
        )

    async def close(self) -> None:
        """Ask no longer."""
        if self._asking:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, NotSent):
                await self._asking
