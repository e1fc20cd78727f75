"""A 2xx that nobody understands may mean that the event was taken: a person is asked, or it comes to an end."""

import pytest
from clocks import Hand

from bridge.model import OnUnknown, Outcome, Unclear
from bridge.observing import logs
from bridge.store.store import Store

from .support import FAST, HOUR, Base, Log, Target, accept, quiet, running, target_worker

pytestmark = pytest.mark.anyio

A_DAY = 24 * HOUR


@pytest.mark.parametrize("unclear", Unclear)
async def test_an_event_that_may_have_been_taken_is_held_and_sent_once(base: Base, log: Log, unclear: Unclear) -> None:
    target = Target(unclear, unclear, Outcome.DELIVERED)
    async with base.opened() as store:
        await accept(store, 1, on_unknown=OnUnknown.HOLD)
        one = target_worker(store, target.send, max_attempts=1, **FAST)
        async with running(one):
            await log.told(logs.EVENT_HELD)
            await quiet(store)
            assert (await store.target("crm")).reason == "misconfigured"
            await accept(store, 2, on_unknown=OnUnknown.HOLD)  # the next is the probe, and held as well
            one.wake()
            await log.told(logs.EVENT_DELIVERED)
        assert (await store.target("crm")).paused_at is None
    assert base.states() == ["held", "held", "delivered"]
    assert len(set(target.ids)) == len(target.ids) == 3
    (line,) = log.named(logs.TARGET_PAUSED)
    assert (line["reason"], line["log_level"]) == ("misconfigured", "error")


async def test_the_third_answer_that_nobody_understands_is_an_events_last_across_restarts(
    base: Base, hand: Hand, log: Log
) -> None:
    base.clock = hand
    target = Target(Unclear.ANSWER)
    for sent in (1, 2, 3):
        async with base.opened() as store:
            if sent == 1:
                await accept(store, 1, max_age=1000 * HOUR)
            one = target_worker(store, target.send, max_attempts="none")
            async with running(one):
                await log.told(logs.ATTEMPT_FINISHED, sent)
                await quiet(store)
                assert len(target.claims) == sent
        hand.at += HOUR
    assert [(claim.unclear, claim.retries, claim.probe) for claim in target.claims] == [
        (0, 0, False),
        (1, 1, True),
        (2, 2, True),
    ]
    (event,) = base.events()
    assert (event["state"], event["reason"]) == ("dead", "answer_not_understood")
    async with base.opened() as store:
        target.answer(Outcome.DELIVERED)
        await accept(store, 2, at=hand.at)
        async with running(target_worker(store, target.send)):
            await log.told(logs.EVENT_DELIVERED, 2)
    assert [claim.probe for claim in target.claims[3:]] == [True, False]


async def test_what_a_page_answered_waits_and_is_sent_when_the_target_opens(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    target = Target(Unclear.PAGE)
    async with base.opened() as store:
        await accept(store, 1)
        one = target_worker(store, target.send, max_attempts=1)
        async with running(one):
            for sent in range(1, 8):
                await log.told(logs.ATTEMPT_FINISHED, sent)
                hand.at += HOUR
                if sent == 7:
                    target.answer(Outcome.DELIVERED)
                one.wake()
            await log.told(logs.EVENT_DELIVERED)
    assert {(claim.retries, claim.unclear) for claim in target.claims} == {(0, 0)}
    assert base.states() == ["delivered"]


@pytest.mark.parametrize("unclear", Unclear)
async def test_events_grow_old_in_such_a_pause(base: Base, hand: Hand, log: Log, unclear: Unclear) -> None:
    base.clock = hand
    target = Target(unclear)
    async with base.opened() as store:
        await accept(store, 3, max_age=A_DAY)
        one = target_worker(store, target.send, max_in_flight=1)
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED)
            hand.at += A_DAY
            one.wake()
            await log.told(logs.EVENT_DEAD, 3)
    assert {event["reason"] for event in base.events()} == {"max_age"}
    assert len(target.claims) == 1


async def test_what_could_not_be_taken_grows_no_older_once_a_probe_says_so(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    target = Target(Unclear.PAGE, Outcome.UNAUTHORIZED)
    async with base.opened() as store:
        await accept(store, 1, max_age=A_DAY)
        one = target_worker(store, target.send)
        async with running(one):
            await log.told(logs.ATTEMPT_FINISHED)
            hand.at += HOUR
            one.wake()
            await log.told(logs.ATTEMPT_FINISHED, 2)
            hand.at += 2 * A_DAY
            target.answer(Outcome.DELIVERED)
            one.wake()
            await log.told(logs.EVENT_DELIVERED)
    assert [line["reason"] for line in log.named(logs.TARGET_PAUSED)] == ["misconfigured", "unauthorized"]


async def test_a_store_keeps_that_events_grow_older(base: Base, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 1)
        async with running(target_worker(store, Target(Unclear.ANSWER).send, first_wait="1h", max_wait="1h")):
            await log.told(logs.TARGET_PAUSED)
            await quiet(store)
        paused = await store.target("crm")
    async with base.opened() as store:
        again: Store = store
        assert (await again.target("crm")) == paused
        assert paused.ages
