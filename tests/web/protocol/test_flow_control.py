"""Connections that send more than a request at once take turns, and leave time for everybody else."""

import asyncio
import socket
import time
from itertools import pairwise

import pytest

from bridge.web.protocol.flow_control import ConnectionFlow, ReadQueue
from web.test_public import until

from .test_fast_path import Transport

pytestmark = pytest.mark.anyio


class Reads:
    """What is read, in order; a turn of it takes some seconds of work."""

    def __init__(self, takes: float = 0) -> None:
        self.seen: list[int] = []
        self.times: list[tuple[float, float]] = []  # when each began and ended
        self.read_queue = ReadQueue()
        self._takes = takes

    def flow(self, number: int, transport: Transport | None = None) -> ConnectionFlow:
        def read_on() -> bool:
            self.seen.append(number)
            began = time.perf_counter()
            while time.perf_counter() < began + self._takes:
                pass
            self.times.append((began, time.perf_counter()))
            return True

        flow = ConnectionFlow(transport or Transport(), self.read_queue, read_on)
        flow.pause_reading()
        return flow


async def test_a_few_are_read_in_each_turn_of_the_loop_in_the_order_in_which_they_came() -> None:
    reads = Reads()
    flows = [reads.flow(number) for number in range(10)]
    for flow in flows:
        flow.resume_reading()
        flow.resume_reading()  # once is enough
    assert reads.seen == []
    await asyncio.sleep(0)
    assert reads.seen == [0, 1, 2, 3]
    flows[0].pause_reading()
    flows[0].resume_reading()
    await until(lambda: len(reads.seen) == 11)
    assert reads.seen == [*range(10), 0]
    assert not any(flow.read_paused for flow in flows)


async def test_nobody_reads_who_was_not_paused_or_is_closed() -> None:
    reads = Reads()
    transport = Transport()
    reading, closed = reads.flow(1), reads.flow(2, transport)
    reading.resume_reading()
    closed.resume_reading()
    transport.close()
    await until(lambda: not reading.read_paused)
    reading.resume_reading()
    for _ in range(3):
        await asyncio.sleep(0)
    assert reads.seen == [1]


@pytest.mark.timing
async def test_after_much_work_everybody_else_has_as_long() -> None:
    reads = Reads(takes=0.02)
    flow = reads.flow(1)
    for count in range(1, 4):
        flow.pause_reading()
        flow.resume_reading()
        await until(lambda: len(reads.seen) == count)  # noqa: B023 - it is asked in this turn of the loop
    for (began, ended), (next_one, _) in pairwise(reads.times):
        assert next_one - ended >= ended - began - 0.002  # timers go off as much as a millisecond early


async def test_a_turn_that_fails_ends_its_connection_and_nobody_elses() -> None:
    loop = asyncio.get_running_loop()
    queue, seen, told = ReadQueue(), list[int](), list[BaseException]()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    ours, theirs = zip(*(socket.socketpair() for _ in range(6)), strict=True)
    try:
        for number, one in enumerate(ours):
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)

            def read_on(number: int = number) -> bool:
                seen.append(number)
                if number == 1:
                    raise RuntimeError("broken")
                return True

            flow = ConnectionFlow(transport, queue, read_on)
            flow.pause_reading()
            flow.resume_reading()
        await until(lambda: len(seen) == 6)
        assert seen == [0, 1, 2, 3, 4, 5]
        assert [str(error) for error in told] == ["broken"]
        theirs[1].settimeout(10)
        assert await asyncio.to_thread(theirs[1].recv, 1) == b""
        theirs[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs[0].recv(1)
    finally:
        for one in (*ours, *theirs):
            one.close()
