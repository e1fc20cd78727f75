"""Timestamps in milliseconds since 1970 (UTC), and their ISO 8601 form for people."""

import time
from datetime import UTC, datetime
from functools import lru_cache


def now() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=16)  # what is written down soon after one another is mostly of one moment
def iso(moment: int) -> str:
    """`2026-11-24T20:24:10.123Z`."""
    seconds, milliseconds = divmod(moment, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)  # or else of one second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def iso_or_none(moment: int | None) -> str | None:
    """The same for a moment that may not have come."""
    return None if moment is None else iso(moment)
