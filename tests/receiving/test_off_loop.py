"""Work beside the event loop: one piece of each source at a time, in fair turns, bounded in bytes and time."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from clocks import Hand
from forwarding.world import Loop
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.receiving.off_loop import PROVEN, OffLoop

MIB = 1 << 20

pytestmark = pytest.mark.anyio


@pytest.fixture
def off_loop() -> Iterator[OffLoop]:
    made = OffLoop(room=4 * MIB, within=60)
    yield made
    made.close()


class Line:
    """Pieces of work that wait for turns, and the order in which these came."""

    def __init__(self, off_loop: OffLoop) -> None:
        self.off_loop = off_loop
        self.came: list[str] = []
        self.refused: list[str] = []
        self.answers: set[tuple[str, float | None]] = set()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, *turn: Any, source: str = "shop") -> None:
        """One more that wants a turn, and keeps it until it ends."""
        self.ends[name] = asyncio.Event()

        async def work() -> None:
            try:
                async with self.off_loop.turn(source, *turn):
                    self.came.append(name)
                    await self.ends[name].wait()
            except Refused as error:
                self.refused.append(name)
                self.answers.add((error.reason, error.retry_after))

        self.tasks[name] = asyncio.create_task(work())
        for _ in range(2):  # for whoever is refused by it, too
            await asyncio.sleep(0)

    async def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
            await self.tasks[name]
            await asyncio.sleep(0)


async def test_one_of_a_source_is_under_way_and_the_lowest_rank_is_next(off_loop: OffLoop) -> None:
    line = Line(off_loop)
    await line.begin("first", 1, 9)
    for name, rank in (("failed often", 7), ("never failed", 0), ("failed once", 1), ("proven", PROVEN), ("too", 0)):
        await line.begin(name, 1, rank)
    assert line.came == ["first"]
    await line.begin("other source", 1, 50, source="other")
    assert line.came == ["first", "other source"]
    await line.end("first", "proven", "never failed", "too", "failed once", "failed often", "other source")
    assert line.came == ["first", "other source", "proven", "never failed", "too", "failed once", "failed often"]
    assert not off_loop.is_busy("shop")
    assert not off_loop._held


async def test_where_there_is_no_room_the_last_of_the_source_that_holds_most_is_refused(off_loop: OffLoop) -> None:
    line = Line(off_loop)
    for source in ("shop", "mail"):
        await line.begin(f"{source} at work", 3 * MIB, source=source)
    await line.begin("shop: proven", 2 * MIB, PROVEN)
    await line.begin("shop: failed often", MIB, 9)
    await line.begin("shop: patient", 0, 99)
    assert line.refused == []
    await line.begin("mail", 2 * MIB, source="mail")
    assert line.refused == ["shop: failed often"]
    await line.begin("shop: newer", MIB, PROVEN)
    assert line.refused == ["shop: failed often", "shop: newer"]
    assert line.answers == {("source_busy", 60)}
    await line.end("shop at work", "mail at work", "mail", "shop: proven", "shop: patient")
    assert not off_loop._held


def test_who_waits_too_long_is_refused_but_for_the_patient() -> None:
    hand = Hand()

    async def story() -> None:
        off_loop = OffLoop(within=10)
        line = Line(off_loop)
        await line.begin("first", 1)
        await line.begin("patient", 0)
        await line.begin("second", 1)
        hand.at += 9_000
        await line.begin("third", 1)
        await turned()
        assert line.refused == []
        hand.at += 1_000
        await turned()
        assert line.refused == ["second"]
        await line.end("first", "patient")
        hand.at += 60_000
        await turned()
        assert line.came == ["first", "patient", "third"], "one whose turn has come is not refused any more"
        await line.end("third")
        assert not off_loop.is_busy("shop")

    async def turned() -> None:
        for _ in range(4):  # for the timers' turn to come
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: Loop(hand)) as runner:
        runner.run(story())


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "cancel"]), st.integers(0, 5)), max_size=30))
def test_whoever_gives_up_leaves_the_others_their_turns(moves: list[tuple[str, int]]) -> None:
    async def story() -> None:
        off_loop = OffLoop(within=1000)
        line = Line(off_loop)
        for number, (move, which) in enumerate(moves):
            names = [name for name, task in line.tasks.items() if not task.done()]
            if move == "begin":
                await line.begin(str(number), MIB, which)
            elif names:
                name = names[which % len(names)]
                line.ends[name].set()
                if move == "cancel":  # now, or just when its turn comes
                    line.ends[names[0]].set()
                    line.tasks[name].cancel()
                await asyncio.sleep(0)
        for event in line.ends.values():
            event.set()
        await asyncio.gather(*line.tasks.values(), return_exceptions=True)
        assert not off_loop.is_busy("shop")
        assert not off_loop._held

    asyncio.run(story())


async def test_slices_of_several_sources_take_turns_in_one_thread(off_loop: OffLoop) -> None:
    done: list[tuple[str, int]] = []
    threads: set[str] = set()
    gate = threading.Event()

    def slice_(source: str, number: int) -> None:
        threads.add(threading.current_thread().name)
        done.append((source, number))

    async def work(source: str) -> None:
        async with off_loop.turn(source, 1):
            for number in range(3):
                await off_loop.run(lambda: slice_(source, number))  # noqa: B023 - it is run at once

    try:
        async with off_loop.turn("gate", 1):
            held = asyncio.ensure_future(off_loop.run(gate.wait))
            works = [asyncio.create_task(work(source)) for source in "abc"]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(held, *works)
    finally:
        gate.set()
    assert done == [(source, number) for number in range(3) for source in "abc"]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


async def test_others_get_the_lock_sooner_while_it_works_and_as_ever_afterwards(off_loop: OffLoop) -> None:
    usual = sys.getswitchinterval()

    def fail() -> None:
        raise ZeroDivisionError

    async with off_loop.turn("shop", 1):
        assert await off_loop.run(sys.getswitchinterval) < usual / 5
        with suppress(ZeroDivisionError):
            await off_loop.run(fail)
    assert sys.getswitchinterval() == usual
