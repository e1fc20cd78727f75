"""Runs one worker for each target: recovers interrupted attempts at a start, wakes workers, drains them at the end."""

import asyncio
from collections.abc import Iterable, Mapping

from bridge.errors import StoreUnavailable
from bridge.forwarding.target_worker import TargetWorker
from bridge.model import Attempt, Claim, Held, OnUnknown, Outcome, RetryAt
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.supervisor import Supervisor
from bridge.store.store import Store
from bridge.target_state import TargetTransition

_SWEEP = "leases"
_SWEEP_EVERY = 10.0  # seconds between looks for leases that ran out


class Forwarder:
    """Runs the workers of all targets."""

    def __init__(
        self,
        store: Store,
        target_workers: Mapping[str, TargetWorker],
        sweep_every: float = _SWEEP_EVERY,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._store = store
        self._target_workers = target_workers
        self._sweep_every = sweep_every
        self._supervisor = supervisor or Supervisor()

    async def recover(self) -> int:
        """Decide on every attempt that the last run was cut off in; return how many there were.

        What waits for longer than any wait may last is due now. Only the one process that sends may call it, before
        it sends.
        """
        await asyncio.gather(*(target_worker.hasten() for target_worker in self._target_workers.values()))
        cut_off = await self._store.take_over(expired_only=False)
        for claim, claimed_at in cut_off:
            await self._give_up(claim, claimed_at, "the bridge ended during the attempt")
        return len(cut_off)

    def start(self) -> None:
        """Begin to send."""
        for name, target_worker in self._target_workers.items():
            self._supervisor.start(_task_of(name), target_worker.run)
        self._supervisor.start(_SWEEP, self._sweep)

    def wake(self, targets: Iterable[str]) -> None:
        """There are new events for these targets."""
        for name in targets:
            if target_worker := self._target_workers.get(name):
                target_worker.wake()

    def changed(self, transition: TargetTransition) -> None:
        """Somebody else changed a target's state."""
        if target_worker := self._target_workers.get(transition.after.name):
            target_worker.see(transition.after)

    async def drain(self, within: float) -> int:
        """Claim no more, let attempts in flight finish; return how many did not within so many seconds."""
        unfinished = await asyncio.gather(
            *(target_worker.drain(within) for target_worker in self._target_workers.values())
        )
        await self._supervisor.ended(*map(_task_of, self._target_workers))
        await self._supervisor.stop(_SWEEP)
        return sum(unfinished)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            try:
                for claim, claimed_at in await self._store.take_over(expired_only=True):
                    target_worker = self._target_workers.get(claim.target)
                    if target_worker is None or not target_worker.holds(claim):
                        await self._give_up(claim, claimed_at, "the attempt's lease ran out")
            except StoreUnavailable as error:
                log.error(logs.CLAIM_FAILED, target=None, error=str(error))
            except Exception as error:  # whatever it is, the next look may work
                log.error(logs.CLAIM_FAILED, target=None, **logs.where(error))

    async def _give_up(self, claim: Claim, claimed_at: int, detail: str) -> None:
        target_worker = self._target_workers.get(claim.target)
        attempt = Attempt(
            outcome=Outcome.UNKNOWN,
            started_at=claimed_at,
            # None takes longer than its lease, whatever the wall clock was set to meanwhile.
            duration=max(0, min(self._store.clock.wall() - claimed_at, target_worker.lease if target_worker else 0)),
            detail=f"{detail}, SuperOffice may have taken the event",
        )
        if target_worker:
            await target_worker.recover(claim, attempt)
        else:  # its target left the configuration: only the rule's say is known
            hold = claim.on_unknown is OnUnknown.HOLD
            decision = Held("unknown") if hold else RetryAt(self._store.clock.running(), counts=False)
            await self._store.record(claim, attempt, decision)
            log.warning(logs.TARGET_UNKNOWN, target=claim.target, pending=1)


def _task_of(target: str) -> str:
    return f"target {target}"
