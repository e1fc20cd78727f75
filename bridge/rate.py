"""A token bucket, for rate limits."""

import time
from collections.abc import Callable


class Bucket:
    """Lets `count` pass in every `per` milliseconds, evenly; `monotonic` gives seconds.

    `burst` may pass at once after a rest: one second's worth where it is not given, and never less than one.
    """

    __slots__ = ("_at", "_monotonic", "_size", "_speed", "_tokens")

    def __init__(
        self, count: int, per: int, monotonic: Callable[[], float] = time.monotonic, burst: float | None = None
    ) -> None:
        self._speed = count * 1000 / per  # tokens a second
        self._size = max(1.0, self._speed if burst is None else burst)
        self._tokens = self._size
        self._monotonic = monotonic
        self._at = monotonic()

    def available(self) -> int:
        """How many may pass now."""
        moment = self._monotonic()
        self._tokens = min(self._size, self._tokens + (moment - self._at) * self._speed)
        self._at = moment
        return max(0, int(self._tokens))

    def missing(self) -> float:
        """How many passed that are not made good yet."""
        self.available()
        return self._size - self._tokens

    def take(self, count: float) -> None:
        """Let so many pass; more than may pass now are made good before another does."""
        self._tokens -= count

    def delay(self) -> float:
        """Seconds until one may pass."""
        return 0.0 if self.available() else (1 - self._tokens) / self._speed
