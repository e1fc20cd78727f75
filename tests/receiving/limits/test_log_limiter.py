"""A flood of refusals is told by a bounded number of lines, and none is missing from the counts in them."""

from clocks import Seconds
from hypothesis import given
from hypothesis import strategies as st

from bridge.receiving.limits.log_limiter import A_SECOND, AT_ONCE, LogLimiter


def test_at_first_each_line_is_written_then_so_many_a_second() -> None:
    hand = Seconds()
    telling = LogLimiter(hand)
    told = [telling.left_out("shop", "signature_mismatch") for _ in range(10_000)]
    assert told == [0] * AT_ONCE + [None] * (10_000 - AT_ONCE)
    hand.at += 1.0001
    told = [telling.left_out("shop", "signature_mismatch") for _ in range(100)]
    assert told == [10_000 - AT_ONCE] + [0] * (A_SECOND - 1) + [None] * (100 - A_SECOND)


def test_another_source_or_reason_is_still_told() -> None:
    telling = LogLimiter(Seconds())
    for _ in range(1000):
        telling.left_out("shop", "signature_mismatch")
    assert telling.left_out("shop", "timestamp_stale") == 0
    assert telling.left_out("github", "signature_mismatch") == 0


@given(st.lists(st.floats(0, 1), max_size=100))
def test_every_line_is_written_or_counted(waits: list[float]) -> None:
    hand = Seconds()
    telling = LogLimiter(hand)
    for _ in range(AT_ONCE):
        telling.left_out("shop", "method")
    counted = 0
    for wait in waits:
        hand.at += wait
        left_out = telling.left_out("shop", "method")
        counted += 0 if left_out is None else 1 + left_out
    hand.at += 1
    assert counted + 1 + (telling.left_out("shop", "method") or 0) == len(waits) + 1
