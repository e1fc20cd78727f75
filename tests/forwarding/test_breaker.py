"""A target that fails again and again is sent one event at a time until it is well, and time goes on meanwhile."""

from dataclasses import replace
from typing import Any

import pytest
from clocks import Hand
from hypothesis import given
from hypothesis import strategies as st

from bridge.forwarding.breaker import Breaker
from bridge.forwarding.forwarder import Forwarder
from bridge.model import Attempt, Claim, OnUnknown, Outcome, PauseReason, Unclear
from bridge.observing import logs
from bridge.store.store import Store
from bridge.target_state import TargetState

from .support import FAST, HOUR, Base, Log, Target, accept, quiet, running, target_worker
from .test_retry import NOW, SECOND, attempt, claim, not_understood, policy

pytestmark = pytest.mark.anyio

FAILING = [Outcome.UNAVAILABLE, Outcome.UNKNOWN]
OPEN = TargetState(name="crm", paused_total=7)


def after(breaker: Breaker, *outcomes: Outcome, state: TargetState = OPEN, **fields: Any) -> TargetState:
    """A target's state after attempts that ended so, all at NOW."""
    for outcome in outcomes:
        breaker.count(outcome)
        state = breaker.judge(state, claim(**fields), attempt(outcome), NOW)
    return state


def breaker(number: int | None = 3) -> Breaker:
    return Breaker(number, policy())


@given(st.lists(st.sampled_from(FAILING), min_size=3, max_size=3))
def test_it_opens_with_the_last_of_so_many_failures_in_a_row(failures: list[Outcome]) -> None:
    one = breaker()
    assert after(one, *failures[:2]) is OPEN
    opened = after(one, failures[2])
    assert opened == replace(OPEN, paused_at=NOW, reason="breaker", next_probe_at=NOW + 2 * SECOND, ages=True)


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.REJECTED])
def test_a_target_that_does_its_work_in_between_is_well(outcome: Outcome) -> None:
    failing = [Outcome.UNAVAILABLE, Outcome.UNKNOWN]
    assert after(breaker(), *failing, outcome, *failing, outcome, *failing) is OPEN


def test_events_that_are_held_count_as_well() -> None:
    assert after(breaker(), *[Outcome.UNKNOWN] * 3, on_unknown=OnUnknown.HOLD).reason == "breaker"


def test_without_a_number_it_never_opens() -> None:
    assert after(breaker(None), *[Outcome.UNKNOWN] * 1000) is OPEN


def test_a_fault_in_the_set_up_pauses_at_once_whatever_was_counted() -> None:
    one = breaker()
    assert after(one, Outcome.UNKNOWN, Outcome.UNAUTHORIZED).reason == "unauthorized"
    assert after(one, Outcome.UNKNOWN, Outcome.UNKNOWN) is OPEN  # what was before the pause counts no more


def test_the_first_probe_waits_as_long_as_the_target_asked() -> None:
    one = Breaker(1, policy())
    failed = attempt(Outcome.UNAVAILABLE, retry_after=600 * SECOND)
    one.count(failed.outcome)
    opened = one.judge(OPEN, claim(), failed, NOW)
    assert opened.next_probe_at == NOW + 600 * SECOND
    probed = one.judge(opened, claim(probe=True), failed, NOW)
    assert (probed.probes, probed.next_probe_at) == (1, NOW + 600 * SECOND)


def test_only_a_probe_says_anything_new_of_a_target_that_is_paused() -> None:
    opened = after(breaker(), *[Outcome.UNKNOWN] * 3)
    for outcome in Outcome:
        assert after(breaker(), outcome, state=opened) is opened


def test_probes_are_further_and_further_apart() -> None:
    one = breaker()
    state = after(one, *[Outcome.UNKNOWN] * 3)
    waits = []
    for _ in range(11):
        state = after(one, Outcome.UNAVAILABLE, state=state, probe=True)
        assert state.next_probe_at is not None
        waits.append((state.next_probe_at - NOW) // SECOND)
    assert waits == [4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.REJECTED])
def test_a_probe_that_the_target_worked_on_ends_the_pause_and_counting_starts_anew(outcome: Outcome) -> None:
    one = breaker()
    opened = after(one, *[Outcome.UNKNOWN] * 3)
    assert after(one, outcome, state=opened, probe=True) == OPEN
    assert after(one, *[Outcome.UNKNOWN] * 2) is OPEN


