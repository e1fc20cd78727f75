"""Never more than the rate, never less than it where there is work."""

import pytest
from clocks import Seconds
from hypothesis import given
from hypothesis import strategies as st

from bridge.rate import Bucket

rates = st.tuples(st.integers(1, 1000), st.sampled_from([1_000, 60_000, 3_600_000]))
pauses = st.lists(st.floats(0, 10), max_size=60)


def burst(count: int, per: int) -> float:
    return max(1.0, count * 1000 / per)


@given(rates, pauses, st.data())
def test_in_no_window_passes_more_than_a_burst_and_the_rate(
    rate: tuple[int, int], waits: list[float], data: st.DataObject
) -> None:
    count, per = rate
    hand = Seconds()
    bucket = Bucket(count, per, hand)
    passed: list[tuple[float, int]] = []
    for wait in waits:
        hand.at += wait
        taken = data.draw(st.integers(0, bucket.available()))
        bucket.take(taken)
        passed.append((hand.at, taken))
    for first in range(len(passed)):
        total = 0
        for at, taken in passed[first:]:
            total += taken
            assert total <= burst(count, per) + (at - passed[first][0]) * count * 1000 / per + 1e-6


@given(rates, st.integers(0, 2000))
def test_after_its_delay_one_may_pass_and_not_before(rate: tuple[int, int], wanted: int) -> None:
    count, per = rate
    hand = Seconds()
    bucket = Bucket(count, per, hand)
    bucket.take(min(wanted, bucket.available()))
    delay = bucket.delay()
    assert (delay == 0) == (bucket.available() >= 1)
    if delay:
        hand.at += delay * 0.999
        assert bucket.available() == 0
        hand.at += delay * 0.002
        assert bucket.available() == 1


@pytest.mark.parametrize(("count", "per", "delay"), [(50, 1_000, 0.02), (100, 60_000, 0.2), (10, 3_600_000, 360)])
def test_the_delay_is_the_time_until_a_whole_one_is_there(count: int, per: int, delay: float) -> None:
    bucket = Bucket(count, per, Seconds())
    bucket.take(bucket.available())  # of 100/m two thirds of one are left
    assert bucket.delay() == pytest.approx(delay)


@given(rates)
def test_work_that_waits_is_let_pass_at_the_rate(rate: tuple[int, int]) -> None:
    """Taking one whenever one may pass: after the first burst, exactly `count` in every `per`."""
    count, per = rate
    hand = Seconds()
    bucket = Bucket(count, per, hand)
    bucket.take(bucket.available())
    start = hand.at
    for _ in range(200):
        hand.at += bucket.delay() + 1e-9
        bucket.take(1)
    elapsed = hand.at - start
    assert elapsed == pytest.approx(200 * per / 1000 / count, rel=0.01)


def test_a_long_rest_saves_up_no_more_than_a_second_s_worth() -> None:
    hand = Seconds()
    bucket = Bucket(50, 1_000, hand)
    hand.at += 3600
    assert bucket.available() == 50


def test_a_slow_rate_lets_one_pass_at_once() -> None:
    bucket = Bucket(10, 3_600_000, Seconds())
    assert bucket.available() == 1
    bucket.take(1)
    assert bucket.delay() == pytest.approx(360)
