"""Forgers run out of failures; the genuine, elsewhere or later, do not."""

import tracemalloc
from contextlib import suppress

import pytest
from clocks import Seconds
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.receiving.limits.address_limiter import LATELY, MOST_ADDRESSES, AddressLimiter
from bridge.settings.source_schema import FailureSettings

DEFAULT = FailureSettings()


def fails(failures: AddressLimiter, client: str, times: int = 1, source: str = "shop") -> int:
    """How many of so many failing requests get as far as their verification."""
    verified = 0
    for _ in range(times):
        with suppress(Refused):
            failures.check(source, client)
            failures.add(source, client, DEFAULT)
            verified += 1
    return verified


def test_300_at_once_then_10_a_second() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    assert fails(failures, "192.0.2.1", 1000) == 300
    for _ in range(5):
        hand.at += 1.0001
        assert fails(failures, "192.0.2.1", 100) == 10
    hand.at += 3600
    assert fails(failures, "192.0.2.1", 1000) == 300


def test_the_wait_that_is_told_is_enough() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    fails(failures, "192.0.2.1", 300)
    with pytest.raises(Refused) as raised:
        failures.check("shop", "192.0.2.1")
    assert raised.value.reason == "too_many_failures"
    hand.at += (raised.value.retry_after or 0) + 0.001
    failures.check("shop", "192.0.2.1")


def test_others_addresses_and_other_sources_are_not_held_up() -> None:
    failures = AddressLimiter(Seconds())
    fails(failures, "192.0.2.1", 1000)
    failures.check("shop", "192.0.2.2")
    failures.check("github", "192.0.2.1")
    with pytest.raises(Refused):
        failures.check("shop", "::ffff:192.0.2.1")


def test_a_network_of_ipv6_is_one_holder() -> None:
    failures = AddressLimiter(Seconds())
    assert sum(fails(failures, f"2001:db8::{number:x}") for number in range(1000)) == 300
    failures.check("shop", "2001:db8:0:1::1")


def test_a_source_may_set_other_limits() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    settings = FailureSettings.model_validate({"at_once": 2, "rate": "1/m"})
    for _ in range(2):
        failures.check("shop", "192.0.2.1")
        failures.add("shop", "192.0.2.1", settings)
    with pytest.raises(Refused):
        failures.check("shop", "192.0.2.1")
    hand.at += 60.1
    failures.check("shop", "192.0.2.1")


def test_memory_is_bounded_and_who_goes_on_failing_is_not_forgotten() -> None:
    failures = AddressLimiter(Seconds())
    fails(failures, "192.0.2.1", 300)
    tracemalloc.start()
    for number in range(3 * MOST_ADDRESSES):
        fails(failures, f"198.51.{number >> 8}.{number & 255}" if number < 65_536 else "192.0.2.2")
        if number % 1000 == 0:
            assert fails(failures, "192.0.2.1") == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "2001:db8::1", "", "garbage"]), st.floats(0, 5)), max_size=200))
def test_in_no_time_more_fail_than_the_limit(requests: list[tuple[str, float]]) -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    settings = FailureSettings.model_validate({"at_once": 3, "rate": "2/s"})
    verified: dict[str, list[float]] = {}
    for client, wait in requests:
        hand.at += wait
        try:
            failures.check("shop", client)
        except Refused:
            continue
        failures.add("shop", client, settings)
        verified.setdefault(client, []).append(hand.at)
    for times in verified.values():
        for first, start in enumerate(times):
            for last, end in enumerate(times[first:], 1):
                assert last <= 3 + (end - start) * 2 + 1e-6


# The time that a failure took, and the reserve of addresses that a genuine webhook came from


def test_a_failure_counts_by_the_milliseconds_that_it_took() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    settings = FailureSettings.model_validate({"at_once": 10, "rate": "1/s"})
    failures.add("shop", "192.0.2.1", settings, took=0.2)
    assert failures.spent("shop", "192.0.2.1") == 1
    failures.add("shop", "192.0.2.1", settings, took=14)
    assert failures.spent("shop", "192.0.2.1") == 15
    assert failures.spent("shop", "192.0.2.2") == failures.spent("other", "192.0.2.1") == 0
    with pytest.raises(Refused) as raised:
        failures.check("shop", "192.0.2.1")
    assert raised.value.retry_after == pytest.approx(6)
    hand.at += 6.001
    failures.check("shop", "192.0.2.1")


