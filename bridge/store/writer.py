"""A writer thread with group commit: whatever waits is committed together, so one fsync serves many callers."""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bridge.errors import StoreError, StoreUnavailable
from bridge.store import checkpoints, dialects
from bridge.timeouts import TimeoutQueue

A = TypeVar("A")
R = TypeVar("R")
Operation = Callable[[Connection, Sequence[A]], Sequence[R]]
_Future = asyncio.Future[Any]
_Job = tuple[Operation[Any, Any], Any, _Future, int]  # with its argument, who waits for the result, and what it costs

# How long others wait for a commit is bounded by calls and by cost: bytes to write, or what takes as long as so many.
_SMALL = 4 << 10  # the cost of a call that says nothing else
_GROUP = 256  # calls from which on no more are added to a commit
_GROUP_COST = 4 << 20  # of a commit that several share: 50 ms
_LARGE = 256 << 10  # the cost from which on a call has a commit of its own, between two that others share
_BACKLOG = 10_000  # calls not yet dealt with: beyond it the disk does not keep up, and the sender should hear so
_BACKLOG_COST = 64 << 20  # of them, since their bodies are in memory; large calls are counted apart from others

_CLOSED = "the store is closed"

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Turn:
    """What came within one turn of an event loop. It is handed over together, so that the thread is woken once."""

    loop: asyncio.AbstractEventLoop
    jobs: list[_Job] = field(default_factory=list)
    large: list[_Job] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Line:
    """How many calls of a kind wait, those of callers that gave up included: their bodies are still in memory."""

    taken: int = 0  # so far, counted by the loop
    cost_taken: int = 0
    dealt_with: int = 0  # of them, counted by the thread
    cost_dealt_with: int = 0


