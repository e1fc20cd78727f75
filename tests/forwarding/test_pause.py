"""A target that is set up wrongly pauses: nothing is lost, nothing grows old, and probes find out when it is right."""

import pytest
from clocks import Hand
from targets import put_target

from bridge.model import Attempt, Claim, OnUnknown, Outcome
from bridge.observing import logs
from bridge.store.store import Store
from bridge.target_state import TargetState

from .support import FAST, HOUR, Base, Log, Target, accept, quiet, running, target_worker

pytestmark = pytest.mark.anyio

PAUSING = [Outcome.UNAUTHORIZED, Outcome.MISCONFIGURED, Outcome.MOVED]
SECOND = 1_000


@pytest.mark.parametrize("outcome", PAUSING)
async def test_a_pause_is_told_once_however_many_are_in_flight(
    base: Base, hand: Hand, log: Log, outcome: Outcome
) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(outcome)
        target.gate.clear()
        await accept(store, 12)
        one = target_worker(store, target.send)
        async with running(one):
            await target.reached(8)
            target.gate.set()
            await log.told(logs.ATTEMPT_FINISHED, 8)
            one.wake()
            await quiet(store)
        (line,) = log.named(logs.TARGET_PAUSED)
        assert (line["target"], line["reason"], line["log_level"]) == ("crm", outcome, "error")
        assert line["detail"] == f"played {outcome}"
        assert len(target.claims) == 8
        assert (await store.target("crm")).paused_at == hand.at
    assert base.states() == ["pending"] * 12
    assert not {logs.EVENT_DEAD, logs.EVENT_HELD} & {line["event"] for line in log.lines}


async def test_a_single_event_is_probed_without_anybody_waking_the_lane(base: Base, store: Store, log: Log) -> None:
    target = Target(Outcome.UNAUTHORIZED, Outcome.UNAUTHORIZED, Outcome.UNAVAILABLE, Outcome.DELIVERED)
    await accept(store, 1)
    async with running(target_worker(store, target.send, **FAST)):
        await log.told(logs.EVENT_DELIVERED)
    (event,) = base.events()
    assert [attempt["probe"] for attempt in event["attempts"]] == [False, True, True, True]
    assert (await store.target("crm")).paused_at is None


async def test_probes_are_one_event_at_a_time_with_waits_that_grow(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNAUTHORIZED)
        await accept(store, 3)
        one = target_worker(store, target.send, first_wait="2s", max_wait="10s")
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            await log.told(logs.ATTEMPT_FINISHED, 3)
            probes = [
                (2, Outcome.UNAUTHORIZED),
                (4, Outcome.UNAVAILABLE),
                (8, Outcome.UNKNOWN),
                (10, Outcome.MOVED),
                (10, Outcome.MISCONFIGURED),
            ]
            for sent, (wait, outcome) in enumerate(probes, start=3):
                target.answer(outcome)
                hand.at += wait * SECOND - 1
                one.wake()
                await quiet(store)
                assert len(target.claims) == sent
                hand.at += 1
                one.wake()
                await log.told(logs.ATTEMPT_FINISHED, sent + 1)
                await quiet(store)
                assert len(target.claims) == sent + 1
            # A fault that became another one is told again.
            told = [line["reason"] for line in log.named(logs.TARGET_PAUSED)]
            assert told == [Outcome.UNAUTHORIZED, Outcome.MOVED, Outcome.MISCONFIGURED]
            assert log.named(logs.TARGET_RESUMED) == []
            target.answer(Outcome.DELIVERED)
            hand.at += 10 * SECOND
            one.wake()
            await log.told(logs.EVENT_DELIVERED, 3)
    assert [claim.retries for claim in target.claims] == [0] * len(target.claims)
    assert [claim.probe for claim in target.claims] == [False] * 3 + [True] * 6 + [False] * 2


async def test_while_a_probe_is_under_way_nothing_else_is_sent(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNAUTHORIZED, Outcome.DELIVERED)
        await accept(store, 1)
        one = target_worker(store, target.send, first_wait="2s")
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            target.gate.clear()
            await accept(store, 5)
            hand.at += HOUR
            one.wake()
            await target.reached(2)
            one.wake()
            await quiet(store)
            assert len(target.claims) == 2
            target.gate.set()
            await log.told(logs.EVENT_DELIVERED, 6)
    assert [claim.probe for claim in target.claims] == [False, True, False, False, False, False, False]


