"""No line waits for the log's reader in the thread that tells it; none is lost in silence, errors least of all."""

import fcntl
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.observing.log_writer import LogWriter

from .test_logs import PROGRAM, run

_HANG = 60.0  # seconds that only a hang takes
_PIPE = 4096  # bytes that an unread pipe takes


class Pipe:
    """A pipe of one page, and what is read from it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, _PIPE)

    def read_until(self, end: bytes) -> list[bytes]:
        """The lines up to one that begins so."""
        got = b""
        while not any(line.startswith(end) for line in got.splitlines()) or not got.endswith(b"\n"):
            got += os.read(self.reader, 1 << 16)
        return got.splitlines()

    def wait(self) -> None:
        """Until something was written."""
        select.select([self.reader], [], [])


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    opened = Pipe()
    yield opened
    os.close(opened.writer)


@pytest.fixture
def writing(pipe: Pipe) -> Iterator[Callable[..., LogWriter]]:
    """Makes writers, to the pipe where a test says nothing else, whose threads end with the test."""
    made: list[LogWriter] = []

    def make(descriptor: int = pipe.writer, **options: int) -> LogWriter:
        made.append(LogWriter(descriptor, lambda lines: b"dropped %d\n" % lines, **options))
        return made[-1]

    yield make
    os.close(pipe.reader)  # who still writes goes on
    for writer in made:
        writer.close(_HANG)


def numbers(lines: list[bytes], kind: bytes) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith(kind)]


def stopped(pipe: Pipe, writing: Callable[..., LogWriter]) -> LogWriter:
    """A writer of 64 lines whose reader has stopped."""
    writer = writing(capacity=64)
    writer.write(b"full\n" * 2 * _PIPE, "info")
    pipe.wait()
    return writer


def test_lines_of_each_thread_are_written_in_their_order(pipe: Pipe, writing: Callable[..., LogWriter]) -> None:
    def tell(name: int) -> None:
        for number in range(1000):
            writer.write(b"%c %d\n" % (name, number), "info")

    writer = writing()
    threads = [threading.Thread(target=tell, args=(name,)) for name in b"abc"]
    for thread in threads:
        thread.start()
    tell(ord("m"))
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(pipe.read_until(b"end")))
    reader.start()
    for thread in threads:
        thread.join()
    writer.write(b"end\n", "info")
    reader.join(_HANG)
    for name in (b"a", b"b", b"c", b"m"):
        assert numbers(lines, name) == list(range(1000))


def test_a_flush_returns_once_all_is_written(tmp_path: Path, writing: Callable[..., LogWriter]) -> None:
    with (tmp_path / "log").open("wb") as file:
        writer = writing(file.fileno())
        for number in range(2000):
            writer.write(b"line %d\n" % number, "info")
        writer.flush(_HANG)
    assert numbers((tmp_path / "log").read_bytes().splitlines(), b"line") == list(range(2000))


def test_nobody_waits_for_a_reader_that_stopped_and_what_was_dropped_is_counted(
    pipe: Pipe, writing: Callable[..., LogWriter]
) -> None:
    writer = stopped(pipe, writing)
    for number in range(1000):
        writer.write(b"line %d\n" % number, "info")
    assert writer.dropped == 1000 - 48
    lines = pipe.read_until(b"dropped")
    assert numbers(lines, b"line") == list(range(48))
    assert lines[-1] == b"dropped 952"
    writer.write(b"line 1000\n", "info")
    assert pipe.read_until(b"line") == [b"line 1000"], "what was told is not told again"


def test_errors_are_dropped_last_and_warnings_before_them(pipe: Pipe, writing: Callable[..., LogWriter]) -> None:
    writer = stopped(pipe, writing)
    for level in ("info", "warning", "error"):
        for number in range(100):
            writer.write(b"%s %d\n" % (level.encode(), number), level)
    lines = pipe.read_until(b"dropped")
    assert numbers(lines, b"info") == list(range(48))
    assert numbers(lines, b"warning") == list(range(8))
    assert numbers(lines, b"error") == list(range(8))
    assert numbers(lines, b"dropped") == [300 - 48 - 8 - 8]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_a_full_disk_took_is_told_once_there_is_room_again(
    tmp_path: Path, writing: Callable[..., LogWriter]
) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = writing(descriptor)
    writer.write(b"lost\n", "info")
    writer.write(b"lost too\n", "error")
    writer.flush(_HANG)
    assert writer.dropped == 2
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), descriptor)
    writer.write(b"kept\n", "info")
    writer.flush(_HANG)
    assert (tmp_path / "log").read_bytes() == b"kept\ndropped 2\n"


def test_a_line_that_the_disk_took_half_of_does_not_run_into_the_next(tmp_path: Path) -> None:
    script = f"""
