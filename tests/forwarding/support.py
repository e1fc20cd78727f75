"""What the tests of this room share: a real store with events, a target that a test plays, the log as it grows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog
from databases import sqlite_at
from structlog.testing import capture_logs

from bridge.clock import Clock
from bridge.forwarding.breaker import Breaker
from bridge.forwarding.retry import Policy
from bridge.forwarding.target_worker import Send, TargetWorker
from bridge.model import (
    Attempt,
    Claim,
    Event,
    Mapped,
    OnUnknown,
    Outcome,
    PauseReason,
    Unclear,
    Webhook,
    WebhookState,
    event_id,
    new_webhook_id,
)
from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.rate import Bucket
from bridge.settings.target_schema import RetrySettings
from bridge.store import reader
from bridge.store.store import Store, owned
from bridge.times import now

WITHIN = 20.0  # seconds for whatever takes a moment on an idle machine
HOUR = 3_600_000
Shown = Outcome | Unclear  # by one attempt
FAST: dict[str, Any] = {"first_wait": "10ms", "max_wait": "40ms"}


def attempted(shown: Shown, started_at: int, duration: int, detail: str | None = None, result: Any = None) -> Attempt:
    """An attempt that showed this; that of one that nobody understood has a detail by itself."""
    unclear = shown if isinstance(shown, Unclear) else None
    return Attempt(
        outcome=shown if isinstance(shown, Outcome) else Outcome.UNKNOWN,
        started_at=started_at,
        duration=duration,
        detail=(unclear or "") if detail is None else detail,
        result=result,
        pause=PauseReason.MISCONFIGURED if unclear else None,
        unclear=unclear,
    )


class Base:
    """A store's file, and the store on it: closed and opened again, as by a restart."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self.clock = clock
        self._url = sqlite_at(path)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        with owned(self._url) as engine:
            with engine.connect() as connection:
                self.driver: Any = connection.connection.dbapi_connection  # which the store's writer then uses
            store = Store(engine, self.clock)
            await store.start()
            try:
                yield store
            finally:
                await asyncio.to_thread(store.close)

    def events(self, **which: Any) -> list[dict[str, Any]]:
        """All events with their attempts, in the order of their commit."""
        with reader.reading(self._url) as connection:
            listed = reader.list_events(connection, reader.Filter(**which), 10_000)
            return [reader.show_event(connection, event["id"]) for event in reversed(listed)]

    def states(self) -> list[str]:
        return [event["state"] for event in self.events()]


async def accept(
    store: Store,
    count: int,
    *,
    target: str = "crm",
    on_unknown: OnUnknown = OnUnknown.RETRY,
    max_age: int = 48 * HOUR,
    at: int | None = None,
) -> list[str]:
    """Commit so many events, one webhook each; give their ids in order."""
    ids = []
    for number in range(count):
        webhook = Webhook(
            id=new_webhook_id(now() if at is None else at),
            source="shop",
            received_at=now() if at is None else at,
            method="POST",
            query="",
            headers={},
            body=b"{}",
        )
        event = Event(
            id=event_id(webhook.id, "sold", target, "", 0),
            rule="sold",
            target=target,
            item_key="",
            type="SaleSold",
            text=f"number={number}",
            form="pairs",
            rest=f'{{"number":{number}}}'.encode(),
            on_unknown=on_unknown,
            max_age=max_age,
        )
        mapping = Mapped(state=WebhookState.MAPPED, events=(event,))
        ids.append((await store.accept(webhook, mapping, HOUR)).event_ids[0])
    return ids


def target_worker(
    store: Store,
    send: Send,
    *,
    name: str = "crm",
    max_in_flight: int = 8,
    bucket: Bucket | None = None,
    lease: int = 30_000,
    after: int | None = None,
    log_answers: bool = False,
    **retry: Any,
) -> TargetWorker:
    """A target's worker; without jitter, so that its times can be told, without a breaker where `after` is not said."""
    policy = Policy(RetrySettings.model_validate(retry), lambda low, high: (low + high) / 2)
    return TargetWorker(
        name=name,
        send=send,
        policy=policy,
        breaker=Breaker(after, policy),
        bucket=bucket or Bucket(100_000, 1_000),
        max_in_flight=max_in_flight,
        lease=lease,
        store=store,
        metrics=Metrics(),
        log_answers=log_answers,
    )


@asynccontextmanager
async def running(one: TargetWorker) -> AsyncIterator[None]:
    """Let it work; drained in the end."""
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        await one.drain(WITHIN if not task.done() else 0)
        await task


class Target:
    """A SuperOffice that a test plays: `outcomes` in order, the last one for ever; held while the gate is shut."""

    def __init__(self, *outcomes: Shown, result: Any = None) -> None:
        self.claims: list[Claim] = []
        self.busiest = 0
        self.under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._outcomes: list[Shown] = [*(outcomes or (Outcome.DELIVERED,))]
        self._result = result
        self._arrived = asyncio.Event()

    async def send(self, claim: Claim) -> Attempt:
        self.claims.append(claim)
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        self._arrived.set()
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return attempted(outcome, now(), 1, f"played {outcome}", self._result)

    def answer(self, *outcomes: Shown) -> None:
        """From now on, these."""
        self._outcomes = [*outcomes]

    async def reached(self, count: int) -> None:
        """Until so many attempts were begun."""
        async with asyncio.timeout(WITHIN):
            while len(self.claims) < count:
                self._arrived.clear()
                await self._arrived.wait()

    @property
    def ids(self) -> list[str]:
        return [claim.event_id for claim in self.claims]


class Log:
    """The bridge's log lines; a test waits for what it tells."""

    def __init__(self, lines: list[Any], grown: asyncio.Event) -> None:
        self.lines = lines
        self._grown = grown

    def named(self, name: str) -> list[Any]:
        return [line for line in self.lines if line["event"] == name]

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN):
            while not enough():
                self._grown.clear()
                await self._grown.wait()

    async def told(self, name: str, count: int = 1) -> None:
        """Until there are so many lines of a name."""
        await self.until(lambda: len(self.named(name)) >= count)


@contextmanager
def logged() -> Iterator[Log]:
    """Collect the log."""
    grown = asyncio.Event()

    def note(_logger: Any, _method: str, line: Any) -> Any:
        grown.set()
        return line

    structlog.reset_defaults()
    vars(logs.log).pop("bind", None)  # another test may have configured the log, which it then caches
    with capture_logs([note]) as lines:
        yield Log(lines, grown)


async def quiet(store: Store) -> None:
    """Give everything that could happen now the time to happen: several turns of the writer and of the loop."""
    for _ in range(5):
        await store.ping()
        for _ in range(5):
            await asyncio.sleep(0)
