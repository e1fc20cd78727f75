"""A timeout queue: many items, one event-loop timer.

Most end long before. A timer for each would take as long as reading a webhook's headers.
"""

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Generic, TypeVar

T = TypeVar("T")


class TimeoutQueue(Generic[T]):
    """Things that have `within` seconds each, and are handed to `over` where they took longer. For one event loop."""

    def __init__(self, within: float, over: Callable[[T], None]) -> None:
        self._within = within
        self._over = over
        self._due: dict[T, float] = {}  # in the order in which they are due
        self._loop: asyncio.AbstractEventLoop | None = None  # that watches

    def start(self, thing: T) -> None:
        """Let its time run from now, unless it runs already."""
        loop = asyncio.get_running_loop()
        self._due.setdefault(thing, loop.time() + self._within)
        if self._loop is not loop:  # nothing was watched, or by a loop that has ended
            self._loop = loop
            loop.call_later(self._within, self._look, loop)

    def stop(self, thing: T) -> None:
        """It ended in time, or nobody waits for it any more."""
        self._due.pop(thing, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        over = [thing for thing, _ in takewhile(lambda due: due[1] <= now, self._due.items())]
        for thing in over:
            del self._due[thing]
        self._loop = loop if self._due else None
        if self._due:
            loop.call_at(next(iter(self._due.values())), self._look, loop)
        for thing in over:
            self._over(thing)
