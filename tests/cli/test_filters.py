"""How options choose: a span or a moment for --since, and nothing left out that was said."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.filters import filter_of
from bridge.model import EventState
from bridge.store.reader import Filter
from bridge.times import iso, now


def since(text: str) -> int | None:
    return filter_of(since=text).since


def test_what_is_said_is_in_the_filter_and_nothing_else() -> None:
    assert filter_of() == Filter()
    wanted = filter_of(state=EventState.DEAD, source="s", rule="r", target="t", since="2026-11-24T08:00Z")
    assert wanted == Filter(state="dead", source="s", rule="r", target="t", since=1_795_507_200_000)


@pytest.mark.parametrize(
    ("text", "span"), [("0s", 0), ("500ms", 500), ("2s", 2_000), ("15m", 900_000), ("48h", 172_800_000)]
)
def test_a_span_counts_back_from_now(text: str, span: int) -> None:
    before = now()
    moment = since(text)
    assert moment is not None
    assert before - span <= moment <= now() - span


@pytest.mark.parametrize(
    "text", ["2026-11-24T08:00", "2026-11-24T08:00Z", "2026-11-24T10:00+02:00", "2026-11-24 08:00"]
)
def test_a_moment_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert since(text) == 1_795_507_200_000


def test_a_day_is_its_first_moment() -> None:
    assert since("2026-11-24") == 1_795_478_400_000


@given(st.integers(0, 4_000_000_000_000))
def test_moments_as_they_are_printed_can_be_given_back(moment: int) -> None:
    assert since(iso(moment)) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "15", "-5m", "1w", "m", "2026-13-01", "1.5h", "99999999d", "9999999999d"]
)
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 15m, 48h, 7d"):
        since(text)
