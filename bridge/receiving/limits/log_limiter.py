"""Samples log lines that strangers cause: a flood must not fill the disk, nor hide in silence."""

import time
from collections.abc import Callable

from bridge.rate import Bucket

AT_ONCE = 300  # lines of one kind after a rest
A_SECOND = 10  # from then on


class LogLimiter:
    """Counts lines by kind: names from the configuration and reasons of closed sets, never a stranger's words."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kinds: dict[tuple[str, str], tuple[Bucket, list[int]]] = {}

    def left_out(self, source: str, reason: str) -> int | None:
        """How many lines of this kind were left out since the last one that was written; None to leave this out too."""
        kind = (source, reason)
        if kind not in self._kinds:
            self._kinds[kind] = (Bucket(A_SECOND, 1000, self._monotonic, AT_ONCE), [0])
        bucket, unwritten = self._kinds[kind]
        if not bucket.available():
            unwritten[0] += 1
            return None
        bucket.take(1)
        count, unwritten[0] = unwritten[0], 0
        return count
