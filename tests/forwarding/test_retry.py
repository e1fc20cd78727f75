"""What becomes of an event, for every outcome."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.forwarding.retry import Policy
from bridge.model import (
    Attempt,
    Claim,
    Dead,
    Decision,
    Delivered,
    Held,
    OnUnknown,
    Outcome,
    Pause,
    PauseReason,
    RetryAt,
    Unclear,
    WaitBy,
)
from bridge.settings.target_schema import RetrySettings

NOW = 1_764_003_600_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
FAR = NOW + 1_000 * HOUR

Uniform = Callable[[float, float], float]


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def policy(uniform: Uniform = middle, **settings: Any) -> Policy:
    return Policy(RetrySettings.model_validate(settings), uniform)


def claim(**fields: Any) -> Claim:
    usual: dict[str, Any] = {
        "event_id": "ev_1",
        "webhook_id": "wh_1",
        "source": "shop",
        "rule": "sold",
        "target": "crm",
        "type": "SaleSold",
        "text": "",
        "attempt": 1,
        "retries": 0,
        "on_unknown": OnUnknown.RETRY,
        "stored_at": NOW,
        "expires_at": FAR,
    }
    return Claim(**usual | fields)


def attempt(outcome: Outcome, retry_after: int | None = None) -> Attempt:
    return Attempt(outcome=outcome, started_at=NOW, duration=5, retry_after=retry_after)


def not_understood(unclear: Unclear = Unclear.ANSWER) -> Attempt:
    """A 2xx that nobody understands."""
    pause = PauseReason.MISCONFIGURED
    return Attempt(outcome=Outcome.UNKNOWN, started_at=NOW, duration=5, pause=pause, unclear=unclear)


def decide(outcome: Outcome, retry_after: int | None = None, **fields: Any) -> Decision:
    return policy().decide(claim(**fields), attempt(outcome, retry_after), NOW, NOW)


def wait(retries: int, retry_after: int | None = None, **settings: Any) -> int:
    """Milliseconds until the next attempt, after so many that counted."""
    failed = attempt(Outcome.UNAVAILABLE, retry_after)
    decision = policy(**settings).decide(claim(retries=retries), failed, NOW, NOW)
    assert isinstance(decision, RetryAt)
    assert decision.counts
    return decision.at - NOW


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("on_unknown", OnUnknown)
@pytest.mark.parametrize("probe", [False, True])
def test_every_outcome_has_its_decision(outcome: Outcome, on_unknown: OnUnknown, probe: bool) -> None:
    retry: Decision = RetryAt(NOW, counts=False) if probe else RetryAt(NOW + 2 * SECOND)
    expected: dict[Outcome, Decision] = {
        Outcome.DELIVERED: Delivered(),
        Outcome.REJECTED: Dead("rejected"),
        Outcome.MISCONFIGURED: Pause(PauseReason.MISCONFIGURED),
        Outcome.UNAUTHORIZED: Pause(PauseReason.UNAUTHORIZED),
        Outcome.MOVED: Pause(PauseReason.MOVED),
        Outcome.UNAVAILABLE: retry,
        Outcome.UNKNOWN: Held("unknown") if on_unknown is OnUnknown.HOLD else retry,
    }
    assert decide(outcome, on_unknown=on_unknown, probe=probe) == expected[outcome]


def test_waits_double_from_the_first_to_the_longest() -> None:
    assert [wait(retries) // SECOND for retries in range(12)] == [
        *(2, 4, 8, 16, 32, 64, 128, 256, 512),
        *(900, 900, 900),
    ]
    assert wait(1_000_000) == 15 * MINUTE


def test_waits_are_those_of_the_settings() -> None:
    settings: dict[str, Any] = {"first_wait": "100ms", "max_wait": "1s"}
    assert [wait(retries, **settings) for retries in range(6)] == [100, 200, 400, 800, 1000, 1000]
    assert wait(7, first_wait="5s", max_wait="5s") == 5 * SECOND


@given(st.integers(0, 100), st.floats(0, 1))
def test_jitter_stays_within_its_ratio(retries: int, ratio: float) -> None:
    plain = wait(retries, jitter=0)
    jittered = wait(retries, jitter=ratio, uniform=random.uniform)
    assert plain * (1 - ratio) - 1 <= jittered <= plain * (1 + ratio) + 1


def test_jitter_uses_its_whole_range() -> None:
    assert wait(0, jitter=0.2, uniform=min) == 1_600
    assert wait(0, jitter=0.2, uniform=max) == 2_400


def test_events_that_failed_together_do_not_come_back_together() -> None:
    shared = Policy(RetrySettings())
    assert len({shared.wait(10) for _ in range(50)}) > 10


def test_retry_after_wins_over_a_shorter_wait_and_loses_to_a_longer_one() -> None:
    assert wait(0, retry_after=30 * SECOND) == 30 * SECOND
    assert wait(0, retry_after=1 * SECOND) == 2 * SECOND
    assert wait(20, retry_after=30 * SECOND) == 15 * MINUTE
    assert wait(0, retry_after=0) == 2 * SECOND


@pytest.mark.parametrize(
    ("retries", "asked", "by"),
    [
        (0, None, WaitBy.POLICY),
        (0, 1 * SECOND, WaitBy.POLICY),
        (0, 2 * SECOND, WaitBy.POLICY),
        (0, 2 * SECOND + 1, WaitBy.RETRY_AFTER),
        (0, HOUR, WaitBy.RETRY_AFTER),
        (0, HOUR + 1, WaitBy.RETRY_AFTER_CAP),
        (20, 30 * SECOND, WaitBy.POLICY),
    ],
)
def test_a_decision_says_which_rule_set_the_wait(retries: int, asked: int | None, by: WaitBy) -> None:
    decision = decide(Outcome.UNAVAILABLE, asked, retries=retries)
    assert isinstance(decision, RetryAt)
    assert decision.by is by


def test_where_the_cap_is_shorter_than_the_own_wait_the_policy_says_how_long() -> None:
    assert policy(retry_after_cap="1m").wait(20, 100 * HOUR) == (15 * MINUTE, WaitBy.POLICY)


@pytest.mark.parametrize("outcome", [Outcome.UNAVAILABLE, Outcome.UNKNOWN])
@pytest.mark.parametrize("on_unknown", OnUnknown)
@pytest.mark.parametrize("probe", [False, True])
def test_what_the_whole_target_is_to_pause_for_wins_over_the_outcome(
    outcome: Outcome, on_unknown: OnUnknown, probe: bool
) -> None:
    away = Attempt(outcome=outcome, started_at=NOW, duration=5, pause=PauseReason.TENANT)
    once = policy(max_attempts=1)
    assert once.decide(claim(on_unknown=on_unknown, probe=probe), away, NOW, NOW) == Pause(PauseReason.TENANT)


def test_retry_after_is_obeyed_up_to_its_cap() -> None:
    assert wait(0, retry_after=100 * HOUR) == HOUR
    assert wait(0, retry_after=100 * HOUR, retry_after_cap="1m") == MINUTE
    assert wait(20, retry_after=100 * HOUR, retry_after_cap="1m") == 15 * MINUTE


def test_retry_after_of_an_unknown_outcome_counts_too() -> None:
    assert decide(Outcome.UNKNOWN, 30 * SECOND) == RetryAt(NOW + 30 * SECOND, by=WaitBy.RETRY_AFTER)


def test_after_the_last_attempt_an_event_is_dead() -> None:
    three = policy(max_attempts=3)
    for retries in (0, 1):
        assert isinstance(three.decide(claim(retries=retries), attempt(Outcome.UNAVAILABLE), NOW, NOW), RetryAt)
    for outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN):
        assert three.decide(claim(retries=2), attempt(outcome), NOW, NOW) == Dead("max_attempts")


def test_attempts_that_did_not_count_bring_no_event_to_its_end() -> None:
    once = policy(max_attempts=1)
    many = claim(attempt=50, retries=0, probe=True)
    assert once.decide(many, attempt(Outcome.UNAVAILABLE), NOW, NOW) == RetryAt(NOW, counts=False)


def test_the_last_attempt_may_still_be_delivered_held_or_pause_the_target() -> None:
    once = policy(max_attempts=1)
    assert once.decide(claim(), attempt(Outcome.DELIVERED), NOW, NOW) == Delivered()
    assert once.decide(claim(), attempt(Outcome.UNAUTHORIZED), NOW, NOW) == Pause(PauseReason.UNAUTHORIZED)
    held = once.decide(claim(on_unknown=OnUnknown.HOLD), attempt(Outcome.UNKNOWN), NOW, NOW)
    assert held == Held("unknown")


@pytest.mark.parametrize("unclear", Unclear)
@pytest.mark.parametrize("probe", [False, True])
def test_what_may_have_been_taken_is_held_where_the_rule_says_so(unclear: Unclear, probe: bool) -> None:
    asked = claim(on_unknown=OnUnknown.HOLD, probe=probe, unclear=2)
    assert policy(max_attempts=1).decide(asked, not_understood(unclear), NOW, NOW) == Held("unknown")


@pytest.mark.parametrize("probe", [False, True])
def test_an_answer_that_nobody_understands_is_an_attempt_and_the_third_one_the_last(probe: bool) -> None:
    one, answer = policy(), not_understood()
    assert one.decide(claim(probe=probe), answer, NOW, NOW) == RetryAt(NOW + 2 * SECOND)
    assert one.decide(claim(probe=probe, retries=9, unclear=1), answer, NOW, NOW) == RetryAt(NOW + 900 * SECOND)
    dead = Dead("answer_not_understood")
    assert one.decide(claim(probe=probe, retries=2, unclear=2), answer, NOW, NOW) == dead
    assert policy(max_attempts=9).decide(claim(probe=probe, unclear=7), answer, NOW, NOW) == dead
    assert policy(max_attempts=1).decide(claim(probe=probe), answer, NOW, NOW) == Dead("max_attempts")


@pytest.mark.parametrize("probe", [False, True])
def test_a_page_is_no_attempt(probe: bool) -> None:
    many = claim(probe=probe, retries=50, unclear=2)
    paused = Pause(PauseReason.MISCONFIGURED)
    assert policy(max_attempts=60).decide(many, not_understood(Unclear.PAGE), NOW, NOW) == paused


def test_a_probe_of_an_event_that_is_out_of_attempts_is_its_last() -> None:
    lowered = policy(max_attempts=3)
    for outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN):
        assert lowered.decide(claim(retries=3, probe=True), attempt(outcome), NOW, NOW) == Dead("max_attempts")
        assert lowered.decide(claim(retries=2, probe=True), attempt(outcome), NOW, NOW) == RetryAt(NOW, counts=False)


def test_without_a_limit_attempts_go_on() -> None:
    assert wait(10_000) == 15 * MINUTE
    assert wait(10_000, max_attempts="none") == 15 * MINUTE


def test_an_event_becomes_due_when_its_age_ends_and_no_later() -> None:
    clock = NOW - 20 * MINUTE  # the target was paused for so long: its running clock is behind
    late = claim(retries=20, expires_at=clock + 5 * MINUTE)
    at_its_end = RetryAt(NOW + 5 * MINUTE, by=WaitBy.MAX_AGE)
    assert policy().decide(late, attempt(Outcome.UNAVAILABLE), NOW, clock) == at_its_end
    asked = policy().decide(late, attempt(Outcome.UNAVAILABLE, HOUR), NOW, clock)
    assert asked == at_its_end


def test_an_event_whose_age_is_over_becomes_due_at_once() -> None:
    old = claim(expires_at=NOW - 1)
    assert policy().decide(old, attempt(Outcome.UNAVAILABLE), NOW, NOW) == RetryAt(NOW, by=WaitBy.MAX_AGE)


@given(
    st.integers(0, 10**7),
    st.none() | st.integers(0, 10**15),
    st.integers(-(10**12), 10**12),
    st.fixed_dictionaries(
        {
            "jitter": st.floats(0, 1),
            "retry_after_cap": st.integers(1, 10**6).map("{}s".format),
            "max_wait": st.integers(10, 10**6).map("{}s".format),
            "first_wait": st.integers(1, 10_000).map("{}ms".format),
        }
    ),
    st.sampled_from([Outcome.UNAVAILABLE, Outcome.UNKNOWN]),
    st.booleans(),
    st.floats(0, 1),
)
def test_no_wait_is_in_the_past_or_beyond_what_the_settings_allow(
    retries: int,
    retry_after: int | None,
    left: int,
    settings: dict[str, Any],
    outcome: Outcome,
    probe: bool,
    where: float,
) -> None:
    read = RetrySettings.model_validate(settings)
    mine = Policy(read, lambda low, high: low + where * (high - low))
    one = claim(retries=retries, expires_at=NOW + left, probe=probe)
    decision = mine.decide(one, attempt(outcome, retry_after), NOW, NOW)
    assert isinstance(decision, RetryAt)
    assert decision.at >= NOW
    assert decision.at - NOW <= max(read.max_wait * (1 + read.jitter), read.retry_after_cap) + 1
    assert decision.at - NOW <= max(0, left)
    assert decision.counts is not probe
