"""All targets' workers together: what an earlier run left, leases that ran out, and the end."""

import asyncio
import time
from typing import Any

import pytest
from clocks import Hand
from running import Stopwatch

from bridge.forwarding.forwarder import Forwarder
from bridge.model import Attempt, Claim, OnUnknown, Outcome
from bridge.observing import logs
from bridge.store.store import Store

from .support import FAST, Base, Log, Target, accept, quiet, target_worker

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

CUT_OFF = "the bridge ended during the attempt, SuperOffice may have taken the event"
RAN_OUT = "the attempt's lease ran out, SuperOffice may have taken the event"


def forwarder(store: Store, targets: dict[str, Target], **settings: Any) -> Forwarder:
    target_workers = {
        name: target_worker(store, target.send, name=name, **settings) for name, target in targets.items()
    }
    return Forwarder(store, target_workers, sweep_every=0.01)


async def test_a_target_that_hangs_does_not_delay_another(base: Base, store: Store, log: Log) -> None:
    crm, support = Target(), Target()
    crm.gate.clear()
    await accept(store, 20, target="crm")
    await accept(store, 100, target="support")
    both = forwarder(store, {"crm": crm, "support": support})
    both.start()
    await log.told(logs.EVENT_DELIVERED, 100)
    assert {line["target"] for line in log.named(logs.EVENT_DELIVERED)} == {"support"}
    assert crm.under_way == 8
    assert await both.drain(0.05) == 8
    assert len(base.events(target="support", state="delivered")) == 100


async def test_a_target_that_is_down_does_not_delay_another(store: Store, log: Log) -> None:
    crm, support = Target(Outcome.UNAVAILABLE), Target()
    await accept(store, 20, target="crm")
    await accept(store, 50, target="support")
    both = forwarder(store, {"crm": crm, "support": support}, first_wait="10m")
    both.start()
    await log.told(logs.EVENT_DELIVERED, 50)
    await log.told(logs.ATTEMPT_FINISHED, 70)
    assert await both.drain(5) == 0


async def test_only_the_woken_lane_looks(store: Store, log: Log) -> None:
    crm, support = Target(), Target()
    both = forwarder(store, {"crm": crm, "support": support})
    both.start()
    await quiet(store)
    await accept(store, 1, target="crm")
    await accept(store, 1, target="support")
    both.wake(["support", "a target that left"])
    await log.told(logs.EVENT_DELIVERED)
    await quiet(store)
    assert (len(crm.claims), len(support.claims)) == (0, 1)
    both.wake(["crm"])
    await log.told(logs.EVENT_DELIVERED, 2)
    await both.drain(5)


# What an earlier run left


