"""The clock that only runs: no setting of the wall clock moves it, and a restart moves it by what really passed."""

from pathlib import Path

import pytest
from clocks import Hand
from hypothesis import given
from hypothesis import strategies as st

from bridge import clock as module
from bridge.clock import MOST_ADDED, Clock, boot, since_boot

HOUR = 3_600_000
DAY = 24 * HOUR


def restarted(last: Clock, later: Hand) -> Hand:
    """The clock of a run that goes on from where the last one ended."""
    later.go_on(last.seen())
    return later


def test_the_first_run_ever_begins_with_the_wall_clock_s_time() -> None:
    hand = Hand()
    assert hand.running() == hand.wall() == hand.at


@given(st.lists(st.tuples(st.integers(0, DAY), st.integers(-400 * DAY, 400 * DAY))))
def test_whatever_the_wall_clock_is_set_to_as_much_passes_as_really_does(steps: list[tuple[int, int]]) -> None:
    hand = Hand()
    began = hand.running()
    for passed, wrong in steps:
        hand.set_wall(wrong)
        hand.turn(passed)
    assert hand.running() - began == sum(passed for passed, _ in steps)


def test_a_moment_is_shown_as_the_wall_clock_is_set_now() -> None:
    hand = Hand()
    due_at = hand.running() + HOUR
    hand.set_wall(DAY)
    assert hand.on_wall(due_at) == hand.wall() + HOUR
    hand.set_wall(-DAY)
    assert hand.on_wall(due_at) == hand.wall() + HOUR


@pytest.mark.parametrize("before", [-DAY, 0, 3 * DAY])
@pytest.mark.parametrize("meanwhile", [0, 3 * DAY])
@pytest.mark.parametrize("after", [-50 * 365 * DAY, 0, 3 * DAY])
def test_a_restart_adds_what_the_machine_says_however_the_wall_clock_was_set(
    before: int, meanwhile: int, after: int
) -> None:
    hand = Hand()
    hand.set_wall(before)
    began = hand.running()
    last = hand.seen()
    hand.set_wall(after)
    hand.turn(meanwhile)
    hand.go_on(last)
    assert hand.running() - began == meanwhile
    hand.set_wall(0)
    assert hand.running() - began == meanwhile


@pytest.mark.parametrize("other", ["another start", None])
@pytest.mark.parametrize(
    ("meanwhile", "wrong", "added"),
    [
        (0, 0, 0),
        (90_000, 0, 90_000),
        (HOUR, 0, HOUR),
        (7 * DAY, 0, MOST_ADDED),
        (90_000, 100 * DAY, MOST_ADDED),
        (90_000, -1, 89_999),
        (90_000, -DAY, 0),
        (90_000, -50 * 365 * DAY, 0),
    ],
)
def test_after_a_start_of_the_machine_the_wall_clock_is_believed_for_an_hour(
    other: str | None, meanwhile: int, wrong: int, added: int
) -> None:
    hand = Hand()
    later = Hand(hand.at + meanwhile, boot=other, since_boot=10_000)
    later.set_wall(wrong)
    began = hand.running()
    assert restarted(hand, later).running() - began == added
    later.set_wall(0)  # as soon as the machine knows the time
    later.turn(HOUR)
    assert later.running() - began == added + HOUR


def test_where_no_start_can_be_told_from_another_the_wall_clock_says_it() -> None:
    hand, later = Hand(boot=None), Hand(boot=None)
    later.turn(90_000)
    later.set_wall(DAY)
    assert restarted(hand, later).running() - hand.running() == MOST_ADDED


def test_a_machine_that_claims_to_have_run_for_less_than_before_is_not_believed() -> None:
    hand = Hand(since_boot=DAY)
    later = Hand(hand.at + 90_000, since_boot=HOUR)  # a container with a clock of its own
    assert restarted(hand, later).running() - hand.running() == 90_000


def test_each_setting_of_the_wall_clock_is_told_once() -> None:
    hand = Hand()
    assert hand.step() == 0
    hand.set_wall(999)
    assert hand.step() == 0
    hand.set_wall(1_000)
    assert (hand.step(), hand.step()) == (1_000, 0)
    hand.turn(DAY)
    hand.set_wall(-DAY)
    assert (hand.step(), hand.step()) == (-DAY - 1_000, 0)


def test_a_setting_between_two_runs_is_told_too() -> None:
    hand = Hand()
    hand.set_wall(DAY)
    hand.step()
    later = Hand(hand.at + 7 * DAY, boot="another start")
    assert restarted(hand, later).step() == 6 * DAY - HOUR  # of a week, an hour was counted, and a day was wrong


def test_one_that_goes_on_as_it_was_tells_nothing() -> None:
    hand = Hand()
    last = hand.seen()
    hand.turn(3 * DAY)
    hand.go_on(last)
    assert hand.step() == 0


def test_the_machine_tells_its_time_and_its_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = since_boot(), since_boot()
    assert 0 < first <= second
    real = Clock()
    assert abs(real.running() - real.wall()) < 1_000
    assert boot() == boot()
    boot.cache_clear()
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "missing")
    assert boot() is None
    boot.cache_clear()
