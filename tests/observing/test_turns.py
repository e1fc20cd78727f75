"""Lines of one turn are written together, in their order; none is lost, and none waits longer."""

import asyncio
import io
import json
import subprocess
import threading
from typing import cast

import pytest

from bridge.observing.turns import Turns

from .test_logs import lines, run


class Stream(io.BytesIO):
    """Keeps what was written at once apart."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.broken = broken

    def write(self, data: object) -> int:
        if self.broken:
            raise OSError("no space left on the device")
        self.writes.append(cast("bytes", data))
        return len(self.writes[-1])


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_lines_of_one_turn_are_written_together_after_it() -> None:
    async def main() -> None:
        turns.hold(b"1\n")
        turns.hold(b"2\n")
        assert stream.writes == []
        await turn()
        assert stream.writes == [b"1\n2\n"]
        turns.hold(b"3\n")
        await turn()

    stream = Stream()
    turns = Turns(stream)
    asyncio.run(main())
    assert stream.writes == [b"1\n2\n", b"3\n"]


def test_without_a_loop_a_line_is_written_at_once() -> None:
    stream = Stream()
    turns = Turns(stream)
    turns.hold(b"1\n")
    turns.hold(b"2\n")
    assert stream.writes == [b"1\n", b"2\n"]


def test_a_flush_writes_what_waits_before_it_and_the_turns_end_has_nothing_left() -> None:
    async def main() -> None:
        turns.hold(b"1\n")
        turns.write(b"2\n")
        turns.flush()
        assert stream.writes == [b"1\n2\n"]
        turns.hold(b"3\n")
        await turn()

    stream = Stream()
    turns = Turns(stream)
    asyncio.run(main())
    assert stream.writes == [b"1\n2\n", b"3\n"]


def test_another_thread_writes_at_once_and_after_what_waits() -> None:
    async def main() -> None:
        turns.hold(b"1\n")
        thread = threading.Thread(target=turns.hold, args=(b"2\n",))
        thread.start()
        thread.join()
        assert stream.writes == [b"1\n2\n"]
        turns.hold(b"3\n")
        await turn()

    stream = Stream()
    turns = Turns(stream)
    asyncio.run(main())
    assert b"".join(stream.writes) == b"1\n2\n3\n"


def test_what_a_loop_left_when_it_ended_is_written_by_the_next_one() -> None:
    def last(line: bytes) -> None:
        turns.hold(line)
        loop.stop()

    stream = Stream()
    turns = Turns(stream)
    loop = asyncio.new_event_loop()
    loop.call_soon(last, b"1\n")
    loop.run_forever()
    loop.close()
    assert stream.writes == []

    async def main() -> None:
        turns.hold(b"2\n")
        await turn()

    asyncio.run(main())
    assert stream.writes == [b"1\n2\n"]


def test_threads_lose_no_line_and_keep_each_its_order() -> None:
    async def main() -> None:
        threads = [threading.Thread(target=told, args=(name,)) for name in b"abc"]
        for thread in threads:
            thread.start()
        for number in range(1000):
            turns.hold(b"l%d\n" % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await turn()

    def told(name: int) -> None:
        for number in range(1000):
            turns.hold(b"%c%d\n" % (name, number))

    stream = Stream()
    turns = Turns(stream)
    asyncio.run(main())
    written = b"".join(stream.writes).split()
    for name in b"abcl":
        assert [line for line in written if line[0] == name] == [b"%c%d" % (name, number) for number in range(1000)]


def test_a_stream_that_fails_fails_nothing_and_is_used_again_once_it_works() -> None:
    stream = Stream(broken=True)
    turns = Turns(stream)
    turns.hold(b"lost\n")
    stream.broken = False
    turns.hold(b"1\n")
    assert stream.writes == [b"1\n"]


def test_a_warning_is_written_at_once_with_all_that_came_before() -> None:
    script = """
import asyncio, os
logs.configure('info', 'json')
async def main():
    log.info(logs.EVENT_DELIVERED, event_id='ev_1')
    log.warning(logs.EVENT_HELD, event_id='ev_2')
    log.info(logs.EVENT_DELIVERED, event_id='ev_3')
    os._exit(0)
asyncio.run(main())
"""
    told = lines(script)
    assert [line["event_id"] for line in told] == ["ev_1", "ev_2"]
    assert [line["level"] for line in told] == ["info", "warning"]
    assert all(list(line)[-3:] == ["event", "level", "timestamp"] for line in told)


@pytest.mark.parametrize(
    "end",
    [
        "raise ValueError",
        "sys.exit(3)",
        "asyncio.get_running_loop().stop()",
        "os.kill(os.getpid(), 2)",
        "(logs.flush(), os._exit(1))",
    ],
)
def test_no_line_is_lost_however_the_process_ends(end: str) -> None:
    script = f"""
import asyncio, os, uvloop
logs.configure('info', 'json')
async def main():
    log.info(logs.EVENT_DELIVERED, event_id='ev_1')
    {end}
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""
    done = run(script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert [json.loads(line)["event_id"] for line in done.stdout.splitlines()] == ["ev_1"]
