"""One worker thread for long work, taken in fair turns, so that the event loop stays free.

Of each source one piece of work is under way; its others wait in line, so that a source whose work is slow waits behind
itself. Sources take turns: who has a turn hands over a slice at a time, and the thread takes slices as they come.
"""

import asyncio
import sys
import threading
from bisect import insort
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, NamedTuple, TypeVar

from bridge.errors import Refused

R = TypeVar("R")

SLICE = 0.01  # seconds of the processor's that a slice may take where its work can be left: others wait meanwhile
PROVEN: Final = -1.0  # the rank of work for webhooks that are proven genuine; what is not ranks from 0
_ROOM = 64 << 20  # bytes that wait in all lines
_LEAST = 64 << 10  # bytes that count for whatever waits
_WITHIN = 10.0  # seconds in line: by then most senders have given up


class _Waiting(NamedTuple):
    """One in line. The rank counts, then who came first; `number` is never the same, so nothing else is compared."""

    rank: float
    number: int
    size: int
    turn: asyncio.Future[None]


class OffLoop:
    """The thread, and the lines before it, by source. `room` bytes may wait in them, each for `within` seconds."""

    def __init__(self, room: int = _ROOM, within: float = _WITHIN) -> None:
        self._room = room
        self._within = within
        self._held = 0
        self._count = 0
        self._lines: dict[str, list[_Waiting]] = {}  # of sources that have work under way
        self._thread = ThreadPoolExecutor(1, "off-loop")  # starts with the first slice

    def is_busy(self, source: str) -> bool:
        """Whether who wants a turn of this source's has to wait for it."""
        return source in self._lines

    @asynccontextmanager
    async def turn(self, source: str, size: int, rank: float = PROVEN) -> AsyncIterator[None]:
        """Have the source's turn: the lowest rank goes first, then who came first.

        `size` are the bytes of a request that waits meanwhile; 0 where none does, which is never refused.

        Raises:
            Refused: it took too long, or there is no room for all that wait, and this is the least of them.
        """
        if self.is_busy(source):
            await self._wait(source, size and max(size, _LEAST), rank)
        else:
            self._lines[source] = []
        try:
            yield
        finally:
            self._pass_on(source)

    async def run(self, work: Callable[[], R]) -> R:
        """Do a slice of work in the thread, for who has a turn; what it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _done, work)

    def close(self) -> None:
        """End the thread, after the slice that it is at."""
        self._thread.shutdown(cancel_futures=True)

    async def _wait(self, source: str, size: int, rank: float) -> None:
        loop = asyncio.get_running_loop()
        self._count += 1
        waiting = _Waiting(rank, self._count, size, loop.create_future())
        line = self._lines[source]
        insort(line, waiting)
        self._held += size
        while self._held > self._room:
            self._refuse_one()
        timer = loop.call_later(self._within, self._refuse, line, waiting) if size else None
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in line:
                self._leave(line, waiting)
            elif not waiting.turn.cancelled() and not waiting.turn.exception():
                self._pass_on(source)  # it came just when nobody waited for it any more
            raise
        finally:
            if timer:
                timer.cancel()

    def _refuse_one(self) -> None:
        """Refuse the last in the line that holds most."""
        fullest = max(self._lines.values(), key=lambda line: sum(waiting.size for waiting in line))
        self._refuse(fullest, next(waiting for waiting in reversed(fullest) if waiting.size))

    def _refuse(self, line: list[_Waiting], waiting: _Waiting) -> None:
        self._leave(line, waiting)
        if not waiting.turn.done():
            detail = "earlier webhooks of this source take long, please send it again"
            waiting.turn.set_exception(Refused("source_busy", detail, retry_after=self._within))

    def _pass_on(self, source: str) -> None:
        line = self._lines[source]
        while line:
            following = line[0]
            self._leave(line, following)
            if not following.turn.done():
                following.turn.set_result(None)
                return
        del self._lines[source]

    def _leave(self, line: list[_Waiting], waiting: _Waiting) -> None:
        line.remove(waiting)
        self._held -= waiting.size


def _done(work: Callable[[], R]) -> R:
    with sharing_the_lock:
        return work()


class _Sharing:
    """While any thread is in it, threads that wait for the interpreter's lock get it ten times as soon.

    A webhook takes the lock a dozen times on its way through loop and writer. Beside a thread that computes it would
    wait the usual 5 ms each time.
    """

    _INTERVAL = 0.0005  # seconds

    def __init__(self) -> None:
        self._count = 0
        self._usual = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1
            if self._count == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(self._INTERVAL)

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                sys.setswitchinterval(self._usual)


sharing_the_lock = _Sharing()
"""For whatever computes beside the event loop."""