class Writer:
    """Runs operations on the store, each for all its waiting callers at once, in one transaction with the others.

    An operation is a function `(connection, arguments) -> results`, one result for each argument. It may run twice
    (when another caller's row fails, everybody is run again alone), so it has no effect but on the connection.
    `within` are the seconds that a caller waits who wants an answer in time.

    A large call shares no transaction, and between two of them all others have a turn: nobody waits for more than one,
    nor for the checkpoint that SQLite would add to it.
    """

    def __init__(self, engine: Engine, within: float) -> None:
        self._engine = engine
        self._long = dialects.of_url(engine.url).LONG
        self._within = within
        self._timeouts = TimeoutQueue(within, self._give_up)
        self._connection: Connection | None = None  # the thread's own, kept: a pool would ask it to reset each time
        self._turns: queue.SimpleQueue[tuple[list[_Job], list[_Job]] | None] = queue.SimpleQueue()
        self._between: queue.SimpleQueue[tuple[Callable[[Any], Any], _Future]] = queue.SimpleQueue()
        self._turn: _Turn | None = None
        self._light, self._large = _Line(), _Line()
        self._handing_over = threading.Lock()  # whoever closes does so from any thread
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def run(self, operation: Operation[A, R], argument: A, *, in_time: bool = False, cost: int = _SMALL) -> R:
        """Return the operation's result for this argument, once it is committed. `cost` is in bytes.

        Raises:
            StoreUnavailable: it was not committed, or nobody can tell; or not `in_time`.
            StoreError: what the operation itself has to say against it.
        """
        line = self._light if cost < _LARGE else self._large
        if line.taken - line.dealt_with >= _BACKLOG or line.cost_taken - line.cost_dealt_with >= _BACKLOG_COST:
            raise StoreUnavailable("the disk does not keep up")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._handing_over:
            if self._closed:
                raise StoreUnavailable(_CLOSED)
            turn = self._turn
            if turn is None or turn.loop is not loop:
                turn = self._turn = _Turn(loop)
                loop.call_soon(self._wait_for_more, turn, 1)
            (turn.jobs if cost < _LARGE else turn.large).append((operation, argument, future, cost))
        line.taken += 1
        line.cost_taken += cost
        if not in_time:
            return cast("R", await future)
        self._timeouts.start(future)
        try:
            return cast("R", await future)
        finally:
            self._timeouts.stop(future)

    async def between(self, work: Callable[[Any], R]) -> R:
        """Run `work` between two transactions, with the driver's connection: what none of them can hold.

        Raises:
            StoreUnavailable: it failed.
        """
        future = asyncio.get_running_loop().create_future()
        with self._handing_over:
            if self._closed:
                raise StoreUnavailable(_CLOSED)
            self._between.put((work, future))
            self._turns.put(([], []))  # wakes the thread
        return cast("R", await future)

    def close(self) -> None:
        """Finish what waits, then end the thread. Whoever comes from now on is refused."""
        with self._handing_over:
            if self._turn:
                self._put(self._turn)
            self._closed = True
            self._turns.put(None)
        self._thread.join()

    def _give_up(self, future: _Future) -> None:
        if not future.done():
            future.set_exception(StoreUnavailable(f"the commit took over {self._within:g} s"))

    def _wait_for_more(self, turn: _Turn, seen: int) -> None:
        """Hand over once a turn brings no more: on one core, to wake the thread costs as much as a small commit."""
        if seen < len(turn.jobs) < _GROUP:
            turn.loop.call_soon(self._wait_for_more, turn, len(turn.jobs))
        else:
            self._hand_over(turn)

    def _hand_over(self, turn: _Turn) -> None:
        with self._handing_over:
            self._put(turn)

    def _put(self, turn: _Turn) -> None:
        if self._turn is turn:
            self._turn = None
        jobs, large, turn.jobs, turn.large = turn.jobs, turn.large, [], []
        if jobs or large:
            self._turns.put((jobs, large))

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._closed = True
            if self._connection:
                self._connection.close()

    def _work(self) -> None:
        light: list[_Job] = []
        large: deque[_Job] = deque()
        closing = checkpoint_is_due = False
        while light or large or checkpoint_is_due or not closing:
            while len(light) < _GROUP and not closing:
                try:
                    is_idle = not (light or large or checkpoint_is_due or self._between.qsize())
                    turn = self._turns.get(block=is_idle)
                except queue.Empty:
                    break
                if turn is None:
                    closing = True
                else:
                    light = light + turn[0] if light else turn[0]
                    large += turn[1]
            light = self._serve(light, self._light)
            if checkpoint_is_due:
                self._done(checkpoints.make_up_for_it)
                checkpoint_is_due = False
            elif large:
                job = large.popleft()
                checkpoint_is_due = job[3] >= self._long and self._done(checkpoints.put_off) is True
                self._serve([job], self._large)
            while self._between.qsize() and not checkpoint_is_due:
                work, future = self._between.get()
                _deliver([(future, self._done(work))])

    def _serve(self, jobs: list[_Job], line: _Line) -> list[_Job]:
        """Commit as many of the jobs as one transaction may hold; return the others."""
        count, cost = len(jobs), sum([job[3] for job in jobs])
        while cost > _GROUP_COST and count > 1:
            count -= 1
            cost -= jobs[count][3]
        batch, rest = (jobs, []) if count == len(jobs) else (jobs[:count], jobs[count:])
        # A caller that gave up before its turn is not served: it has told the sender to come again.
        results = self._commit([job for job in batch if not job[2].done()])
        line.dealt_with += count
        line.cost_dealt_with += cost
        _deliver(results)
        return rest

    def _done(self, work: Callable[[Any], Any]) -> Any:
        try:
            connection = self._connection = self._connection or self._engine.connect()
            return work(connection.connection.dbapi_connection)
        except Exception as error:
            return _failure(error)

    def _commit(self, batch: list[_Job]) -> list[tuple[_Future, Any]]:
        if not batch:
            return []
        groups: dict[Operation[Any, Any], tuple[list[Any], list[_Future]]] = {}
        for operation, argument, future, _ in batch:
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
            return [(job[2], _failure(error)) for job in batch]


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
