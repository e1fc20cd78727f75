"""Each thing is told of once, when its time is over, unless it ended before; by one timer."""

import asyncio
import selectors
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.deadlines import Deadlines

WITHIN = 10.0
things = st.integers(0, 5)
moves = st.one_of(
    st.tuples(st.just("start"), things),
    st.tuples(st.just("stop"), things),
    st.tuples(st.just("wait"), st.integers(0, 9)),
)


class Jumping(asyncio.SelectorEventLoop):
    """An event loop that never waits: its clock jumps to whatever is due next."""

    def __init__(self) -> None:
        super().__init__(_Selector(self))
        self.at = 1000.0
        self.timers = 0

    def time(self) -> float:
        return self.at

    def call_at(self, *args: Any, **context: Any) -> Any:  # type: ignore[override]
        self.timers += 1
        return super().call_at(*args, **context)


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: Jumping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.at += timeout or 0
        return super().select(0)


@given(st.lists(moves))
def test_what_did_not_end_in_time_is_told_of_once_when_its_time_is_over(made: list[tuple[str, int]]) -> None:
    told: list[tuple[int, float]] = []
    due: dict[int, float] = {}
    expected: list[tuple[int, float]] = []

    async def run(loop: Jumping) -> None:
        deadlines: Deadlines[int] = Deadlines(WITHIN, lambda thing: told.append((thing, loop.time())))
        for what, value in [*made, ("wait", 20), ("wait", 20)]:
            if what == "start":
                deadlines.start(value)
                due.setdefault(value, loop.at + WITHIN)
            elif what == "stop":
                deadlines.stop(value)
                due.pop(value, None)
            else:
                await asyncio.sleep(value)
                expected.extend(_over(due, loop.at))

    with asyncio.Runner(loop_factory=Jumping) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Jumping)
        runner.run(run(loop))
    assert [thing for thing, _ in told] == [thing for thing, _ in expected]
    assert all(abs(at - due_at) < 0.01 for (_, at), (_, due_at) in zip(told, expected, strict=True))


def _over(due: dict[int, float], now: float) -> list[tuple[int, float]]:
    over = [(thing, at) for thing, at in due.items() if at <= now]
    for thing, _ in over:
        del due[thing]
    return over


def test_a_thousand_things_that_end_in_time_take_one_timer() -> None:
    async def run(loop: Jumping) -> int:
        deadlines: Deadlines[int] = Deadlines(WITHIN, lambda _: None)
        before = loop.timers
        for thing in range(1000):
            deadlines.start(thing)
            deadlines.stop(thing)
        return loop.timers - before

    with asyncio.Runner(loop_factory=Jumping) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Jumping)
        assert runner.run(run(loop)) == 1


def test_another_event_loop_watches_when_the_first_has_ended() -> None:
    told: list[str] = []
    deadlines: Deadlines[str] = Deadlines(WITHIN, told.append)

    async def start(thing: str) -> None:
        deadlines.start(thing)

    async def wait(thing: str) -> None:
        deadlines.start(thing)
        await asyncio.sleep(WITHIN + 1)

    for thing, run in (("cut off", start), ("watched", wait)):
        with asyncio.Runner(loop_factory=Jumping) as runner:
            runner.run(run(thing))
    assert "watched" in told


def test_what_was_told_of_may_start_again() -> None:
    told: list[str] = []

    async def run() -> None:
        deadlines: Deadlines[str] = Deadlines(WITHIN, told.append)
        for _ in range(2):
            deadlines.start("it")
            await asyncio.sleep(WITHIN + 1)

    with asyncio.Runner(loop_factory=Jumping) as runner:
        runner.run(run())
    assert told == ["it", "it"]