@pytest.mark.parametrize(("outcome", "state"), [(Outcome.DELIVERED, "delivered"), (Outcome.REJECTED, "dead")])
async def test_a_probe_that_is_delivered_or_rejected_opens_the_target_again(
    base: Base, store: Store, log: Log, outcome: Outcome, state: str
) -> None:
    target = Target(Outcome.MISCONFIGURED, Outcome.UNAVAILABLE, outcome, Outcome.DELIVERED)
    await accept(store, 1)
    one = target_worker(store, target.send, **FAST)
    async with running(one):
        await log.told(logs.TARGET_PAUSED)
        await accept(store, 4)
        one.wake()
        await log.until(lambda: len(log.named(logs.EVENT_DELIVERED)) + len(log.named(logs.EVENT_DEAD)) == 5)
    (resumed,) = log.named(logs.TARGET_RESUMED)
    assert resumed["target"] == "crm"
    assert resumed["seconds"] >= 0.03
    assert sorted(base.states()) == sorted([state] + ["delivered"] * 4)
    assert [claim.probe for claim in target.claims] == [False, True, True, *[False] * 4]


async def test_a_probe_whose_outcome_is_unknown_is_held_where_the_rule_says_so(
    base: Base, store: Store, log: Log
) -> None:
    target = Target(Outcome.UNAUTHORIZED, Outcome.UNKNOWN, Outcome.DELIVERED)
    await accept(store, 1, on_unknown=OnUnknown.HOLD)
    one = target_worker(store, target.send, **FAST)
    async with running(one):
        await log.told(logs.EVENT_HELD)
        assert (await store.target("crm")).paused_at is not None
        await accept(store, 1)
        one.wake()
        await log.told(logs.EVENT_DELIVERED)
    assert base.states() == ["held", "delivered"]


async def test_probes_are_no_attempts_towards_the_last_one(base: Base, store: Store, log: Log) -> None:
    outcomes = [Outcome.UNAUTHORIZED, *[Outcome.UNAVAILABLE] * 6, Outcome.DELIVERED]
    target = Target(*outcomes)
    await accept(store, 1)
    async with running(target_worker(store, target.send, max_attempts=2, **FAST)):
        await log.told(logs.EVENT_DELIVERED)
    assert len(target.claims) == len(outcomes)


async def test_an_event_does_not_grow_old_while_its_target_is_paused(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNAUTHORIZED)
        old, older = await accept(store, 2, max_age=HOUR)
        one = target_worker(store, target.send, first_wait="2s", max_wait="10s")
        hand.at += HOUR // 2
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED, 2)
            await log.told(logs.TARGET_PAUSED)
            hand.at += 100 * HOUR
            (young,) = await accept(store, 1, max_age=HOUR)  # accepted while it is paused: its age has not begun
            target.answer(Outcome.UNAVAILABLE)
            one.wake()
            await log.told(logs.ATTEMPT_FINISHED, 3)
            hand.at += 100 * HOUR
            target.answer(Outcome.DELIVERED, Outcome.UNAVAILABLE)
            one.wake()
            await log.told(logs.TARGET_RESUMED)
            await log.told(logs.ATTEMPT_FINISHED, 6)  # the probe, then the other two
            assert log.named(logs.EVENT_DEAD) == []
            hand.at += HOUR // 2  # the first two have half an hour left, the third a whole one
            one.wake()
            await log.told(logs.EVENT_DEAD)
            await quiet(store)
            (dead,) = log.named(logs.EVENT_DEAD)
            assert dead["reason"] == "max_age"
            assert dead["event_id"] in (old, older)
            hand.at += HOUR // 2
            one.wake()
            await log.told(logs.EVENT_DEAD, 2)
            assert log.named(logs.EVENT_DEAD)[1]["event_id"] == young


