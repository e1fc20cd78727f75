"""Read flow control: connections that send more than one whole request are read in turn.

A webhook mostly comes in one piece. Whoever sends a body in many, crumbs of chunks, or on and on after a refusal, could
otherwise have as much of each turn of the event loop as its connections bring.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter

from uvicorn.protocols.http.flow_control import FlowControl

_AT_ONCE = 4  # connections in a turn of the event loop
_LONG = 0.0002  # seconds of work for them in a turn; after more, everybody else has a while
_REST = 0.001


class ReadQueue:
    """The connections of a port that wait to be read on, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[ConnectionFlow, None] = {}
        self._is_due = False  # the next turn

    def wait(self, flow: "ConnectionFlow") -> None:
        """Let a connection be read on when its turn comes."""
        self._waiting[flow] = None
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        began, took = perf_counter(), 0.0
        try:
            for _ in range(min(_AT_ONCE, len(self._waiting))):
                flow = next(iter(self._waiting))
                del self._waiting[flow]
                flow.turn()
                if (took := perf_counter() - began) > _LONG:
                    break
        finally:  # whatever became of this turn, the others wait for theirs
            self._is_due = bool(self._waiting) or took > _LONG
            if self._is_due:
                asyncio.get_running_loop().call_later(max(_REST, took) if took > _LONG else 0, self._go_on)


class ConnectionFlow(FlowControl):
    """One connection's. `read_on` reads what is left of what came, and says whether more should come."""

    def __init__(self, transport: asyncio.Transport, queue: ReadQueue, read_on: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._queue = queue
        self._read_on = read_on

    def resume_reading(self) -> None:
        if self.read_paused:
            self._queue.wait(self)

    def turn(self) -> None:
        """Its turn has come. Where that fails, the event loop hears of it, and the connection ends."""
        try:
            if not self._transport.is_closing() and self._read_on():
                super().resume_reading()
        except BaseException:
            self._transport.abort()
            raise
