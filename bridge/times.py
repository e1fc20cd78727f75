"""Moments as the bridge keeps them (milliseconds since 1970, UTC) and as people read them (ISO 8601)."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]


def now() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def iso(moment: int) -> str:
    """`2026-11-24T20:24:10.123Z`."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(moment: int | None) -> str | None:
    """The same for a moment that may not have come."""
    return None if moment is None else iso(moment)