def test_a_breaker_stops_no_clock_and_a_fault_that_a_probe_finds_does() -> None:
    opened = after(breaker(), *[Outcome.UNKNOWN] * 3)
    assert opened.clock(NOW + HOUR) == OPEN.clock(NOW + HOUR)
    assert opened.resumed(NOW + HOUR) == OPEN
    later = NOW + HOUR
    denied = breaker().judge(opened, claim(probe=True), attempt(Outcome.UNAUTHORIZED), later)
    assert (denied.reason, denied.paused_at, denied.probes) == ("unauthorized", later, 1)
    assert denied.clock(later + HOUR) == OPEN.clock(later)
    assert denied.resumed(later + HOUR) == replace(OPEN, paused_total=OPEN.paused_total + HOUR)


@pytest.mark.parametrize("unclear", Unclear)
def test_an_answer_that_nobody_understands_pauses_the_target_and_stops_no_clock(unclear: Unclear) -> None:
    paused = breaker().judge(OPEN, claim(), not_understood(unclear), NOW)
    assert paused == replace(
        OPEN, paused_at=NOW, reason="misconfigured", next_probe_at=NOW + 2 * SECOND, by_operator=False, ages=True
    )
    assert paused.clock(NOW + HOUR) == OPEN.clock(NOW + HOUR)
    assert paused.resumed(NOW + HOUR) == OPEN


def test_the_clock_stops_and_goes_on_as_what_the_probes_find_has_it() -> None:
    one, state = breaker(), OPEN
    found = [
        (attempt(Outcome.MISCONFIGURED), False),
        (attempt(Outcome.UNKNOWN), False),
        (not_understood(), True),
        (attempt(Outcome.UNAVAILABLE), True),
        (not_understood(Unclear.PAGE), True),
        (attempt(Outcome.UNAUTHORIZED), False),
        (not_understood(), True),
    ]
    at, clock = NOW, OPEN.clock(NOW)
    for shown, ages in found:
        state = one.judge(state, claim(probe=True), shown, at)
        assert (state.ages, state.clock(at)) == (ages, clock)
        at += HOUR
        clock += HOUR if ages else 0
        assert state.clock(at) == clock
    assert state.resumed(at) == replace(OPEN, paused_total=OPEN.paused_total + 3 * HOUR)


def test_a_breaker_has_been_open_since_it_opened_however_many_probes_failed() -> None:
    one = breaker()
    opened = after(one, *[Outcome.UNKNOWN] * 3)
    failed = one.judge(opened, claim(probe=True), attempt(Outcome.UNAVAILABLE), NOW + HOUR)
    assert (failed.reason, failed.paused_at, failed.probes) == ("breaker", NOW, 1)
    assert failed.clock(NOW + 2 * HOUR) == OPEN.clock(NOW + 2 * HOUR)


def test_a_fault_stays_the_reason_while_its_probes_only_fail() -> None:
    state = after(breaker(1), Outcome.UNAUTHORIZED)
    assert after(breaker(1), *FAILING * 5, state=state, probe=True).reason == "unauthorized"


def test_an_operators_pause_on_top_stops_the_clock_from_then_on() -> None:
    opened = after(breaker(), *[Outcome.UNKNOWN] * 3)
    paused = opened.paused(NOW + HOUR, PauseReason.OPERATOR)
    assert (paused.paused_at, paused.by_operator, paused.next_probe_at) == (NOW + HOUR, True, None)
    for outcome in Outcome:
        assert after(breaker(1), outcome, state=paused, probe=True) is paused


# In a target's worker


@pytest.mark.parametrize("outcome", FAILING)
async def test_it_is_told_once_when_it_opens_and_once_when_it_closes(
    base: Base, store: Store, log: Log, outcome: Outcome
) -> None:
    target = Target(*[outcome] * 20, Outcome.DELIVERED)
    await accept(store, 30)
    async with running(target_worker(store, target.send, after=10, **FAST)):
        await log.told(logs.EVENT_DELIVERED, 30)
    ((opened,), (closed,)) = log.named(logs.TARGET_PAUSED), log.named(logs.TARGET_RESUMED)
    assert (opened["reason"], opened["log_level"], opened["detail"]) == ("breaker", "warning", f"played {outcome}")
    assert (closed["reason"], closed["log_level"]) == ("breaker", "warning")
    assert base.states() == ["delivered"] * 30
    probes = [claim.probe for claim in target.claims]
    assert probes[:10] == [False] * 10
    assert sum(probes) <= 11  # stragglers were under way when it opened
    assert probes[20] is True
    waits = [line["wait_by"] for line in log.named(logs.ATTEMPT_FINISHED) if line["probe"]]
    assert waits == ["breaker"] * (len(waits) - 1) + [None]