async def test_a_pause_outlives_a_restart(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    target = Target(Outcome.UNAUTHORIZED)
    async with base.opened() as store:
        await accept(store, 3)
        async with running(target_worker(store, target.send, first_wait="2s")):
            await log.told(logs.TARGET_PAUSED)
            await log.told(logs.ATTEMPT_FINISHED, 3)
        paused = await store.target("crm")
    hand.at += 1_999
    target.answer(Outcome.DELIVERED)
    async with base.opened() as store:
        assert (await store.target("crm")) == paused
        one = target_worker(store, target.send, first_wait="2s")
        async with running(one):
            await quiet(store)
            assert len(target.claims) == 3
            hand.at += 1
            one.wake()
            await log.told(logs.EVENT_DELIVERED, 3)
    assert len(log.named(logs.TARGET_PAUSED)) == 1
    assert log.named(logs.TARGET_RESUMED)[0]["seconds"] == 2
    assert [claim.probe for claim in target.claims[3:]] == [True, False, False]
    async with base.opened() as store:
        assert (await store.target("crm")).paused_at is None
        assert (await store.target("crm")).paused_total == 2 * SECOND


async def test_a_delivery_that_was_under_way_when_the_target_paused_does_not_open_it(
    base: Base, store: Store, log: Log
) -> None:
    good, bad = Target(), Target(Outcome.UNAUTHORIZED)
    good.gate.clear()
    ids = await accept(store, 2)

    async def send(claim: Claim) -> Attempt:
        return await (good if claim.event_id == ids[0] else bad).send(claim)

    async with running(target_worker(store, send, first_wait="10m", max_wait="10m")):
        await log.told(logs.TARGET_PAUSED)
        good.gate.set()
        await log.told(logs.EVENT_DELIVERED)
        await quiet(store)
    assert (await store.target("crm")).paused_at is not None
    assert log.named(logs.TARGET_RESUMED) == []


async def test_what_another_instance_does_to_a_target_is_seen(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target()
        one = target_worker(store, target.send)
        async with running(one):
            await accept(store, 1)
            one.wake()
            await log.told(logs.EVENT_DELIVERED)
            await put_target(store, TargetState(name="crm", paused_at=hand.at, reason="operator", by_operator=True))
            await accept(store, 1)
            one.wake()
            await quiet(store)
            assert len(target.claims) == 1
            await put_target(store, TargetState(name="crm"))
            hand.at += 30 * SECOND
            one.wake()
            await log.told(logs.EVENT_DELIVERED, 2)


async def test_a_pause_by_another_instance_stands_where_both_saw_the_same(store: Store, log: Log) -> None:
    target = Target(Outcome.UNAUTHORIZED)
    target.gate.clear()
    await accept(store, 1)
    one = target_worker(store, target.send)
    async with running(one):
        await target.reached(1)
        paused = await put_target(store, TargetState(name="crm", paused_at=1, reason="operator", by_operator=True))
        target.gate.set()
        await log.told(logs.ATTEMPT_FINISHED)
        one.wake()
        await quiet(store)
    assert await store.target("crm") == paused
    assert log.named(logs.TARGET_PAUSED) == []
    assert len(target.claims) == 1


async def test_one_target_s_pause_is_not_another_s(store: Store, log: Log) -> None:
    crm, support = Target(Outcome.UNAUTHORIZED), Target()
    await accept(store, 1, target="crm")
    await accept(store, 5, target="support")
    async with running(target_worker(store, crm.send)), running(target_worker(store, support.send, name="support")):
        await log.told(logs.EVENT_DELIVERED, 5)
        await log.told(logs.TARGET_PAUSED)
    assert (await store.target("support")).paused_at is None


async def test_a_pause_that_cannot_be_remembered_is_told_and_probed_all_the_same(
    base: Base, store: Store, log: Log
) -> None:
    base.driver.execute("CREATE TRIGGER refuse BEFORE INSERT ON targets BEGIN SELECT RAISE(ABORT, 'no'); END")
    target = Target(Outcome.UNAUTHORIZED, Outcome.UNAVAILABLE, Outcome.DELIVERED)
    await accept(store, 1)
    async with running(target_worker(store, target.send, **FAST)):
        await log.told(logs.EVENT_DELIVERED)
        await log.told(logs.TARGET_RESUMED)
    assert len(log.named(logs.TARGET_PAUSED)) == 1
    assert {line["target"] for line in log.named(logs.TARGET_UNSAVED)} == {"crm"}
    assert log.named(logs.ATTEMPT_UNRECORDED) == []
    assert [claim.probe for claim in target.claims] == [False, True, True]
    assert base.states() == ["delivered"]