def looks(failures: AddressLimiter, client: str, times: int, size: int, took: float = 0.0) -> int:
    """How many of so many failing requests of this size are looked at."""
    looked_at = 0
    for _ in range(times):
        with suppress(Refused):
            failures.check("sns", client, size)
            failures.add("sns", client, DEFAULT, size, took)
            looked_at += 1
    return looked_at


def test_an_address_that_proved_itself_lately_has_a_reserve_of_its_own() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    failures.proved("sns", "192.0.2.1")
    hand.at += 60
    failures.proved("sns", "192.0.2.1")
    for client in ("192.0.2.1", "192.0.2.2"):
        assert looks(failures, client, 300, 1000) == 300
    assert looks(failures, "192.0.2.1", 100, 1000) == 100
    assert looks(failures, "192.0.2.2", 100, 1000) == 0
    hand.at += LATELY + 1
    assert looks(failures, "192.0.2.1", 300, 1000) == 300
    assert looks(failures, "192.0.2.1", 100, 1000) == 0, "the last genuine one is over an hour ago"
    assert looks(failures, "192.0.2.1", 100, 1000) == 0
    failures.proved("sns", "192.0.2.1")
    assert looks(failures, "192.0.2.1", 100, 1000) == 100
    failures.add("shop", "192.0.2.1", FailureSettings.model_validate({"at_once": 1}))
    with pytest.raises(Refused):
        failures.check("shop", "192.0.2.1")


@given(st.lists(st.floats(0, 0.2), min_size=50, max_size=100), st.integers(100_000, 2 << 20), st.floats(0.1, 1))
def test_large_forgeries_never_take_what_a_small_genuine_webhook_needs(
    waits: list[float], size: int, dear: float
) -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    failures.proved("sns", "192.0.2.1")
    took = 50 * size / (1 << 20) * dear
    looks(failures, "192.0.2.1", 300, size, took)
    began, spent = hand.at, 0.0
    for wait in waits:
        hand.at += wait
        spent += took * looks(failures, "192.0.2.1", 20, size, took)
        failures.check("sns", "192.0.2.1", 5_000)
    assert spent <= 1000 + 100 * (hand.at - began) + 300 + 10 * took * (hand.at - began)


def test_small_forgeries_are_bounded_by_time_too() -> None:
    hand = Seconds()
    failures = AddressLimiter(hand)
    failures.proved("sns", "192.0.2.1")
    looks(failures, "192.0.2.1", 300, 500)
    assert 5_000 < looks(failures, "192.0.2.1", 100_000, 500) <= 10_000  # a tenth of a millisecond each, for a second
    hand.at += 1
    assert 500 < looks(failures, "192.0.2.1", 10_000, 500) <= 1_000


def test_a_genuine_body_that_is_very_large_asks_for_half_of_the_reserve() -> None:
    failures = AddressLimiter(Seconds())
    failures.proved("sns", "192.0.2.1")
    looks(failures, "192.0.2.1", 1000, 500)
    failures.check("sns", "192.0.2.1", 32 << 20)
    looks(failures, "192.0.2.1", 50, 1 << 20, took=20)
    with pytest.raises(Refused):
        failures.check("sns", "192.0.2.1", 32 << 20)
    failures.check("sns", "192.0.2.1", 100_000)


def test_those_that_proved_themselves_are_remembered_within_bounds() -> None:
    failures = AddressLimiter(Seconds())
    for number in range(MOST_ADDRESSES + 1):
        failures.proved("sns", f"198.51.{number >> 8}.{number & 255}")
    assert not failures.is_proven("sns", "198.51.0.0")
    assert failures.is_proven("sns", "198.51.0.1")
    clients = (f"198.51.{number >> 8}.{number & 255}" for number in range(MOST_ADDRESSES + 1))
    assert sum(failures.is_proven("sns", client) for client in clients) == MOST_ADDRESSES