async def test_while_it_is_open_one_event_at_a_time_is_sent(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNKNOWN)
        await accept(store, 100)
        one = target_worker(store, target.send, after=3, max_in_flight=3, first_wait="2s", max_wait="10s")
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            await log.told(logs.ATTEMPT_FINISHED, 3)
            for sent, wait in enumerate((2, 4, 8, 10, 10), start=3):
                hand.at += wait * SECOND - 1
                one.wake()
                await quiet(store)
                assert len(target.claims) == sent
                hand.at += 1
                one.wake()
                await log.told(logs.ATTEMPT_FINISHED, sent + 1)
                await quiet(store)
                assert len(target.claims) == sent + 1
            target.answer(Outcome.DELIVERED)
            hand.at += 10 * SECOND
            one.wake()
            await log.told(logs.EVENT_DELIVERED, 100)
    assert len(set(target.ids[:8])) == 8  # each probe is another event: one that nobody can take keeps none from it
    assert [claim.retries for claim in target.claims if claim.probe] == [0] * 6


async def test_an_event_grows_too_old_while_the_breaker_is_open(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    async with base.opened() as store:
        target = Target(Outcome.UNAVAILABLE)
        await accept(store, 20, max_age=HOUR)
        one = target_worker(store, target.send, after=3)
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            await log.told(logs.ATTEMPT_FINISHED, 8)
            hand.at += HOUR
            one.wake()
            await log.told(logs.EVENT_DEAD, 20)
    assert {event["reason"] for event in base.events()} == {"max_age"}
    assert base.states() == ["dead"] * 20


async def test_what_the_bridges_own_end_cut_off_is_no_failure_of_the_target(base: Base, log: Log) -> None:
    async with base.opened() as store:
        await accept(store, 20)
        assert len((await store.claim("crm", 20, 30_000)).claims) == 20
    async with base.opened() as store:
        target = Target()
        one = Forwarder(store, {"crm": target_worker(store, target.send, after=3, **FAST)})
        assert await one.recover() == 20
        one.start()
        await log.told(logs.EVENT_DELIVERED, 20)
        await one.drain(5)
    assert log.named(logs.TARGET_PAUSED) == []


async def test_it_stays_open_across_a_restart(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    target = Target(Outcome.UNAVAILABLE)
    for _ in range(2):
        async with base.opened() as store:
            if not target.claims:
                await accept(store, 5)
            one = target_worker(store, target.send, after=2, max_in_flight=2)
            async with running(one):
                await log.told(logs.TARGET_PAUSED)
                await log.told(logs.ATTEMPT_FINISHED, 2)
                await quiet(store)
            assert (await store.target("crm")).reason == "breaker"
    assert len(target.claims) == 2
    assert len(log.named(logs.TARGET_PAUSED)) == 1


async def test_a_log_in_that_fails_behind_a_breaker_is_an_alarm(base: Base, store: Store, log: Log) -> None:
    target = Target(*[Outcome.UNAVAILABLE] * 3, Outcome.UNAUTHORIZED, Outcome.UNAUTHORIZED, Outcome.DELIVERED)
    await accept(store, 5)
    async with running(target_worker(store, target.send, after=1, max_in_flight=1, **FAST)):
        await log.told(logs.EVENT_DELIVERED, 5)
    assert [(line["reason"], line["log_level"]) for line in log.named(logs.TARGET_PAUSED)] == [
        ("breaker", "warning"),
        ("unauthorized", "error"),
    ]
    assert [line["reason"] for line in log.named(logs.TARGET_RESUMED)] == ["unauthorized"]


async def test_a_tenant_that_is_not_running_pauses_its_target_until_it_runs(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    answers = [(Outcome.UNAVAILABLE, PauseReason.TENANT)] * 3 + [(Outcome.DELIVERED, None)] * 5
    sent: list[Claim] = []

    async def send(one: Claim) -> Attempt:
        outcome, pause = answers[len(sent)]
        sent.append(one)
        return Attempt(outcome=outcome, started_at=hand(), duration=1, pause=pause)

    async with base.opened() as store:
        await accept(store, 4, max_age=HOUR)
        one = target_worker(store, send, max_in_flight=1, max_attempts=1)
        async with running(one):
            await log.told(logs.TARGET_PAUSED)
            for finished in (2, 3, 7):
                hand.at += 10 * HOUR
                one.wake()
                await log.told(logs.ATTEMPT_FINISHED, finished)
    assert base.states() == ["delivered"] * 4
    (paused,) = log.named(logs.TARGET_PAUSED)
    assert (paused["reason"], paused["log_level"]) == ("tenant", "warning")
