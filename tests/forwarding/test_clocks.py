"""The wall clock lies: it steps while the bridge runs, while it does not, and between two looks. Nothing goes by it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from clocks import Hand
from sqlalchemy import update

from bridge.forwarding.forwarder import Forwarder
from bridge.forwarding.target_worker import TargetWorker
from bridge.model import Outcome
from bridge.observing import logs
from bridge.store import database
from bridge.store.store import Store
from bridge.store.tables import clock, events, targets
from bridge.times import iso

from .support import HOUR, Base, Log, Target, accept, quiet, running, target_worker

pytestmark = pytest.mark.anyio

SECOND = 1_000
DAY = 24 * HOUR
LEASE = 30_000
STEPS = [DAY, -DAY, 100 * DAY, -50 * 365 * DAY]


@pytest.fixture
def base(base: Base, hand: Hand) -> Base:
    base.clock = hand
    return base


def nothing(_: Hand) -> None:
    """The next run is on the same machine, which was not started anew."""


async def turned(one: TargetWorker, hand: Hand, milliseconds: int, store: Store) -> None:
    """Time passes, and the worker looks at the clock."""
    hand.turn(milliseconds)
    one.wake()
    await quiet(store)


# While it runs


@pytest.mark.parametrize("step", STEPS)
async def test_a_pause_that_began_while_the_clock_was_wrong_is_probed_in_time(
    base: Base, hand: Hand, log: Log, step: int
) -> None:
    hand.set_wall(step)
    async with base.opened() as store:
        target = Target(Outcome.UNAUTHORIZED)
        await accept(store, 1)
        one = target_worker(store, target.send, first_wait="2s", max_wait="10s")
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            hand.set_wall(0)
            target.answer(Outcome.DELIVERED)
            await turned(one, hand, 2 * SECOND - 1, store)
            assert len(target.claims) == 1
            await turned(one, hand, 1, store)
            await log.told(logs.TARGET_RESUMED)
            await log.told(logs.EVENT_DELIVERED)
    (line,) = log.named(logs.TARGET_RESUMED)
    assert line["seconds"] == 2


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_of_three_seconds_kills_nothing(base: Base, hand: Hand, log: Log, step: int) -> None:
    async with base.opened() as store:
        target = Target(Outcome.UNAVAILABLE)
        await accept(store, 1, max_age=48 * HOUR)
        one = target_worker(store, target.send, first_wait="1s", max_wait="1s")
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED)
            hand.set_wall(step)
            for _ in range(3):
                await turned(one, hand, SECOND, store)
            hand.set_wall(0)
            target.answer(Outcome.DELIVERED)
            await turned(one, hand, SECOND, store)
            await log.told(logs.EVENT_DELIVERED)
    assert log.named(logs.EVENT_DEAD) == []
    (line,) = log.named(logs.EVENT_DELIVERED)
    assert line["seconds"] == 4


@pytest.mark.parametrize("step", STEPS)
async def test_max_age_is_over_when_it_really_is(base: Base, hand: Hand, log: Log, step: int) -> None:
    async with base.opened() as store:
        target = Target(Outcome.UNAVAILABLE)
        await accept(store, 1, max_age=48 * HOUR)
        one = target_worker(store, target.send, first_wait="1h", max_wait="1h")
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED)
            hand.set_wall(step)
            await turned(one, hand, 48 * HOUR - 1, store)
            assert base.states() == ["pending"]
            await turned(one, hand, 1, store)
            await log.told(logs.EVENT_DEAD)


@pytest.mark.parametrize("step", STEPS)
async def test_a_retry_comes_as_soon_as_it_would_have_come(base: Base, hand: Hand, log: Log, step: int) -> None:
    async with base.opened() as store:
        target = Target(Outcome.UNAVAILABLE, Outcome.DELIVERED)
        await accept(store, 1)
        one = target_worker(store, target.send, first_wait="2s")
        async with running(one):
            hand.set_wall(step)
            await log.told(logs.ATTEMPT_FINISHED)
            (line,) = log.named(logs.ATTEMPT_FINISHED)
            hand.set_wall(0)
            await turned(one, hand, 2 * SECOND - 1, store)
            assert len(target.claims) == 1
            await turned(one, hand, 1, store)
            await log.told(logs.EVENT_DELIVERED)
    assert line["next_attempt_at"] in (iso(hand.at), iso(hand.at + step))  # as the wall clock said when it was told


@pytest.mark.parametrize("step", STEPS)
async def test_no_step_settles_an_attempt_that_is_under_way(base: Base, hand: Hand, log: Log, step: int) -> None:
    async with base.opened() as store:
        target = Target()
        target.gate.clear()
        await accept(store, 1)
        one = Forwarder(store, {"crm": target_worker(store, target.send, lease=LEASE)}, sweep_every=0.001)
        one.start()
        await target.reached(1)
        hand.set_wall(step)
        for _ in range(5):
            await asyncio.sleep(0.002)
            await quiet(store)
        assert await store.take_over(expired_only=True) == []
        assert base.states() == ["sending"]
        target.gate.set()
        await log.told(logs.EVENT_DELIVERED)
        await one.drain(5)
    (event,) = base.events()
    assert [attempt["late"] for attempt in event["attempts"]] == [False]
    assert len(target.claims) == 1


async def test_an_attempt_under_way_outlives_the_machine_s_sleep(base: Base, hand: Hand, log: Log) -> None:
    """The clock that ages go by runs on meanwhile; the attempt, and the clock of the event loop, stand still."""
    async with base.opened() as store:
        target = Target()
        target.gate.clear()
        await accept(store, 1)
        one = Forwarder(store, {"crm": target_worker(store, target.send, lease=LEASE)}, sweep_every=0.001)
        one.start()
        await target.reached(1)
        hand.turn(8 * HOUR)
        assert len(await store.take_over(expired_only=True)) == 1
        for _ in range(5):
            await asyncio.sleep(0.002)
            await quiet(store)
        assert base.states() == ["sending"]
        target.gate.set()
        await log.told(logs.EVENT_DELIVERED)
        await one.drain(5)
    assert len(target.claims) == 1


async def test_what_nobody_attempts_any_more_is_given_up_when_its_lease_is_over(
    base: Base, hand: Hand, log: Log
) -> None:
    async with base.opened() as store:
        await accept(store, 1)
        await store.claim("crm", 1, LEASE)  # by somebody who never comes back
        target = Target()
        one = Forwarder(
            store, {"crm": target_worker(store, target.send, lease=LEASE, first_wait="10m")}, sweep_every=0.001
        )
        one.start()
        hand.set_wall(-DAY)
        hand.turn(LEASE)
        await quiet(store)
        assert base.states() == ["sending"]
        hand.turn(1)
        await log.told(logs.ATTEMPT_FINISHED)
        await one.drain(5)
    ((attempt,),) = (event["attempts"] for event in base.events())
    assert attempt["duration_ms"] == 0  # and not a day less than none


# While it does not


@pytest.mark.parametrize("ahead", STEPS)
@pytest.mark.parametrize("corrected", ["before the start", "after the start"])
@pytest.mark.parametrize("between", [nothing, Hand.start_machine])
async def test_a_pause_is_probed_in_time_across_a_restart(
    base: Base, hand: Hand, log: Log, ahead: int, corrected: str, between: Callable[[Hand], None]
) -> None:
    hand.set_wall(ahead)
    target = Target(Outcome.UNAUTHORIZED)
    async with base.opened() as store:
        await accept(store, 1)
        async with running(target_worker(store, target.send, first_wait="2s")):
            await log.told(logs.TARGET_PAUSED)
    if corrected == "before the start":
        hand.set_wall(0)
    between(hand)
    async with base.opened() as store:
        hand.set_wall(0)
        target.answer(Outcome.DELIVERED)
        one = target_worker(store, target.send, first_wait="2s")
        forwarder = Forwarder(store, {"crm": one})
        await forwarder.recover()
        async with running(one):
            await quiet(store)
            await turned(one, hand, 2 * SECOND, store)
            await log.told(logs.EVENT_DELIVERED)


@pytest.mark.parametrize("wrong", STEPS)
@pytest.mark.parametrize("between", [nothing, Hand.start_machine])
async def test_a_restart_while_the_clock_is_wrong_kills_nothing(
    base: Base, hand: Hand, log: Log, wrong: int, between: Callable[[Hand], None]
) -> None:
    target = Target(Outcome.UNAVAILABLE)
    async with base.opened() as store:
        await accept(store, 1, max_age=48 * HOUR)
        async with running(target_worker(store, target.send, first_wait="1s", max_wait="1s")):
            await log.told(logs.ATTEMPT_FINISHED)
    for moment in (wrong, 0):
        hand.set_wall(moment)
        hand.turn(90 * SECOND)
        between(hand)
        async with base.opened() as store:
            one = target_worker(store, target.send, first_wait="1s", max_wait="1s")
            await Forwarder(store, {"crm": one}).recover()
            async with running(one):
                await quiet(store)
    assert base.states() == ["pending"]
    target.answer(Outcome.DELIVERED)
    async with base.opened() as store:
        hand.turn(HOUR)
        async with running(target_worker(store, target.send)):
            await log.told(logs.EVENT_DELIVERED)


async def test_time_passes_for_events_while_the_bridge_is_stopped(base: Base, hand: Hand, log: Log) -> None:
    """The machine was not started meanwhile, so it knows how long that was."""
    async with base.opened() as store:
        await accept(store, 1, max_age=48 * HOUR)
    hand.turn(48 * HOUR)
    hand.set_wall(-DAY)
    async with base.opened() as store, running(target_worker(store, Target().send)):
        await log.told(logs.EVENT_DEAD)


# What should not be there


def spoil(base: Base, **late: Any) -> None:
    """Write times into the store that no wait has set: of a bridge that went by the wall clock, a day ahead."""
    engine = database.writing_engine(f"sqlite:///{base.path}")
    with engine.begin() as connection:
        connection.execute(clock.delete())
        connection.execute(update(events).values(**late))
        connection.execute(update(targets).values(next_probe_at=late["next_attempt_at"]))
    engine.dispose()


async def test_a_due_time_that_is_further_ahead_than_any_wait_is_due_now(base: Base, hand: Hand, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 3)
    spoil(base, next_attempt_at=hand.at + DAY)
    async with base.opened() as store:
        one = Forwarder(store, {"crm": target_worker(store, Target().send)})
        await one.recover()
        one.start()
        await log.told(logs.EVENT_DELIVERED, 3)
        await one.drain(5)


async def test_a_probe_that_is_further_ahead_than_any_wait_is_due_now(base: Base, hand: Hand, log: Log) -> None:
    target = Target(Outcome.MISCONFIGURED, Outcome.DELIVERED)
    async with base.opened() as store:
        await accept(store, 1)
        async with running(target_worker(store, target.send)):
            await log.told(logs.TARGET_PAUSED)
    spoil(base, next_attempt_at=hand.at + DAY)
    async with base.opened() as store:
        one = Forwarder(store, {"crm": target_worker(store, target.send)})
        await one.recover()
        assert (await store.target("crm")).next_probe_at == hand.at
        one.start()
        await log.told(logs.EVENT_DELIVERED)
        await one.drain(5)


async def test_what_a_wait_may_have_set_is_waited_for(base: Base, hand: Hand, log: Log) -> None:
    target = Target(Outcome.UNAVAILABLE)
    async with base.opened() as store:
        await accept(store, 1)
        async with running(target_worker(store, target.send, first_wait="15m", max_wait="15m")):
            await log.told(logs.ATTEMPT_FINISHED)
    due_at = hand.running() + HOUR  # as long as Retry-After is obeyed
    spoil(base, next_attempt_at=due_at)
    async with base.opened() as store:
        await Forwarder(store, {"crm": target_worker(store, target.send)}).recover()
        assert (await store.claim("crm", 1, LEASE)).next_due_at == due_at