import os, resource
from bridge.observing.log_writer import LogWriter
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
writer = LogWriter(1, lambda lines: b"dropped %d\\n" % lines)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
writer.write(b"line 1\\n", "info"); writer.flush({_HANG})
writer.write(b"line 2\\n", "info"); writer.flush({_HANG})
writer.write(b"line 3\\n", "info"); writer.flush({_HANG})
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
writer.write(b"line 4\\n", "info"); writer.flush({_HANG})
"""
    with (tmp_path / "log").open("wb") as file:
        assert run(script, stdout=file).returncode == 0
    assert (tmp_path / "log").read_bytes() == b"line 1\nlin\nline 4\ndropped 2\n"


def test_a_reader_that_left_is_no_reason_to_stop(pipe: Pipe, writing: Callable[..., LogWriter]) -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    writer = writing(descriptor)
    for _ in range(3):
        writer.write(b"lost\n", "info")
        writer.flush(_HANG)
    assert writer.dropped == 3
    os.dup2(pipe.writer, descriptor)
    writer.write(b"kept\n", "info")
    assert pipe.read_until(b"dropped") == [b"kept", b"dropped 3"]
    os.close(descriptor)


def test_a_pipe_that_somebody_set_to_non_blocking_loses_nothing(pipe: Pipe, writing: Callable[..., LogWriter]) -> None:
    os.set_blocking(pipe.writer, False)
    writer = writing()
    for number in range(500):
        writer.write(b"line %d %s\n" % (number, b"x" * 100), "info")
    writer.write(b"end\n", "info")
    assert numbers(pipe.read_until(b"end"), b"line") == list(range(500))


ENDS = [
    "raise ValueError",
    "sys.exit(3)",
    "asyncio.get_running_loop().stop()",
    "os.kill(os.getpid(), 2)",
    "(logs.flush(), os._exit(1))",
]


def ending(end: str, lines: int, format_: str = "json") -> str:
    return f"""
import asyncio, os, uvloop
logs.configure('info', '{format_}')
async def main():
    for number in range({lines}):
        log.info(logs.EVENT_DELIVERED, event_id='ev_1')
    log.warning(logs.EVENT_HELD, event_id='ev_2')
    {end}
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("end", ENDS)
def test_no_line_is_lost_however_the_process_ends(end: str) -> None:
    done = run(ending(end, 3), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event_id"] for line in told] == ["ev_1"] * 3 + ["ev_2"]
    assert [line["level"] for line in told] == ["info"] * 3 + ["warning"]
    assert all(list(line)[-3:] == ["event", "level", "timestamp"] for line in told)


@pytest.mark.timing
@pytest.mark.parametrize(("end", "format_"), [("sys.exit(3)", "json"), ("(logs.flush(), os._exit(1))", "pretty")])
def test_a_process_ends_though_nobody_ever_reads_its_lines(end: str, format_: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM + ending(end, 40_000, format_)], stdout=subprocess.PIPE)
    try:
        assert process.wait(_HANG) in (1, 3)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
