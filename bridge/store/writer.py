"""One thread that writes: whatever waits is committed together, so one fsync serves many callers (group commit)."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bridge.deadlines import Deadlines
from bridge.errors import StoreError, StoreUnavailable

A = TypeVar("A")
R = TypeVar("R")
Operation = Callable[[Connection, Sequence[A]], Sequence[R]]
_Future = asyncio.Future[Any]
_Job = tuple[Operation[Any, Any], Any, _Future]  # with its argument, and who waits for the result

_BATCH = 256  # callers from which on no more are added to a commit: bounds how long the first of them waits
_BACKLOG = 10_000  # calls not yet dealt with: beyond it the disk does not keep up, and the sender should hear so

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Turn:
    """What came within one turn of an event loop. It is handed over together, so that the thread is woken once."""

    loop: asyncio.AbstractEventLoop
    jobs: list[_Job]


class Writer:
    """Runs operations on the store, each for all its waiting callers at once, in one transaction with the others.

    An operation is a function `(connection, arguments) -> results`, one result for each argument. It may run twice
    (when another caller's row fails, everybody is run again alone), so it has no effect but on the connection.
    `within` are the seconds that a caller waits who wants an answer in time.
    """

    def __init__(self, engine: Engine, within: float) -> None:
        self._engine = engine
        self._within = within
        self._deadlines = Deadlines(within, self._give_up)
        self._connection: Connection | None = None  # the thread's own, kept: a pool would ask it to reset each time
        self._turns: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._turn: _Turn | None = None
        self._taken = 0  # calls so far, counted by the loop; those of callers that gave up keep their memory
        self._dealt_with = 0  # of them, counted by the thread
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def run(self, operation: Operation[A, R], argument: A, *, in_time: bool = False) -> R:
        """Return the operation's result for this argument, once it is committed.

        Raises:
            StoreUnavailable: it was not committed, or nobody can tell; or not `in_time`.
            StoreError: what the operation itself has to say against it.
        """
        if self._ended:
            raise StoreUnavailable("the store is closed")
        if self._taken - self._dealt_with >= _BACKLOG:
            raise StoreUnavailable("the disk does not keep up")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        turn = self._turn
        if turn is None or turn.loop is not loop:
            turn = self._turn = _Turn(loop, [])
            loop.call_soon(self._wait_for_more, turn, 1)
        turn.jobs.append((operation, argument, future))
        self._taken += 1
        if not in_time:
            return cast("R", await future)
        self._deadlines.start(future)
        try:
            return cast("R", await future)
        finally:
            self._deadlines.stop(future)

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        if self._turn:
            self._hand_over(self._turn)
        self._turns.put(None)
        self._thread.join()

    def _give_up(self, future: _Future) -> None:
        if not future.done():
            future.set_exception(StoreUnavailable(f"the commit took over {self._within:g} s"))

    def _wait_for_more(self, turn: _Turn, seen: int) -> None:
        """Hand over once a turn brings no more: on one core, to wake the thread costs as much as a small commit."""
        if seen < len(turn.jobs) < _BATCH:
            turn.loop.call_soon(self._wait_for_more, turn, len(turn.jobs))
        else:
            self._hand_over(turn)

    def _hand_over(self, turn: _Turn) -> None:
        if self._turn is turn:
            self._turn = None
        jobs, turn.jobs = turn.jobs, []
        if jobs:
            self._turns.put(jobs)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended = True
            if self._connection:
                self._connection.close()

    def _work(self) -> None:
        while (batch := self._turns.get()) is not None:
            closing = False
            while len(batch) < _BATCH and not closing:
                try:
                    following = self._turns.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    closing = True
                else:
                    batch = batch + following
            # A caller that gave up before its turn is not served: it has told the sender to come again.
            results = self._commit([job for job in batch if not job[2].done()])
            self._dealt_with += len(batch)
            _deliver(results)
            if closing:
                return

    def _commit(self, batch: list[_Job]) -> list[tuple[_Future, Any]]:
        if not batch:
            return []
        groups: dict[Operation[Any, Any], tuple[list[Any], list[_Future]]] = {}
        for operation, argument, future in batch:
            arguments, futures = groups.setdefault(operation, ([], []))
            arguments.append(argument)
            futures.append(future)
        try:
            connection = self._connection = self._connection or self._engine.connect()
            with connection.begin():
                results: list[tuple[_Future, Any]] = []
                for operation, (arguments, futures) in groups.items():
                    results += zip(futures, operation(connection, arguments), strict=True)
            return results
        except Exception as error:
            lost = isinstance(error, DBAPIError) and error.connection_invalidated
            if len(batch) > 1 and not lost:
                return [outcome for job in batch for outcome in self._commit([job])]
            _log.debug("a transaction failed", exc_info=error)
            return [(future, _failure(error)) for _, _, future in batch]


def _failure(error: Exception) -> StoreError:
    """What the caller hears: the operation's own word, or the driver's.

    Of the driver's words only the first line, since PostgreSQL goes on with values of the row.
    """
    if isinstance(error, StoreError):
        return error
    words = str(error.orig if isinstance(error, DBAPIError) and error.orig else type(error).__doc__ or "")
    words = words.partition("\n")[0][:200]
    failure = StoreUnavailable(f"{type(error).__name__}: {words}")
    failure.__cause__ = error
    return failure


def _deliver(results: list[tuple[_Future, Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Future, Any]]] = {}
    for result in results:
        by_loop.setdefault(result[0].get_loop(), []).append(result)
    for loop, its in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, its)
        except RuntimeError:  # the loop is closed: nobody waits any more
            _log.debug("results for a closed loop are dropped")


def _resolve(results: list[tuple[_Future, Any]]) -> None:
    for future, result in results:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
