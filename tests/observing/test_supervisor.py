"""Long-running tasks: one that fails is told, counted and begun anew; the others go on."""

import asyncio

import pytest
from forwarding.support import logged

from bridge.observing import logs
from bridge.observing.supervisor import Supervisor

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


class Task:
    """A task that fails so many times, and then goes on until it is told to end."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.goes_on, self.ends = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        if self.left:
            self.left -= 1
            raise ValueError("what it says may quote a body")
        self.goes_on.set()
        await self.ends.wait()


async def test_a_task_that_fails_is_told_counted_and_begun_anew_with_growing_waits() -> None:
    counted: list[str] = []
    supervisor, failing, well = Supervisor(counted.append, first_wait=0.001), Task(3), Task(0)
    with logged() as log:
        supervisor.start("failing", failing.run)
        supervisor.start("well", well.run)
        await failing.goes_on.wait()
        assert well.goes_on.is_set()
        assert supervisor.failing() == ["failing"]
        await supervisor.stop()
    lines = log.named(logs.TASK_FAILED)
    assert [(line["task"], line["again_in"], line["error"]) for line in lines] == [
        ("failing", 0.001, "ValueError"),
        ("failing", 0.002, "ValueError"),
        ("failing", 0.004, "ValueError"),
    ]
    assert "quote" not in str(lines)
    assert counted == ["failing"] * 3


async def test_what_ends_by_itself_is_waited_for_and_not_begun_anew() -> None:
    supervisor, task = Supervisor(), Task(0)
    supervisor.start("one", task.run)
    await task.goes_on.wait()
    task.ends.set()
    await supervisor.ended("one")
    assert supervisor.failing() == []


async def test_what_waits_to_be_begun_anew_holds_up_no_end() -> None:
    supervisor, task = Supervisor(first_wait=3600), Task(1)
    with logged():
        supervisor.start("one", task.run)
        while not supervisor.failing():  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        await supervisor.ended("one", "another that was never begun")
    assert not task.goes_on.is_set()
