"""One target's way out, on a real store: how much at once, in which order, and what becomes of each event."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from clocks import Hand
from targets import put_target

from bridge.model import Attempt, Claim, OnUnknown, Outcome, RetryAt
from bridge.observing import logs
from bridge.rate import Bucket
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.store.store import Store
from bridge.superoffice.send_event import compile_target
from bridge.target_state import TargetState
from bridge.times import now
from forwarding.support import FAST, Base, Log, Target, accept, attempted, quiet, running, target_worker
from forwarding.world import Loop

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


# How much at once


async def test_never_more_are_in_flight_than_allowed_and_never_less_while_there_is_work(store: Store, log: Log) -> None:
    target = Target()
    target.gate.clear()
    await accept(store, 20)
    async with running(target_worker(store, target.send, max_in_flight=3)):
        await target.reached(3)
        await quiet(store)
        assert len(target.claims) == target.under_way == 3
        target.gate.set()
        await log.told(logs.EVENT_DELIVERED, 20)
    assert target.busiest == 3
    assert len(target.claims) == 20


async def test_a_free_slot_is_used_while_the_others_are_still_busy(store: Store, log: Log) -> None:
    slow, fast = Target(), Target()
    slow.gate.clear()
    ids = await accept(store, 10)

    async def send(claim: Claim) -> Attempt:
        return await (slow if claim.event_id == ids[0] else fast).send(claim)

    async with running(target_worker(store, send, max_in_flight=2)):
        await log.told(logs.EVENT_DELIVERED, 9)
        assert slow.under_way == 1
        slow.gate.set()
        await log.told(logs.EVENT_DELIVERED, 10)


async def test_no_more_pass_than_the_rate_allows(store: Store, log: Log) -> None:
    at = 1000.0
    target = Target()
    await accept(store, 12)
    one = target_worker(store, target.send, bucket=Bucket(5, 1_000, lambda: at))
    async with running(one):
        await log.told(logs.EVENT_DELIVERED, 5)
        await quiet(store)
        assert len(target.claims) == 5
        at += 0.5
        one.wake()
        await log.told(logs.EVENT_DELIVERED, 7)
        await quiet(store)
        assert len(target.claims) == 7
        at += 10
        one.wake()
        await log.told(logs.EVENT_DELIVERED, 12)


async def test_a_lane_comes_back_by_itself_once_the_rate_allows(store: Store, log: Log) -> None:
    target = Target()
    await accept(store, 30)
    started = time.monotonic()
    async with running(target_worker(store, target.send, bucket=Bucket(20, 1_000))):
        await log.told(logs.EVENT_DELIVERED, 30)
    assert time.monotonic() - started >= 0.45  # 20 at once, 10 more at 20 a second


# In which order


async def test_events_are_sent_in_the_order_in_which_they_are_due(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        later = await accept(store, 3)
        hand.at -= 60_000
        sooner = await accept(store, 3)
        hand.at += 120_000
        target = Target()
        async with running(target_worker(store, target.send, max_in_flight=1)):
            await log.told(logs.EVENT_DELIVERED, 6)
    assert target.ids == sooner + later


async def test_an_event_that_is_not_due_is_not_sent(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        await accept(store, 1)
        target = Target(Outcome.UNAVAILABLE, Outcome.DELIVERED)
        one = target_worker(store, target.send, first_wait="2s")
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED)
            hand.at += 1_999
            one.wake()
            await quiet(store)
            assert len(target.claims) == 1
            hand.at += 1
            one.wake()
            await log.told(logs.EVENT_DELIVERED)
    assert [claim.attempt for claim in target.claims] == [1, 2]
    assert [claim.retries for claim in target.claims] == [0, 1]


# What becomes of an event


async def test_a_retry_comes_back_by_itself(base: Base, store: Store, log: Log) -> None:
    target = Target(Outcome.UNAVAILABLE, Outcome.UNKNOWN, Outcome.UNAVAILABLE, Outcome.DELIVERED)
    await accept(store, 1)
    async with running(target_worker(store, target.send, **FAST)):
        await log.told(logs.EVENT_DELIVERED)
    (event,) = base.events()
    assert [(attempt["number"], attempt["outcome"]) for attempt in event["attempts"]] == [
        *((1, "unavailable"), (2, "unknown"), (3, "unavailable"), (4, "delivered"))
    ]
    waits = [(line["next_attempt_at"] is not None, line["wait_by"]) for line in log.named(logs.ATTEMPT_FINISHED)]
    assert waits == [(True, "policy")] * 3 + [(False, None)]


async def test_each_final_state_is_told_once_and_is_what_the_store_says(base: Base, store: Store, log: Log) -> None:
    outcomes = {
        "delivered": (OnUnknown.RETRY, Outcome.DELIVERED, None),
        "dead": (OnUnknown.RETRY, Outcome.REJECTED, "rejected"),
        "held": (OnUnknown.HOLD, Outcome.UNKNOWN, "unknown"),
    }
    ids = {}
    for state, (on_unknown, outcome, _) in outcomes.items():
        (ids[state],) = await accept(store, 1, on_unknown=on_unknown)
        async with running(target_worker(store, Target(outcome).send)):
            await log.told(f"event.{state}")
    async with running(target_worker(store, Target().send)):
        await quiet(store)
    for state, (_, _, reason) in outcomes.items():
        (line,) = log.named(f"event.{state}")
        assert (line["event_id"], line["reason"], line["attempts"]) == (ids[state], reason, 1)
        assert line["log_level"] == ("info" if state == "delivered" else "error")
    assert base.states() == [*outcomes]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"Error": True, "ErrorType": "ArgumentException", "Message": "no such flow"}, "no such flow"),
        ({"error": True, "errorMessage": "no such flow"}, "no such flow"),
        ({"Message": "x" * 600}, "x" * 500),
        ({"Message": 7}, None),
        ({"Error": True, "Message": None}, None),
        ({"EventType": "Run", "Message": "a result's own"}, None),
        ("a page", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("log_answers", [True, False])
async def test_what_the_target_says_of_an_event_is_told_where_it_may_be(
    result: Any, told: str | None, log_answers: bool, store: Store, log: Log
) -> None:
    for outcome, on_unknown, name in (
        (Outcome.REJECTED, OnUnknown.RETRY, logs.EVENT_DEAD),
        (Outcome.UNKNOWN, OnUnknown.HOLD, logs.EVENT_HELD),
    ):
        await accept(store, 1, on_unknown=on_unknown)
        async with running(target_worker(store, Target(outcome, result=result).send, log_answers=log_answers)):
            await log.told(name)
        assert log.named(name)[0].get("message") == (told if log_answers else None)


async def test_after_the_last_attempt_an_event_is_dead(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1)
    target = Target(Outcome.UNAVAILABLE)
    async with running(target_worker(store, target.send, max_attempts=3, **FAST)):
        await log.told(logs.EVENT_DEAD)
        await quiet(store)
    assert len(target.claims) == 3
    (event,) = base.events()
    assert (event["state"], event["reason"]) == ("dead", "max_attempts")


@pytest.mark.parametrize("paused", [False, True])
async def test_an_event_that_is_out_of_attempts_by_todays_settings_is_not_sent_again(
    base: Base, store: Store, log: Log, paused: bool
) -> None:
    (tried,) = await accept(store, 1)
    for _ in range(2):
        (claim,) = (await store.claim("crm", 1, 30_000)).claims
        await store.record(claim, attempted(Outcome.UNAVAILABLE, now(), 1), RetryAt(0))
    if paused:
        await put_target(store, TargetState(name="crm", paused_at=0, reason="breaker", next_probe_at=0))
    target = Target()
    async with running(target_worker(store, target.send, max_attempts=2)):
        await log.told(logs.EVENT_DEAD)
    (line,) = log.named(logs.EVENT_DEAD)
    assert (line["event_id"], line["reason"], line["attempts"]) == (tried, "max_attempts", 2)
    assert (base.states(), target.claims) == (["dead"], [])


async def test_an_event_that_grew_too_old_is_dead_without_a_last_attempt(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1, max_age=60)
    target = Target(Outcome.UNAVAILABLE)
    async with running(target_worker(store, target.send, first_wait="40ms", max_wait="10m")):
        await log.told(logs.EVENT_DEAD)  # though the next wait would have been longer
    (event,) = base.events()
    assert (event["state"], event["reason"]) == ("dead", "max_age")
    assert len(event["attempts"]) == len(target.claims)
    (line,) = log.named(logs.EVENT_DEAD)
    assert (line["reason"], line["attempts"]) == ("max_age", len(target.claims))


async def test_a_slow_delivery_is_a_warning(store: Store, log: Log) -> None:
    async def slow(_: Claim) -> Attempt:
        return Attempt(outcome=Outcome.DELIVERED, started_at=now(), duration=3_000)

    await accept(store, 1)
    async with running(target_worker(store, slow)):
        await log.told(logs.EVENT_DELIVERED)
    assert log.named(logs.ATTEMPT_FINISHED)[0]["log_level"] == "warning"


async def test_a_target_that_is_down_for_the_whole_intake_gets_everything_once_it_is_up(
    base: Base, store: Store, log: Log
) -> None:
    sandbox = Sandbox(["503*forever"])
    async with serving(sandbox) as url:
        authorization = {"scheme": "basic", "username": "sandbox", "password": "sandbox"}
        section = Section(Document("bridge.yaml", {"url": f"{url}/crm/api", "authorization": authorization}))
        settings, _ = parse(section, TargetSettings)
        assert settings is not None
        crm, _ = compile_target("crm", settings, section)
        assert crm is not None
        one = target_worker(store, crm.send, **FAST)
        async with running(one):
            for _ in range(40):
                await accept(store, 1)
                one.wake()
            await log.told(logs.ATTEMPT_FINISHED, 60)
            assert sandbox.events() == []
            sandbox.clear_faults()
            await log.told(logs.EVENT_DELIVERED, 40)
        await crm.close()
    assert len(sandbox.events()) == 40
    assert base.states() == ["delivered"] * 40
    assert log.named(logs.TARGET_PAUSED) == []


# Waking


async def test_no_wake_is_lost_whenever_it_comes(store: Store, log: Log) -> None:
    """Events are committed one by one, each with its wake and never another, while the worker claims all the time."""
    target = Target()
    one = target_worker(store, target.send, max_in_flight=2)

    async def intake() -> None:
        for number in range(40):
            await accept(store, 1)
            one.wake()
            for _ in range(number % 7):
                await asyncio.sleep(0)

    async with running(one):
        await asyncio.gather(*(intake() for _ in range(5)))
        await log.told(logs.EVENT_DELIVERED, 200)
    assert len(set(target.ids)) == 200


async def test_an_idle_lane_asks_the_store_nothing(base: Base, store: Store, log: Log) -> None:
    target = Target()
    one = target_worker(store, target.send)
    async with running(one):
        await quiet(store)
        await accept(store, 1)  # nobody wakes the worker
        await quiet(store)
        assert target.claims == []
        one.wake()
        await log.told(logs.EVENT_DELIVERED)


def test_an_idle_lane_looks_again_by_itself_for_what_nobody_told_it_of(base: Base, hand: Hand, log: Log) -> None:
    async def story() -> None:
        async with base.opened() as store:
            target = Target()
            async with running(target_worker(store, target.send)):
                await quiet(store)
                await accept(store, 1, at=hand.at)  # nobody wakes the worker
                hand.at += 29_999
                await quiet(store)
                assert target.claims == []
                hand.at += 1
                await log.told(logs.EVENT_DELIVERED)

    base.clock = hand
    with asyncio.Runner(loop_factory=lambda: Loop(hand)) as runner:
        runner.run(story())


def test_it_looks_for_what_nobody_told_it_of_also_where_it_knows_of_a_later_time(
    base: Base, hand: Hand, log: Log
) -> None:
    async def story() -> None:
        async with base.opened() as store:
            target = Target(Outcome.UNAVAILABLE, Outcome.DELIVERED)
            await accept(store, 1, at=hand.at)
            async with running(target_worker(store, target.send, first_wait="15m", max_wait="15m")):
                await log.told(logs.ATTEMPT_FINISHED)
                await quiet(store)
                await accept(store, 1, at=hand.at)  # nobody wakes the worker
                hand.at += 30_000
                await log.told(logs.EVENT_DELIVERED)
            assert target.claims[0].event_id != target.claims[1].event_id

    base.clock = hand
    with asyncio.Runner(loop_factory=lambda: Loop(hand)) as runner:
        runner.run(story())


# A store that fails


@contextmanager
def locked_by_a_stranger(base: Base) -> Iterator[None]:
    """Another connection holds the database's write lock, and ours does not wait for it."""
    base.driver.execute("PRAGMA busy_timeout=1")
    with closing(sqlite3.connect(base.path, isolation_level=None, check_same_thread=False)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            stranger.execute("ROLLBACK")
    base.driver.execute("PRAGMA busy_timeout=5000")


async def test_a_claim_that_the_store_refuses_is_tried_again(base: Base, store: Store, log: Log) -> None:
    await accept(store, 2)
    target = Target()
    with locked_by_a_stranger(base):
        task = asyncio.create_task((one := target_worker(store, target.send)).run())
        await log.told(logs.CLAIM_FAILED)
        assert target.claims == []
    await log.told(logs.EVENT_DELIVERED, 2)
    await one.drain(1)
    await task
    assert "database is locked" in log.named(logs.CLAIM_FAILED)[0]["error"]


async def test_what_superoffice_answered_is_recorded_however_long_the_store_fails(
    base: Base, store: Store, log: Log
) -> None:
    await accept(store, 1)
    target = Target()
    target.gate.clear()
    async with running(target_worker(store, target.send)):
        await target.reached(1)
        with locked_by_a_stranger(base):
            target.gate.set()
            await log.told(logs.ATTEMPT_UNRECORDED, 3)
            assert base.states() == ["sending"]
        await log.told(logs.EVENT_DELIVERED)
    assert len(target.claims) == 1
    (event,) = base.events()
    assert (event["state"], len(event["attempts"])) == ("delivered", 1)
    assert log.named(logs.ATTEMPT_UNRECORDED)[0]["outcome"] == "delivered"


async def test_an_attempt_that_was_answered_is_held_however_long_ago_its_lease_ended(
    base: Base, store: Store, log: Log
) -> None:
    await accept(store, 1)
    target = Target()
    target.gate.clear()
    one = target_worker(store, target.send, lease=0)
    async with running(one):
        await target.reached(1)
        assert not one.holds(target.claims[0])
        with locked_by_a_stranger(base):
            target.gate.set()
            await log.told(logs.ATTEMPT_UNRECORDED)
            assert one.holds(target.claims[0])
        await log.told(logs.EVENT_DELIVERED)


async def test_a_full_disk_loses_no_answer(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1)
    target = Target(result="x" * 50_000)  # more than the last pages of the file have room for
    target.gate.clear()
    async with running(target_worker(store, target.send)):
        await target.reached(1)
        base.driver.execute("PRAGMA max_page_count=1")  # SQLite makes that its present size
        target.gate.set()
        await log.told(logs.ATTEMPT_UNRECORDED)
        base.driver.execute("PRAGMA max_page_count=1000000")
        await log.told(logs.EVENT_DELIVERED)
    assert "full" in log.named(logs.ATTEMPT_UNRECORDED)[0]["error"]
    assert base.events()[0]["result"] == "x" * 50_000


async def test_an_attempt_that_breaks_stays_sending_and_is_told_without_its_text(
    base: Base, store: Store, log: Log
) -> None:
    async def broken(_: Claim) -> Attempt:
        raise RuntimeError("a body or a secret")

    await accept(store, 1)
    async with running(target_worker(store, broken)):
        await log.told(logs.ATTEMPT_UNRECORDED)
    assert base.states() == ["sending"]
    assert "a body or a secret" not in str(log.lines)


async def test_after_an_attempt_that_breaks_the_next_event_is_sent(base: Base, store: Store, log: Log) -> None:
    target = Target()
    ids = await accept(store, 3)

    async def send(claim: Claim) -> Attempt:
        if claim.event_id == ids[0]:
            raise RuntimeError
        return await target.send(claim)

    async with running(target_worker(store, send, max_in_flight=1)):
        await log.told(logs.EVENT_DELIVERED, 2)
    assert target.ids == ids[1:]
    assert base.states() == ["sending", "delivered", "delivered"]


# Draining


async def test_a_drain_lets_attempts_finish_and_claims_no_more(base: Base, store: Store, log: Log) -> None:
    target = Target()
    target.gate.clear()
    await accept(store, 10)
    one = target_worker(store, target.send, max_in_flight=3)
    task = asyncio.create_task(one.run())
    await target.reached(3)
    drained = asyncio.create_task(one.drain(5))
    await quiet(store)
    assert not drained.done()
    target.gate.set()
    assert await drained == 0
    await task
    one.wake()
    await quiet(store)
    assert len(target.claims) == 3
    assert base.states() == ["delivered"] * 3 + ["pending"] * 7


async def test_a_drain_tells_how_many_did_not_finish_and_leaves_them_sending(
    base: Base, store: Store, log: Log
) -> None:
    target = Target()
    target.gate.clear()
    await accept(store, 4)
    one = target_worker(store, target.send, max_in_flight=2)
    task = asyncio.create_task(one.run())
    await target.reached(2)
    assert await one.drain(0.05) == 2
    await task
    await quiet(store)
    assert target.under_way == 0
    assert base.states() == ["sending", "sending", "pending", "pending"]


async def test_a_drain_without_time_counts_nothing_that_waits_for_work_and_leaves_no_task(
    store: Store, log: Log
) -> None:
    before = asyncio.all_tasks()
    target = Target()
    await accept(store, 6)
    one = target_worker(store, target.send, max_in_flight=3)
    task = asyncio.create_task(one.run())
    await log.told(logs.EVENT_DELIVERED, 6)
    await quiet(store)
    assert await one.drain(0) == 0
    await task
    await quiet(store)
    assert asyncio.all_tasks() == before


async def test_what_was_claimed_but_not_sent_when_the_drain_came_is_pending_again(
    base: Base, store: Store, log: Log
) -> None:
    await accept(store, 2)
    target = Target()
    one = target_worker(store, target.send)
    with closing(sqlite3.connect(base.path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")  # the claim waits for the lock
        task = asyncio.create_task(one.run())
        await asyncio.sleep(0)
        assert await one.drain(1) == 0
        assert not task.done()
        stranger.execute("ROLLBACK")
    await task
    assert target.claims == []
    assert [(event["state"], event["attempts"]) for event in base.events()] == [("pending", [])] * 2
    async with running(target_worker(store, target.send)):
        await log.told(logs.EVENT_DELIVERED, 2)
    assert [claim.attempt for claim in target.claims] == [1, 1]