async def test_at_the_start_every_attempt_that_was_cut_off_is_unknown(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        await accept(store, 2, on_unknown=OnUnknown.RETRY)
        await accept(store, 2, on_unknown=OnUnknown.HOLD)
        await accept(store, 1)
        assert len((await store.claim("crm", 4, 30_000)).claims) == 4
    hand.at += 5_000
    async with base.opened() as store:
        target = Target()
        target_workers = {"crm": target_worker(store, target.send, first_wait="2s")}
        assert await Forwarder(store, target_workers).recover() == 4
        assert await Forwarder(store, target_workers).recover() == 0
        assert target.claims == []
    events = base.events()
    assert [event["state"] for event in events] == ["pending", "pending", "held", "held", "pending"]
    assert [event["reason"] for event in events] == ["unknown"] * 4 + [None]
    for event in events[:4]:
        (attempt,) = event["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["detail"]) == (1, "unknown", CUT_OFF)
        assert (attempt["duration_ms"], attempt["status"], attempt["late"]) == (5_000, None, False)
    assert events[4]["attempts"] == []
    assert len(log.named(logs.ATTEMPT_FINISHED)) == 4
    assert len(log.named(logs.EVENT_HELD)) == 2


async def test_what_was_settled_waits_as_after_any_failure_and_is_sent_again(base: Base, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 2)
        await store.claim("crm", 1, 30_000)
    async with base.opened() as store:
        target = Target()
        one = forwarder(store, {"crm": target}, first_wait="50ms")
        await one.recover()
        one.start()
        await log.told(logs.EVENT_DELIVERED, 2)
        await one.drain(5)
    assert [(claim.attempt, claim.retries) for claim in target.claims] == [(1, 0), (2, 1)]


async def test_a_probe_that_was_cut_off_leaves_its_target_paused(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNAUTHORIZED)
        await accept(store, 1)
        one = forwarder(store, {"crm": target}, first_wait="2s")
        one.start()
        await log.told(logs.TARGET_PAUSED)
        await one.drain(5)
        paused_at = hand.at
        hand.at += 2_000
        (probe,) = (await store.claim("crm", 1, 30_000)).claims
        assert probe.probe
    async with base.opened() as store:
        await forwarder(store, {"crm": target}, first_wait="2s").recover()
        state = await store.target("crm")
        assert (state.paused_at, state.probes) == (paused_at, 1)
        assert state.next_probe_at == hand.at + 4_000
        hand.at += 4_000
        (claim,) = (await store.claim("crm", 1, 30_000)).claims
    assert claim.retries == 0


async def test_an_event_of_a_target_that_left_is_held_where_its_rule_says_so(base: Base, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 1, target="gone", on_unknown=OnUnknown.HOLD)
        await store.claim("gone", 1, 30_000)
    async with base.opened() as store:
        assert await Forwarder(store, {}).recover() == 1
        assert (await store.claim("gone", 1, 30_000)).claims == ()
    (event,) = base.events()
    assert (event["state"], event["reason"]) == ("held", "unknown")
    assert [attempt["outcome"] for attempt in event["attempts"]] == ["unknown"]
    assert log.named(logs.TARGET_UNKNOWN)[0]["target"] == "gone"


async def test_other_events_of_a_target_that_left_wait_until_it_is_back(base: Base, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 1, target="gone", on_unknown=OnUnknown.RETRY)
        await store.claim("gone", 1, 30_000)
    async with base.opened() as store:
        assert await Forwarder(store, {}).recover() == 1
    (event,) = base.events()
    assert event["state"] == "pending"
    assert [attempt["outcome"] for attempt in event["attempts"]] == ["unknown"]
    assert log.named(logs.TARGET_UNKNOWN)[0]["target"] == "gone"
    async with base.opened() as store:
        (claim,) = (await store.claim("gone", 1, 30_000)).claims
    assert (claim.attempt, claim.retries) == (2, 0)


# Leases


async def test_a_lease_that_ran_out_is_decided_like_any_unknown_outcome(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1, on_unknown=OnUnknown.RETRY)
    await accept(store, 1, on_unknown=OnUnknown.HOLD)
    await store.claim("crm", 2, 1)  # by somebody who never comes back
    target = Target()
    one = forwarder(store, {"crm": target}, **FAST)
    one.start()
    await log.told(logs.EVENT_DELIVERED)
    await log.told(logs.EVENT_HELD)
    await one.drain(5)
    retried, held = base.events()
    assert [attempt["detail"] for attempt in retried["attempts"]] == [RAN_OUT, "played delivered"]
    assert [attempt["detail"] for attempt in held["attempts"]] == [RAN_OUT]


async def test_a_sweep_that_breaks_is_told_and_the_next_one_works(
    base: Base, store: Store, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accept(store, 1)
    await store.claim("crm", 1, 1)  # by somebody who never comes back
    one = forwarder(store, {"crm": Target()}, **FAST)
    working, broken = store.take_over, iter([RuntimeError("a body or a secret")])

    async def take_over(*, expired_only: bool) -> Any:
        for error in broken:
            raise error
        return await working(expired_only=expired_only)

    monkeypatch.setattr(store, "take_over", take_over)
    one.start()
    await log.told(logs.EVENT_DELIVERED)
    await one.drain(5)
    (told,) = log.named(logs.CLAIM_FAILED)
    assert told["error"] == "RuntimeError"


async def test_a_lease_that_runs_is_left_alone(base: Base, store: Store, log: Log) -> None:
    await accept(store, 2)
    await store.claim("crm", 1, 30_000)
    target = Target()
    one = forwarder(store, {"crm": target})
    one.start()
    await log.told(logs.EVENT_DELIVERED)
    async with asyncio.timeout(5):
        for _ in range(10):  # sweeps
            await asyncio.sleep(0.01)
            await quiet(store)
    await one.drain(5)
    assert base.states() == ["sending", "delivered"]


async def test_an_answer_after_its_lease_is_kept_and_a_late_delivery_counts(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1)
    target = Target()
    target.gate.clear()
    one = forwarder(store, {"crm": target}, lease=1, first_wait="10m", max_wait="10m")
    one.start()
    await log.told(logs.ATTEMPT_FINISHED)  # the sweep's
    assert base.states() == ["pending"]
    target.gate.set()
    await log.told(logs.EVENT_DELIVERED)
    await one.drain(5)
    (event,) = base.events()
    assert event["state"] == "delivered"
    assert [(attempt["outcome"], attempt["late"]) for attempt in event["attempts"]] == [
        *(("unknown", False), ("delivered", True))
    ]
    assert len(log.named(logs.EVENT_DELIVERED)) == 1
    assert [line["late"] for line in log.named(logs.ATTEMPT_FINISHED)] == [False, True]


async def test_a_late_failure_changes_nothing(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1)
    target = Target(Outcome.REJECTED)
    target.gate.clear()
    one = forwarder(store, {"crm": target}, lease=1, first_wait="10m", max_wait="10m")
    one.start()
    await log.told(logs.ATTEMPT_FINISHED)
    target.gate.set()
    await log.told(logs.ATTEMPT_FINISHED, 2)
    await one.drain(5)
    assert base.states() == ["pending"]
    assert log.named(logs.EVENT_DEAD) == []


async def test_a_second_delivery_is_on_record_but_told_no_second_time(base: Base, store: Store, log: Log) -> None:
    await accept(store, 1)
    first, second = Target(), Target()
    first.gate.clear()

    async def send(claim: Claim) -> Attempt:
        return await (first if claim.attempt == 1 else second).send(claim)

    one = Forwarder(store, {"crm": target_worker(store, send, lease=100, **FAST)}, sweep_every=0.01)
    one.start()
    await log.told(logs.EVENT_DELIVERED)
    first.gate.set()
    await log.until(lambda: any(line["late"] for line in log.named(logs.ATTEMPT_FINISHED)))
    await one.drain(5)
    assert len(log.named(logs.EVENT_DELIVERED)) == 1
    (event,) = base.events()
    assert event["state"] == "delivered"
    assert sum(attempt["outcome"] == "delivered" for attempt in event["attempts"]) >= 2


# The end


async def test_a_drain_waits_for_all_lanes_at_once_and_adds_up_what_did_not_finish(
    base: Base, store: Store, log: Log
) -> None:
    targets = {name: Target() for name in ("crm", "support", "quick")}
    for name, target in targets.items():
        target.gate.clear()
        await accept(store, 5, target=name)
    all_ = forwarder(store, targets, max_in_flight=2)
    all_.start()
    for target in targets.values():
        await target.reached(2)
    started, watch = time.monotonic(), Stopwatch()
    drained = asyncio.create_task(all_.drain(0.6))
    await quiet(store)
    targets["quick"].gate.set()
    assert await drained == 4
    assert time.monotonic() - started >= 0.59
    assert watch.seconds() < 1.15  # not the sum
    assert [len(base.events(target="quick", state=state)) for state in ("delivered", "pending")] == [2, 3]


async def test_after_a_drain_nothing_runs_any_more(store: Store, log: Log) -> None:
    target = Target()
    one = forwarder(store, {"crm": target})
    one.start()
    await quiet(store)
    before = asyncio.all_tasks()
    await one.drain(5)
    assert {task.get_name() for task in before - asyncio.all_tasks()} >= {"target crm", "leases"}
    await accept(store, 1)
    one.wake(["crm"])
    await quiet(store)
    assert target.claims == []


async def test_what_a_drain_cut_off_is_settled_by_the_next_run(base: Base, log: Log) -> None:
    target = Target()
    target.gate.clear()
    async with base.opened() as store:
        await accept(store, 3)
        one = forwarder(store, {"crm": target}, **FAST)
        one.start()
        await target.reached(3)
        assert await one.drain(0.01) == 3
    target.gate.set()
    async with base.opened() as store:
        one = forwarder(store, {"crm": target}, **FAST)
        assert await one.recover() == 3
        one.start()
        await log.told(logs.EVENT_DELIVERED, 3)
        await one.drain(5)
    assert base.states() == ["delivered"] * 3
