"""What was kept long enough is forgotten, and nothing else is."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from clocks import Hand
from databases import sqlite_at

from bridge.model import (
    Attempt,
    Dead,
    Decision,
    Delivered,
    Event,
    Held,
    Mapped,
    OnUnknown,
    Outcome,
    Webhook,
    WebhookState,
    event_id,
    new_webhook_id,
)
from bridge.operations.retention import forget
from bridge.store import reader
from bridge.store.store import Store, owned

HOUR = 3_600_000
DAY = 24 * HOUR
WINDOW = 14 * DAY


def with_store(path: Path, *runs: Callable[[Store, Hand], Awaitable[None]]) -> None:
    """Run a bridge's store on a clock that is turned, once or again and again."""
    url, hand = sqlite_at(path / "bridge.db"), Hand()

    async def run(test: Callable[[Store, Hand], Awaitable[None]]) -> None:
        with owned(url) as engine:
            store = Store(engine, hand)
            await store.start()
            try:
                await test(store, hand)
            finally:
                store.close()

    for test in runs:
        asyncio.run(run(test))


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
    mapping = Mapped(state=WebhookState.MAPPED, events=(event,), dedupe_key=key)
    return (await store.accept(webhook, mapping, WINDOW)).webhook_id


async def end(store: Store, at: int, decision: Decision, outcome: Outcome = Outcome.DELIVERED) -> None:
    (claim,) = (await store.claim("crm", 1, 1000)).claims
    await store.record(claim, Attempt(outcome=outcome, started_at=at, duration=1), decision)


def rows(path: Path) -> tuple[set[str], int]:
    with reader.reading(f"sqlite:///{path / 'bridge.db'}") as connection:
        webhooks = {webhook["id"] for webhook in reader.list_webhooks(connection, reader.Filter())}
        left = connection.exec_driver_sql("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM attempts)")
        return webhooks, left.scalar_one()


def test_old_webhooks_go_with_their_events_attempts_and_keys(tmp_path: Path) -> None:
    async def test(store: Store, hand: Hand) -> None:
        await accept(store, hand.at, "a")
        await end(store, hand.at, Delivered())
        hand.at += 90 * DAY
        young = await accept(store, hand.at, "b")
        assert await forget(store, 89 * DAY) == 1
        webhooks, left = rows(tmp_path)
        assert webhooks == {young}
        assert left == 1
        again = await accept(store, hand.at, "a")
        assert again != young
        assert len(rows(tmp_path)[0]) == 2

    with_store(tmp_path, test)


@pytest.mark.parametrize("decision", [Held("unknown"), None])
def test_what_is_not_decided_stays_however_old(tmp_path: Path, decision: Decision | None) -> None:
    async def test(store: Store, hand: Hand) -> None:
        old = await accept(store, hand.at)
        if decision is not None:
            await end(store, hand.at, decision, Outcome.UNKNOWN)
        hand.at += 400 * DAY
        assert await forget(store, DAY) == 0
        assert rows(tmp_path)[0] == {old}

    with_store(tmp_path, test)


def test_a_key_that_a_younger_webhook_holds_stays(tmp_path: Path) -> None:
    async def test(store: Store, hand: Hand) -> None:
        await accept(store, hand.at, "same")
        await end(store, hand.at, Dead("rejected"), Outcome.REJECTED)
        hand.at += WINDOW
        young = await accept(store, hand.at, "same")
        assert await forget(store, WINDOW - 1) == 1
        assert await accept(store, hand.at, "same") == young

    with_store(tmp_path, test)


def test_more_than_one_batch_goes(tmp_path: Path) -> None:
    async def test(store: Store, hand: Hand) -> None:
        await asyncio.gather(*(accept(store, hand.at) for _ in range(450)))
        while claims := (await store.claim("crm", 450, 1000)).claims:
            for claim in claims:
                attempt = Attempt(outcome=Outcome.DELIVERED, started_at=hand.at, duration=1)
                await store.record(claim, attempt, Delivered())
        hand.at += 2 * DAY
        assert await forget(store, DAY) == 450
        assert rows(tmp_path) == (set(), 0)

    with_store(tmp_path, test)


@pytest.mark.parametrize("step", [100 * DAY, -50 * 365 * DAY])
def test_no_setting_of_the_wall_clock_erases_the_record(tmp_path: Path, step: int) -> None:
    async def test(store: Store, hand: Hand) -> None:
        kept = await accept(store, hand.at)
        await end(store, hand.at, Delivered())
        hand.set_wall(step)
        assert await forget(store, 92 * DAY) == 0
        assert rows(tmp_path)[0] == {kept}
        hand.turn(92 * DAY + 1)
        assert await forget(store, 92 * DAY) == 1

    with_store(tmp_path, test)


def test_a_machine_that_starts_with_a_wrong_clock_erases_nothing(tmp_path: Path) -> None:
    async def first(store: Store, hand: Hand) -> None:
        await accept(store, hand.at)
        await end(store, hand.at, Delivered())
        hand.set_wall(100 * DAY)
        hand.start_machine()

    async def second(store: Store, _: Hand) -> None:
        assert await forget(store, 92 * DAY) == 0
        assert await forget(store, HOUR - 1) == 1  # it counts as an hour

    with_store(tmp_path, first, second)
