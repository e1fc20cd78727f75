"""Lines of one turn of the event loop are written together: a system call is as dear as the making of a line."""

import asyncio
import threading
from collections import deque
from typing import BinaryIO


class Turns:
    """A stream of bytes whose failure fails nothing else: a full disk or a reader that left must not stop a webhook."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # what is collected during a flush may log something itself
        self._lines: deque[bytes] = deque()  # threads may append while another writes the first of them
        self._due_in: asyncio.AbstractEventLoop | None = None  # the loop that was asked to write them

    def hold(self, line: bytes) -> None:
        """Write a line after this turn; at once where no loop runs: in another thread, before the loop and after it."""
        self._lines.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:  # another one may have ended without its last turn
            self._due_in = loop
            loop.call_soon(self.flush)

    def write(self, line: bytes) -> None:
        """Let a line wait for `flush`, which writes it in its place."""
        self._lines.append(line)

    def flush(self) -> None:
        """Write all that waits."""
        with self._lock:
            self._due_in = None  # before the look at the lines: who comes after that asks again
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if not lines:
                return
            try:  # contextlib.suppress would take as long as the writing
                self._stream.write(b"".join(lines))
                self._stream.flush()
            except OSError:
                pass
