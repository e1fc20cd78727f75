"""How fast a target is sent to: a token bucket that holds one second's worth."""

import time
from collections.abc import Callable


class Bucket:
    """Lets `count` pass in every `per` milliseconds, evenly; `monotonic` gives seconds."""

    def __init__(self, count: int, per: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._speed = count * 1000 / per  # tokens a second
        self._size = max(1.0, self._speed)
        self._tokens = self._size
        self._monotonic = monotonic
        self._at = monotonic()

    def available(self) -> int:
        """How many may pass now."""
        moment = self._monotonic()
        self._tokens = min(self._size, self._tokens + (moment - self._at) * self._speed)
        self._at = moment
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Let so many pass."""
        self._tokens -= count

    def delay(self) -> float:
        """Seconds until one may pass."""
        return 0.0 if self.available() else (1 - self._tokens) / self._speed
