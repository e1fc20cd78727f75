"""The store's interface: every method is one durable transaction."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from uuid import uuid4

from sqlalchemy import Engine

from bridge.clock import Clock
from bridge.model import Attempt, Claim, Decision, Mapped, Receipt, Webhook
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.store import (
    actions,
    attempts,
    claims,
    clock,
    database,
    key_urls,
    readiness,
    refresh_tokens,
    registered_secrets,
    remapping,
    retention,
    target_states,
    tenants,
    webhooks,
)
from bridge.store.order import WAITING as NEVER
from bridge.store.purging import Purging
from bridge.store.writer import Writer
from bridge.target_state import TargetState, TargetTransition, TenantState

_STATEMENTS = 64 << 10  # the cost of a few that are not prepared: a millisecond
_PORTION = 2 << 20  # the cost of what touches many rows
_SETTLED_WITHIN = 60_000  # milliseconds until a claim that was taken over, and not settled, may be taken again
_COMMIT_WITHIN = 5.0  # seconds a sender waits for its webhook to be durable; dedupe covers what is stored later


class Store:
    """Everything durable. Methods return once their transaction is committed, or raise StoreUnavailable.

    `clock` goes on where the last run left it; whoever uses what is stored goes by this one.
    """

    def __init__(self, engine: Engine, clock: Clock | None = None, commit_within: float = _COMMIT_WITHIN) -> None:
        self._writer = Writer(engine, commit_within)
        self.clock = clock or Clock()
        path = database.sqlite_path(engine.url)
        descriptor = engine.get_execution_options().get("descriptor")
        self._purging = None if path is None or descriptor is None else Purging(self._writer, path, descriptor)
        self._instance = uuid4().hex

    async def start(self) -> None:
        """Let the clock go on where it was last seen."""
        if last := await self._writer.run(clock.load, None):
            self.clock.go_on(last)
        await self.keep_time()

    async def keep_time(self) -> None:
        """Remember where the clocks stand."""
        await self._writer.run(clock.save, self.clock.seen())

    def close(self) -> None:
        """Commit what waits, then stop."""
        if self._purging:
            self._purging.close()
        self._writer.close()

    async def accept(self, webhook: Webhook, mapping: Mapped, window: int) -> Receipt:
        """Store a webhook with its claims. A key seen within `window` milliseconds makes it a duplicate."""
        acceptance = self._acceptance(webhook, mapping, window)
        cost = len(webhook.body) + mapping.size
        return await self._writer.run(webhooks.accept, acceptance, in_time=True, cost=cost)

    async def repeated(self, webhook: Webhook, key: str, window: int) -> Receipt | None:
        """Look whether a webhook with this dedupe key is a duplicate: the first one's receipt, None if it is new.

        `accept` tells by itself. This is for who would rather know before much work goes into a mapping.
        """
        look = webhooks.Look(webhook, key, self.clock.running() - window, self.clock.wall())
        return await self._writer.run(webhooks.look, look, in_time=True)

    async def remap(self, webhook: Webhook, mapping: Mapped, *, again: bool = False) -> Receipt:
        """Put a new mapping of a stored webhook in place of the earlier one; `again`: also of held claims."""
        remap = remapping.Remap(acceptance=self._acceptance(webhook, mapping, 0), again=again)
        cost = _STATEMENTS + mapping.size
        while not isinstance(done := await self._writer.run(remapping.remap, remap, in_time=True, cost=cost), Receipt):
            remap = done
        return done

    async def load(self, webhook_id: str) -> Webhook:
        """A stored webhook, as it was verified."""
        return await self._writer.run(webhooks.load, webhook_id, in_time=True)

    async def claim(
        self,
        target: str,
        limit: int,
        lease: int,
        max_attempts: int | None = None,
        unsaved: TargetState | None = None,
    ) -> claims.Claimed:
        """Lease at most `limit` due events of a target for `lease` milliseconds, none that is out of attempts.

        `unsaved`: the target's state where that could not be stored; it counts all the same.
        """
        moment = self.clock.running()
        ask = claims.Ask(
            target=target,
            limit=limit,
            now=moment,
            claimed_at=self.clock.wall(),
            lease_until=moment + lease,
            max_attempts=max_attempts,
            unsaved=unsaved,
        )
        return await self._writer.run(claims.claim, ask)

    async def record(self, claim: Claim, attempt: Attempt, decision: Decision) -> attempts.Recorded:
        """Write what an attempt showed and move its event."""
        result = attempts.Result(claim, attempt, decision, self.clock.running(), self.clock.wall())
        return await self._writer.run(attempts.record, result, cost=len(claim.text))

    async def release(self, unsent: Sequence[Claim]) -> None:
        """Give back claims that were never sent."""
        await asyncio.gather(*(self._writer.run(claims.release, claim) for claim in unsent))

    async def hasten(self, target: str, latest: int) -> None:
        """Make those events of a target due now that are due later than the latest moment that can be right."""
        await self._writer.run(claims.hasten, claims.Hasten(target, latest, self.clock.running()))

    async def take_over(self, *, expired_only: bool) -> list[tuple[Claim, int]]:
        """Claims that nobody will finish, to be settled by the caller, each with its time by the wall clock.

        Those whose lease ran out; or all, at the start of the only process that sends: it was cut off in them.
        """
        moment = self.clock.running()
        ask = claims.TakeOver(before=moment if expired_only else NEVER, lease_until=moment + _SETTLED_WITHIN)
        return await self._writer.run(claims.take_over, ask)

    async def target(self, name: str) -> TargetState:
        """The state of a target; one that was never paused is open."""
        return await self._writer.run(target_states.read, name)

    async def change_target(self, before: TargetState, after: TargetState) -> TargetTransition | None:
        """Put a target's state in place of the one that it was made of; None where that is no longer what is stored."""
        stored = await self._writer.run(target_states.change, target_states.StateChange(after, self.clock.wall()))
        return TargetTransition(before=before, after=stored) if stored else None

    async def save_tenant(self, state: TenantState) -> None:
        """Remember what was said of a target's tenant."""
        await self._writer.run(tenants.save, state)

    async def save_refresh_token(self, target: str, sealed: bytes) -> None:
        """Keep the refresh token of a target, which is sealed."""
        await self._writer.run(refresh_tokens.save, (target, sealed))

    async def load_refresh_token(self, target: str) -> bytes | None:
        """The refresh token that is kept of a target, sealed."""
        return await self._writer.run(refresh_tokens.load, target)

    async def change(self, action: actions.Action, ids: Sequence[str]) -> actions.Changed:
        """Do what an operator asks to claims."""
        asked = actions.Change(action=action, ids=tuple(ids), now=self.clock.running())
        return await self._writer.run(actions.change, asked, cost=_PORTION)

    async def erase(self, webhook_id: str) -> actions.Erased:
        """Delete a webhook with all that came of it, unless one of its events is being sent just now.

        Of one with thousands of events, those may be gone by then of which none was being sent before.
        """
        asked = actions.Erase(webhook_id=webhook_id, now=self.clock.running())
        while (erased := await self._writer.run(actions.erase, asked, cost=_STATEMENTS)) is actions.Erased.PARTLY:
            pass
        return erased

    async def check_purging(self) -> None:
        """Make sure that `purge` would succeed now.

        Raises:
            StoreUnavailable: somebody reads what was before, so that it must stay; says who.
        """
        if self._purging:
            await self.ping()  # who reads what was before this, would keep it
            await self._purging.check()

    async def purge(self) -> None:
        """Leave nothing of what was erased on the disk.

        Raises:
            StoreUnavailable: somebody reads what was before, so that it must stay; says who.
            StoreError: it cannot be done with this file.
        """
        if self._purging:
            await self._purging.purge()

    async def forget(self, before: int, cursor: int) -> tuple[int | None, int]:
        """Delete a few webhooks stored before a moment; return where to go on (None: nowhere) and how many went."""
        return await self._writer.run(retention.forget, retention.Forget(before=before, cursor=cursor), cost=_PORTION)

    async def keep_secret(self, secret: registered_secrets.RegisteredSecret) -> bool:
        """Keep a secret that a sender handed over; False where too many of its source are unread."""
        return await self._writer.run(registered_secrets.keep, secret, in_time=True)

    async def take_secrets(self, source: str) -> tuple[registered_secrets.RegisteredSecret, ...]:
        """The secrets that were handed over to a source, oldest first. They are kept no longer."""
        return await self._writer.run(registered_secrets.take, source)

    async def keep_key_url(self, source: str, url: str) -> None:
        """Remember that a key from this URL verified a webhook of a source."""
        await self._writer.run(key_urls.keep, key_urls.ProvenUrl(source, url, self.clock.wall()))

    async def load_key_urls(self) -> dict[str, list[str]]:
        """The URLs that are remembered of each source, the oldest first."""
        return await self._writer.run(key_urls.load, None)

    async def ping(self) -> None:
        """Prove that a commit works now.

        Raises:
            StoreUnavailable: it does not.
        """
        await self._writer.run(readiness.prove, readiness.Ping(self._instance, self.clock.wall()), in_time=True)

    def _acceptance(self, webhook: Webhook, mapping: Mapped, window: int) -> webhooks.Acceptance:
        return webhooks.Acceptance(webhook, mapping, self.clock.running(), self.clock.wall(), window)


@contextmanager
def owned(url: str) -> Iterator[Engine]:
    """The writing engine of a database that is ours alone and up to date, for as long as the context lasts.

    Raises:
        StoreLocked, StoreVersion, StoreError: why it cannot be.
    """
    path = database.sqlite_path(url)
    with database.locked(path) if path else nullcontext() as descriptor:
        for file in database.close_to_others(path) if path else ():
            log.warning(logs.STORE_EXPOSED, file=str(file))
        engine = database.writing_engine(url, descriptor)
        try:
            before, after = database.migrate(engine)
            if before != after:
                log.info(logs.STORE_MIGRATED, before=before, after=after)
            yield engine
        finally:
            engine.dispose()
