"""Writes log lines from a bounded buffer in a thread of its own, so that nobody waits for whoever reads them."""

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Final

CAPACITY: Final = 16_384  # lines: of some 300 bytes mostly, of a few thousand at most
ROOM: Final = {"debug": 6, "info": 6, "warning": 7, "error": 8, "critical": 8}  # eighths that lines of a level may fill
_REST = 0.05  # seconds between two writes: each wakes the thread, which is dearer than to make some lines
_AT_ONCE = 4096  # lines in one write: 80,000 a second


class LogWriter:
    """Writes lines to a file descriptor, in their order.

    What finds no room is counted and dropped: information first, then warnings, errors last. What cannot be written,
    on a full disk or to a reader that left, is counted alike. Once lines flow again, the one that `dropped_line` makes
    of the count since the last such line follows them.
    """

    def __init__(self, descriptor: int, dropped_line: Callable[[int], bytes], capacity: int = CAPACITY) -> None:
        self.dropped = 0  # since the start
        self._descriptor = descriptor
        self._dropped_line = dropped_line
        self._told = 0  # of those dropped
        self._room = {level: capacity * eighths // 8 for level, eighths in ROOM.items()}
        # An event: somebody waits for what came before it. None: the end.
        self._waiting: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._counting = threading.Lock()
        self._cut = False  # whether the last write ended within a line
        # The process may end while it writes: it is no reason to wait for a reader.
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: bytes, level: str) -> None:
        """Let a line wait, its line end included; drop it where its level has no room left."""
        if self._waiting.qsize() < self._room[level]:
            self._waiting.put(line)
        else:
            self._drop(1)

    def flush(self, within: float) -> None:
        """Wait until all that waits now is written, but no longer than this many seconds."""
        flushed = threading.Event()
        self._waiting.put(flushed)
        flushed.wait(within)

    def close(self, within: float) -> None:
        """Flush, and write nothing from then on."""
        self.flush(within)
        self._waiting.put(None)

    def _drop(self, count: int) -> None:
        with self._counting:
            self.dropped += count

    def _run(self) -> None:
        taken: list[bytes | threading.Event | None] = []
        while None not in taken:
            taken = [self._waiting.get()]
            while len(taken) < _AT_ONCE and not self._waiting.empty():
                taken.append(self._waiting.get())
            lines = b"".join(one for one in taken if isinstance(one, bytes))
            if lines and self._write(lines) and self._waiting.empty() and self._told < self.dropped:
                dropped = self.dropped
                if self._write(self._dropped_line(dropped - self._told)):
                    self._told = dropped
            for one in taken:
                if isinstance(one, threading.Event):
                    one.set()
            time.sleep(_REST)

    def _write(self, lines: bytes) -> bool:
        """Write lines, however long that takes; False where not all of them could be written."""
        begun = int(self._cut)
        lines = b"\n" * begun + lines
        written = 0
        while written < len(lines):
            try:
                written += os.write(self._descriptor, lines[written:])
            except BlockingIOError:  # another process set what it shares with this one to non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                self._drop(lines.count(b"\n", max(written, begun)))
                self._cut = lines[written - 1 : written] != b"\n" if written else self._cut
                return False
        self._cut = False
        return True
