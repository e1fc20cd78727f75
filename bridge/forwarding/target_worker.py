"""The delivery loop of one target: claims due events while there is room, sends and records them, pauses and probes.

A target's worker never waits for another's. Its work is a row in the store, so whatever is cut off here is found
again there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import inf
from typing import Final, cast

import tenacity

from bridge.errors import StoreUnavailable
from bridge.forwarding.breaker import Breaker
from bridge.forwarding.reporter import Reporter
from bridge.forwarding.retry import Policy
from bridge.model import Attempt, Claim, Dead, Decision, EventState, Held, Pause, RetryAt
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Metrics
from bridge.observing.transitions import LOGGED, Transitions
from bridge.rate import Bucket
from bridge.store.attempts import Recorded
from bridge.store.store import Store
from bridge.target_state import TargetState

Send = Callable[[Claim], Awaitable[Attempt]]

_PENDING: Final = EventState.PENDING  # as an attribute of its class, each look at it costs more than a call
_WITH_REASON = (Dead, Held)
_GO_BACK = (RetryAt, Pause)
_STORE_WAIT = 1000  # milliseconds until a store that failed is asked again
_LOOK_AGAIN = 30  # seconds; due times come closer while the machine sleeps, the event loop's timers do not


class TargetWorker:
    """Sends one target's events, at most `max_in_flight` at once and as fast as `bucket` lets pass."""

    def __init__(
        self,
        *,
        name: str,
        send: Send,
        policy: Policy,
        breaker: Breaker,
        bucket: Bucket,
        max_in_flight: int,
        lease: int,
        store: Store,
        metrics: Metrics,
        transitions: Transitions = LOGGED,
        log_answers: bool = False,
    ) -> None:
        self.name = name
        self._send = send
        self._policy = policy
        self._breaker = breaker
        self._bucket = bucket
        self._room = max_in_flight
        self.lease = lease
        self._store = store
        self._tell = Reporter(name, metrics, store.clock, transitions, answers=log_answers)
        self._clock = store.clock
        self._state = TargetState(name=name)  # as it was last read, or decided on here
        self._unsaved: TargetState | None = None  # what was read before it was decided on, until that is stored
        self._saving = False
        self._due_at: int | None = 0  # when the store has something for us, as far as we know; 0: now
        self._looked_at = 0
        self._stirred = asyncio.Event()
        self._woken = False
        self._closing = False
        self._full = False  # until an attempt ends, there is nothing to do
        # Workers, each with an event: its claim, and when by the event loop's clock the lease of that ends.
        self._attempts: dict[asyncio.Task[None], tuple[Claim, float]] = {}
        self._idle: list[tuple[asyncio.Task[None], asyncio.Future[Claim]]] = []  # workers that wait for one

    def wake(self) -> None:
        """There may be new work in the store."""
        self._woken = True
        self._due_at = 0
        self._stirred.set()

    def holds(self, claim: Claim) -> bool:
        """Whether this attempt is under way here and has time left, by the only clock that stops with it.

        Once it was answered it has all the time there is: it only has to be recorded.
        """
        now = asyncio.get_running_loop().time()
        its = claim.event_id, claim.attempt
        return any((one.event_id, one.attempt) == its and until > now for one, until in self._attempts.values())

    def see(self, state: TargetState) -> None:
        """The target's state was read: it may be another than is known here."""
        if state.version > self._state.version:
            self._state, self._unsaved = state, None
            self.wake()

    async def hasten(self) -> None:
        """Before it runs: what waits for longer than any wait may last is due now."""
        now = self._clock.running()
        latest = now + self._policy.longest
        await self._store.hasten(self.name, latest)
        state = await self._store.target(self.name)
        self.see(state)
        if state.next_probe_at is not None and state.next_probe_at > latest:
            transition = await self._store.change_target(state, replace(state, next_probe_at=now))
            self.see(transition.after if transition else await self._store.target(self.name))

    async def run(self) -> None:
        """Work until `drain` is called."""
        loop = asyncio.get_running_loop()
        while not self._closing:
            self._stirred.clear()
            wait = self._wait()
            if wait == 0:
                try:
                    await self._claim_and_send()
                except Exception as error:
                    log.error(logs.CLAIM_FAILED, target=self.name, **logs.where(error))
                    self._due_at = self._clock.running() + _STORE_WAIT
                continue
            self._full = wait is None
            timer = None if wait is None else loop.call_later(min(wait, _LOOK_AGAIN), self._stirred.set)
            await self._stirred.wait()
            if timer:
                timer.cancel()

    async def drain(self, within: float) -> int:
        """Claim no more and let attempts in flight finish; return how many did not within so many seconds.

        Those stay `sending` in the store, where the next start finds them.
        """
        self._closing = True
        self._stirred.set()
        for _, handed in self._idle:
            handed.cancel()
        if not self._attempts:
            return 0
        _, unfinished = await asyncio.wait(self._attempts, timeout=within)
        for task in unfinished:
            task.cancel()
        return len(unfinished)

    def _wait(self) -> float | None:
        """Seconds until there may be something to claim; None: until somebody stirs."""
        if len(self._attempts) >= self._room or self._saving:
            return None
        now, state = self._clock.running(), self._state
        # What a commit brought whose fate was unknown, nobody told us of, nor of what others do: so look now and then.
        ready_at = again_at = self._looked_at + _LOOK_AGAIN * 1000
        if self._due_at is not None and self._due_at < ready_at:
            ready_at = self._due_at
        if state.paused_at is not None:
            if self._attempts:
                return None
            ready_at = again_at if state.next_probe_at is None else min(again_at, max(ready_at, state.next_probe_at))
        return max(0.0, (ready_at - now) / 1000, self._bucket.delay())

    async def _claim_and_send(self) -> None:
        if self._unsaved:
            await self._save(self._unsaved, self._state)
        limit = (
            1 if self._state.paused_at is not None else min(self._room - len(self._attempts), self._bucket.available())
        )
        self._woken = False
        self._looked_at = self._clock.running()
        leased_until = asyncio.get_running_loop().time() + self.lease / 1000
        try:
            claimed = await self._store.claim(
                self.name, limit, self.lease, self._policy.max_attempts, self._state if self._unsaved else None
            )
        except StoreUnavailable as error:
            log.error(logs.CLAIM_FAILED, target=self.name, error=str(error))
            self._due_at = self._clock.running() + _STORE_WAIT
            return
        if not self._woken:  # else something was committed after the claim looked
            self._due_at = claimed.next_due_at
        self.see(claimed.target)
        for old in claimed.expired:
            self._tell.ended(old, EventState.DEAD, "max_age", self._clock.running())
        for spent in claimed.spent:
            self._tell.ended(spent, EventState.DEAD, "max_attempts", self._clock.running())
        if self._closing:
            await self._store.release(claimed.claims)
            return
        self._bucket.take(len(claimed.claims))
        for claim in claimed.claims:
            if self._idle:
                worker, handed = self._idle.pop()
                handed.set_result(claim)
            else:
                worker = asyncio.create_task(self._work(claim))
            self._attempts[worker] = claim, leased_until

    async def _work(self, claim: Claim) -> None:
        """Attempt one event after another: a task for each of them would take longer than to decide and to tell."""
        loop, worker = asyncio.get_running_loop(), cast("asyncio.Task[None]", asyncio.current_task())
        while True:
            try:
                await self._attempt(claim, worker)
            except Exception as error:
                # The event stays `sending`; its lease runs out, and it is decided as any unknown outcome.
                log.error(logs.ATTEMPT_UNRECORDED, target=self.name, **logs.where(error))
            finally:
                self._attempts.pop(worker, None)
                if self._full:
                    self._stirred.set()
            if self._closing:
                return
            del claim  # nothing of an event stays with a worker that waits
            handed: asyncio.Future[Claim] = loop.create_future()
            self._idle.append((worker, handed))
            claim = await handed

    async def _attempt(self, claim: Claim, worker: asyncio.Task[None]) -> None:
        attempt = await self._send(claim)
        self._attempts[worker] = claim, inf
        self._breaker.count(attempt.outcome)  # not in `recover`: what cut an attempt off here was not the target
        await self.recover(claim, attempt)

    async def recover(self, claim: Claim, attempt: Attempt) -> None:
        """Decide on an attempt, record it, and tell."""
        now = self._clock.running()
        decision = self._policy.decide(claim, attempt, now, self._state.clock(now))
        try:
            recorded = await self._store.record(claim, attempt, decision)
        except StoreUnavailable:
            recorded = await self._record(claim, attempt, decision)
        moment = self._clock.running()
        before = self._state
        target = self._breaker.judge(before, claim, attempt, moment)
        self._tell.attempt(claim, attempt, decision, target, late=recorded.late)
        if recorded.moved and recorded.state is not _PENDING:
            reason = decision.reason if isinstance(decision, _WITH_REASON) else None
            self._tell.ended(claim, recorded.state, reason, moment, attempt)
            # The next of its key is due now; and it may have been remapped to one since a claim that is late.
            if claim.order_key is not None or recorded.late:
                self.wake()
        if isinstance(decision, _GO_BACK):
            self._expect(decision.at if isinstance(decision, RetryAt) else now)
        if target is not before:
            await self._change(before, target, attempt.detail)

    async def _change(self, before: TargetState, after: TargetState, detail: str) -> None:
        """Change the target's state. It holds at once, and where the store fails all the same."""
        self._state, self._unsaved, self._saving = after, self._unsaved or before, True
        try:
            await self._save(self._unsaved, after)
        finally:
            self._saving = False
        if self._state == after:
            self._tell.changed(before, after, detail)
        self.wake()

    async def _save(self, before: TargetState, after: TargetState) -> None:
        """Store a state that was decided on here, unless another instance was first: then its own stands."""
        try:
            transition = await self._store.change_target(before, after)
            self._state = transition.after if transition else await self._store.target(self.name)
            self._unsaved = None
        except StoreUnavailable as error:
            log.error(logs.TARGET_UNSAVED, target=self.name, error=str(error))

    def _expect(self, due_at: int) -> None:
        """An event went back to the store, to be claimed again then."""
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._stirred.set()

    async def _record(self, claim: Claim, attempt: Attempt, decision: Decision) -> Recorded:
        """Record, once more at once, then again and again: what SuperOffice answered must not be forgotten."""
        async for trial in tenacity.AsyncRetrying(
            wait=tenacity.wait_exponential(multiplier=0.1, max=5),
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            before_sleep=lambda state: log.error(
                logs.ATTEMPT_UNRECORDED,
                target=self.name,
                event_id=claim.event_id,
                outcome=attempt.outcome,
                error=str(state.outcome.exception()) if state.outcome else None,
            ),
        ):
            with trial:
                return await self._store.record(claim, attempt, decision)
        raise AssertionError("tenacity stops only by an answer")
