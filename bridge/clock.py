"""Two clocks: the wall clock, which anybody may set, and a monotonic one (decision 0013).

What is written for people is by the wall clock. Whatever a time decides, due times, leases, ages and windows, goes by
the running clock: it goes on where the last run left it, and as much passes on it as really passes.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from msgspec import Struct

from bridge.times import now

MOST_ADDED = 3_600_000  # milliseconds that a restart may add where only the wall clock can say how long it took
STEP = 1_000  # milliseconds from which a difference between the clocks is told

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux: it goes on while the machine sleeps
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def since_boot() -> int:
    """Milliseconds that the machine has run, and slept; nobody can set them, and they are the same to every process."""
    return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


@cache
def boot() -> str | None:
    """Which start of which machine this is (random(4)); None where that cannot be told."""
    try:
        return _BOOT_ID.read_text().strip() or None
    except OSError:
        return None


class Seen(Struct, frozen=True, kw_only=True):
    """What the clocks showed at one moment."""

    running: int
    wall: int
    since_boot: int
    boot: str | None


class Clock:
    """Both clocks, in milliseconds since 1970. The first run ever sets the running one by the wall clock."""

    def __init__(
        self,
        wall: Callable[[], int] = now,
        since_boot: Callable[[], int] = since_boot,
        boot: Callable[[], str | None] = boot,
    ) -> None:
        self.wall = wall
        self._since_boot = since_boot
        self._boot = boot
        self._booted_at = wall() - since_boot()  # on the running clock
        self._ahead = 0  # the wall clock, of the running one, as far as it was told

    def running(self) -> int:
        """The running clock."""
        return self._booted_at + self._since_boot()

    def on_wall(self, moment: int) -> int:
        """What the wall clock shows, as it is set now, at a moment of the running clock that is not far away."""
        return moment + self.wall() - self.running()

    def seen(self) -> Seen:
        """What the clocks show now, for `go_on` of a later run."""
        since_boot = self._since_boot()
        running = self._booted_at + since_boot
        return Seen(running=running, wall=self.wall(), since_boot=since_boot, boot=self._boot())

    def go_on(self, last: Seen) -> None:
        """Let the running clock go on from where it was last seen, in an earlier run.

        How long that is ago the machine knows, unless it was started since, or is another one. Then the wall clock
        says it, as far as it can be believed: it may have been set meanwhile, so it adds `MOST_ADDED` at most.
        """
        since_boot = self._since_boot()
        passed = since_boot - last.since_boot
        if passed < 0 or last.boot is None or last.boot != self._boot():
            passed = min(max(0, self.wall() - last.wall), MOST_ADDED)
        self._booted_at = last.running + passed - since_boot
        self._ahead = last.wall - last.running

    def step(self) -> int:
        """By how much the wall clock was set since this was last asked, or since the last run; negative: back."""
        ahead = self.wall() - self.running()
        step = ahead - self._ahead
        if abs(step) < STEP:
            return 0
        self._ahead = ahead
        return step
