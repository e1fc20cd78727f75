from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import NotVerified
from bridge.receiving.senders.signature_spec import TimeUnit
from bridge.receiving.verification.timestamps import check, milliseconds
from bridge.times import iso

UNITS: tuple[TimeUnit, ...] = ("s", "ms", "rfc3339")
MOMENTS = st.integers(0, 253_402_300_799_999)


@given(MOMENTS)
def test_what_a_sender_writes_is_read(at: int) -> None:
    assert milliseconds(str(at).encode(), "ms") == at
    assert milliseconds(str(at // 1000).encode(), "s") == at // 1000 * 1000
    assert abs(milliseconds(iso(at).encode(), "rfc3339") - at) <= 1


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"2023-11-14T22:13:20Z", 1_700_000_000_000),
        (b"2023-11-14t22:13:20.5z", 1_700_000_000_500),
        (b"2023-11-15T00:13:20.123456789+02:00", 1_700_000_000_123),
    ],
)
def test_every_form_of_rfc_3339_is_read(text: bytes, at: int) -> None:
    assert milliseconds(text, "rfc3339") == at


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"x", b"2023-11-14", b"2023-11-14T22:13:20", b"20231114T221320Z", b"2023-13-14T22:13:20Z"),
        *(b"2023-11-14T22:13:20+25:99", "٢023-11-14T22:13:20Z".encode(), b"1700000000"),
    ],
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(NotVerified, match="timestamp_malformed"):
        milliseconds(text, "rfc3339")


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b"1.5", b"1e3", b"0x1", b" 1", "١".encode(), b"1" * 21])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    for unit in UNITS[:2]:
        with pytest.raises(NotVerified, match="timestamp_malformed"):
            milliseconds(text, unit)


@given(MOMENTS, st.integers(0, 10**9), st.integers(-2 * 10**9, 2 * 10**9))
def test_a_time_is_refused_exactly_if_it_is_further_off_than_the_tolerance(now: int, tolerance: int, off: int) -> None:
    told = None
    try:
        check(now + off, now, tolerance)
    except NotVerified as error:
        told = error.reason
    assert told == (None if abs(off) <= tolerance else "timestamp_future" if off > 0 else "timestamp_stale")


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    for unit in UNITS:
        with suppress(NotVerified):
            assert milliseconds(value, unit) >= -62_135_596_800_000 - 86_400_000  # the year 1
