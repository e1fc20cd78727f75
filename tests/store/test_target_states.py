import asyncio
from dataclasses import replace

import pytest
from clocks import Hand
from sqlalchemy import Engine, text
from targets import put_target

from bridge.model import Delivered, PauseReason
from bridge.store import database, target_states
from bridge.store.store import Store
from bridge.store.target_states import Backlog
from bridge.target_state import TargetState, TargetTransition
from store.support import HOUR, MINUTE, NOW, a_webhook, an_attempt, an_event, mapped, one

pytestmark = pytest.mark.anyio

PAUSED = TargetState(
    name="crm",
    paused_at=NOW,
    reason="unauthorized",
    by_operator=True,
    paused_total=2**40,
    probes=3,
    next_probe_at=NOW + MINUTE,
    ages=True,
)


async def test_a_target_never_heard_of_is_not_paused(store: Store) -> None:
    await store.start()
    assert (await store.target("crm")) == TargetState(name="crm")
    assert (await store.target("crm")).paused_at is None


async def test_what_is_saved_of_a_target_is_there_at_the_next_start(store: Store, engine: Engine, hand: Hand) -> None:
    await put_target(store, PAUSED)
    await put_target(store, TargetState(name="erp", paused_total=5))
    store.close()
    second = Store(engine, hand)
    await second.start()
    assert await second.target("crm") == PAUSED
    assert await second.target("erp") == TargetState(name="erp", paused_total=5)
    second.close()


async def test_a_change_is_told_as_what_was_and_what_is(store: Store) -> None:
    opened = await store.target("crm")
    transition = await store.change_target(opened, replace(PAUSED, version=opened.version))
    assert transition == TargetTransition(before=opened, after=PAUSED)
    resumed = await store.change_target(transition.after, transition.after.resumed(NOW))
    assert resumed
    assert (resumed.before, resumed.after) == (PAUSED, await store.target("crm"))
    assert [opened.version, transition.after.version, resumed.after.version] == [0, 1, 2]


async def test_of_two_who_change_a_target_at_once_one_does(store: Store, url: str, hand: Hand) -> None:
    engine = database.writing_engine(url)
    other = Store(engine, hand)
    try:
        for before in (TargetState(name="crm"), None):  # nobody ever changed it, and then somebody did
            seen = before or await store.target("crm")
            mine = store.change_target(seen, seen.paused(hand.at, PauseReason.MOVED))
            its = other.change_target(seen, seen.paused(hand.at, PauseReason.TENANT))
            done = [transition for transition in await asyncio.gather(mine, its) if transition]
            assert [transition.after for transition in done] == [await store.target("crm")]
            assert [transition.after for transition in done] == [await other.target("crm")]
    finally:
        await asyncio.to_thread(other.close)
        engine.dispose()


async def test_the_last_state_saved_is_the_one_that_counts(store: Store, look: Engine) -> None:
    await put_target(store, PAUSED)
    await put_target(store, TargetState(name="crm", paused_total=7))
    assert (await store.target("crm")) == TargetState(name="crm", paused_total=7)
    with look.connect() as connection:
        assert target_states.load(connection) == {"crm": TargetState(name="crm", paused_total=7)}


BEFORE = """
INSERT INTO targets (name, paused_at, reason, by_operator, paused_total, probes, next_probe_at)
VALUES ('down', :now, 'breaker', :no, 5, 1, :now), ('wrong', :now, 'unauthorized', :no, 0, 1, :now)
"""


async def test_pauses_from_before_the_migration_age_as_they_did(empty_url: str) -> None:
    engine = database.writing_engine(empty_url)
    with engine.begin() as connection:
        database.upgrade(connection, "0005")
        connection.execute(text(BEFORE), {"now": NOW, "no": False})
    database.migrate(engine)
    store = Store(engine, Hand(NOW))
    await store.start()
    assert [(await store.target(name)).ages for name in ("down", "wrong")] == [True, False]
    assert (await store.target("down")).clock(NOW + HOUR) == NOW + HOUR - 5
    assert (await store.target("wrong")).clock(NOW + HOUR) == NOW
    store.close()
    engine.dispose()


async def test_the_backlog_counts_pending_events_by_target_with_the_age_of_the_oldest(
    store: Store, look: Engine, hand: Hand
) -> None:
    for at in (NOW, NOW + MINUTE):
        hand.at = at
        webhook = a_webhook(at)
        await store.accept(webhook, mapped(an_event(webhook), an_event(webhook, target="erp")), 0)
    await store.accept(*one(target="gone"), 0)
    (claim,) = (await store.claim("crm", 1, MINUTE)).claims
    await store.record(claim, an_attempt(), Delivered())
    with look.connect() as connection:
        assert target_states.backlog(connection) == {
            "crm": Backlog(1, NOW + MINUTE, NOW + MINUTE),
            "erp": Backlog(2, NOW, NOW),
            "gone": Backlog(1, NOW + MINUTE, NOW + MINUTE),
        }
