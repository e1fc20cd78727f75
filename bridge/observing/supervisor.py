"""Long-running tasks, each with a name: one that fails is logged, counted and begun anew, with growing waits."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from bridge.observing import logs
from bridge.observing.logs import log

_FIRST_WAIT = 1.0  # seconds until a task that failed is begun anew; it doubles
_LONGEST_WAIT = 60.0


class Supervisor:
    """Runs tasks until they end by themselves, or all are stopped. `count` hears the name of each that failed."""

    def __init__(self, count: Callable[[str], None] = lambda _: None, *, first_wait: float = _FIRST_WAIT) -> None:
        self._count = count
        self._first_wait = first_wait
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed_at: dict[str, float] = {}
        self._waiting: set[str] = set()  # to be begun anew

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a task; where it fails, again."""
        self._tasks[name] = asyncio.create_task(self._supervise(name, run), name=name)

    def failing(self) -> list[str]:
        """The names of tasks that failed within the last two minutes: they may fail again."""
        lately = monotonic() - 2 * _LONGEST_WAIT
        return sorted(name for name, at in self._failed_at.items() if at > lately)

    async def ended(self, *names: str) -> None:
        """Return once these tasks have ended by themselves; those that failed are not begun anew."""
        for name in self._waiting.intersection(names):
            self._tasks[name].cancel()
        await asyncio.gather(*(self._tasks[name] for name in names if name in self._tasks), return_exceptions=True)

    async def stop(self, *names: str) -> None:
        """End these tasks; where none is named, all."""
        tasks = [task for name, task in self._tasks.items() if not names or name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        wait = self._first_wait
        while True:
            began = monotonic()
            try:
                await run()
                return
            except Exception as error:
                if monotonic() - began > _LONGEST_WAIT:
                    wait = self._first_wait
                self._failed_at[name] = monotonic()
                self._count(name)
                log.error(logs.TASK_FAILED, task=name, again_in=wait, **logs.where(error))
            self._waiting.add(name)
            await asyncio.sleep(wait)
            self._waiting.discard(name)
            wait = min(2 * wait, _LONGEST_WAIT)
