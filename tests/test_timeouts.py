"""Each thing is told of once, when its time is over, unless it ended before; by one timer."""

import asyncio
from collections.abc import Awaitable, Callable

from clocks import Hand
from forwarding.world import Loop
from hypothesis import given
from hypothesis import strategies as st

from bridge.timeouts import TimeoutQueue

WITHIN = 10  # seconds
things = st.integers(0, 5)
moves = st.one_of(
    st.tuples(st.just("start"), things),
    st.tuples(st.just("stop"), things),
    st.tuples(st.just("wait"), st.integers(0, 19)),
)


class Timers(Loop):
    """Counts its timers."""

    made = 0

    def call_at(self, *args, **context):  # type: ignore[no-untyped-def, override]
        self.made += 1
        return super().call_at(*args, **context)


def run(story: Callable[[Callable[[float], Awaitable[None]]], Awaitable[None]]) -> int:
    """Run a story, which is given a way to let seconds pass; how many timers it took."""
    hand = Hand()

    async def wait(seconds: float) -> None:
        hand.at += round(seconds * 1000)
        for _ in range(3):  # for the timer's turn to come
            await asyncio.sleep(0)

    async def told() -> None:
        await story(wait)

    loop = Timers(hand)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(told())
    return loop.made


@given(st.lists(moves))
def test_what_did_not_end_in_time_is_told_of_once_when_its_time_is_over(made: list[tuple[str, int]]) -> None:
    told: list[int] = []
    expected: list[int] = []

    async def story(wait: Callable[[float], Awaitable[None]]) -> None:
        deadlines: TimeoutQueue[int] = TimeoutQueue(WITHIN, told.append)
        due: dict[int, int] = {}
        now = 0
        for what, value in [*made, ("wait", WITHIN)]:
            if what == "start":
                deadlines.start(value)
                due.setdefault(value, now + WITHIN)
            elif what == "stop":
                deadlines.stop(value)
                due.pop(value, None)
            else:
                await wait(value)
                now += value
                over = [thing for thing, at in due.items() if at <= now]
                expected.extend(over)
                for thing in over:
                    del due[thing]
            assert told == expected
        assert not due

    run(story)


def test_a_thousand_things_that_end_in_time_take_one_timer() -> None:
    async def story(_: object) -> None:
        deadlines: TimeoutQueue[int] = TimeoutQueue(WITHIN, lambda _: None)
        for thing in range(1000):
            deadlines.start(thing)
            deadlines.stop(thing)

    assert run(story) == 1


def test_another_event_loop_watches_when_the_first_has_ended() -> None:
    told: list[str] = []
    deadlines: TimeoutQueue[str] = TimeoutQueue(WITHIN, told.append)

    async def cut_off(_: object) -> None:
        deadlines.start("cut off")

    async def watched(wait: Callable[[float], Awaitable[None]]) -> None:
        deadlines.start("watched")
        await wait(WITHIN)

    run(cut_off)
    run(watched)
    assert told == ["cut off", "watched"]
