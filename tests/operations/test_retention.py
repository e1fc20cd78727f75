"""What was kept long enough is forgotten, and nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from databases import sqlite_at

from bridge.model import (
    Attempt,
    Dead,
    Decision,
    Delivered,
    Event,
    Held,
    Mapping,
    OnUnknown,
    Outcome,
    Webhook,
    WebhookState,
    event_id,
    new_webhook_id,
)
from bridge.operations.retention import forget
from bridge.store import reading
from bridge.store.store import Store, owned

DAY = 86_400_000
WINDOW = 14 * DAY


class Calendar:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


def with_store(path: Path, test: Callable[[Store, Calendar], Awaitable[None]]) -> None:
    async def run() -> None:
        with owned(sqlite_at(path / "bridge.db")) as engine:
            calendar = Calendar()
            store = Store(engine, calendar)
            await store.start()
            try:
                await test(store, calendar)
            finally:
                store.close()

    asyncio.run(run())


async def accept(store: Store, at: int, key: str | None = None) -> str:
    webhook = Webhook(
        id=new_webhook_id(at), source="shop", received_at=at, method="POST", query="", headers={}, body=b"{}"
    )
    event = Event(
        id=event_id(webhook.id, "rule", "crm", "", 0),
        rule="rule",
        target="crm",
        item_key="",
        type="SaleSold",
        text="",
        form="pairs",
        rest=b"",
        on_unknown=OnUnknown.RETRY,
        max_age=365 * DAY,
    )
    mapping = Mapping(state=WebhookState.MAPPED, events=(event,), dedupe_key=key)
    return (await store.accept(webhook, mapping, WINDOW)).webhook_id


async def end(store: Store, at: int, decision: Decision, outcome: Outcome = Outcome.DELIVERED) -> None:
    (claim,) = (await store.claim("crm", 1, 1000)).claims
    await store.record(claim, Attempt(outcome=outcome, started_at=at, duration=1), decision)


def rows(path: Path) -> tuple[set[str], int]:
    with reading.reading(f"sqlite:///{path / 'bridge.db'}") as connection:
        webhooks = {webhook["id"] for webhook in reading.list_webhooks(connection, reading.Filter())}
        left = connection.exec_driver_sql("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM attempts)")
        return webhooks, left.scalar_one()


def test_old_webhooks_go_with_their_events_attempts_and_keys(tmp_path: Path) -> None:
    async def test(store: Store, calendar: Calendar) -> None:
        await accept(store, calendar.now, "a")
        await end(store, calendar.now, Delivered())
        calendar.now += 90 * DAY
        young = await accept(store, calendar.now, "b")
        assert await forget(store, 89 * DAY, calendar) == 1
        webhooks, left = rows(tmp_path)
        assert webhooks == {young}
        assert left == 1
        again = await accept(store, calendar.now, "a")
        assert again != young
        assert len(rows(tmp_path)[0]) == 2

    with_store(tmp_path, test)


@pytest.mark.parametrize("decision", [Held("unknown"), None])
def test_what_is_not_decided_stays_however_old(tmp_path: Path, decision: Decision | None) -> None:
    async def test(store: Store, calendar: Calendar) -> None:
        old = await accept(store, calendar.now)
        if decision is not None:
            await end(store, calendar.now, decision, Outcome.UNKNOWN)
        calendar.now += 400 * DAY
        assert await forget(store, DAY, calendar) == 0
        assert rows(tmp_path)[0] == {old}

    with_store(tmp_path, test)


def test_a_key_that_a_younger_webhook_holds_stays(tmp_path: Path) -> None:
    async def test(store: Store, calendar: Calendar) -> None:
        await accept(store, calendar.now, "same")
        await end(store, calendar.now, Dead("rejected"), Outcome.REJECTED)
        calendar.now += WINDOW
        young = await accept(store, calendar.now, "same")
        assert await forget(store, WINDOW - 1, calendar) == 1
        assert await accept(store, calendar.now, "same") == young

    with_store(tmp_path, test)


def test_more_than_one_batch_goes(tmp_path: Path) -> None:
    async def test(store: Store, calendar: Calendar) -> None:
        await asyncio.gather(*(accept(store, calendar.now) for _ in range(450)))
        while claims := (await store.claim("crm", 450, 1000)).claims:
            for claim in claims:
                attempt = Attempt(outcome=Outcome.DELIVERED, started_at=calendar.now, duration=1)
                await store.record(claim, attempt, Delivered())
        calendar.now += 2 * DAY
        assert await forget(store, DAY, calendar) == 450
        assert rows(tmp_path) == (set(), 0)

    with_store(tmp_path, test)
