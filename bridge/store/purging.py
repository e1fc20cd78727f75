"""Purges a SQLite file and its WAL of what deleted rows left behind, beside a writer that goes on writing.

First the WAL is emptied into the file, and SQLite is kept from doing so by itself: from then on nobody but us writes to
the file, whose free space is overwritten in a thread of its own. In the end, between two transactions, the WAL is
emptied once more, and the free space of the pages that it held is overwritten too.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any

from bridge.errors import StoreUnavailable
from bridge.store import checkpoints, free_space
from bridge.store.dialects import sqlite
from bridge.store.writer import Writer

_PATIENCE = 5.0  # seconds for readers: those of the bridge and its commands take less
_AGAIN = 0.1
_READ_LOCKS = range(123, 128)  # bytes of the -shm file, https://sqlite.org/walformat.html#locks


class Purging:
    """Purges the file at `path`; `descriptor` is its owner's."""

    def __init__(self, writer: Writer, path: Path, descriptor: int) -> None:
        self._writer = writer
        self._path = path
        self._descriptor = descriptor
        self._one_at_a_time = asyncio.Lock()
        self._overwriting = Lock()  # held by the thread that does
        self._stopped = Event()

    async def check(self) -> None:
        """Make sure that nobody holds the WAL just now, and that the file is one whose free space can be overwritten.

        Raises:
            StoreUnavailable: somebody does; says who.
            StoreError: it is not.
        """
        async with self._one_at_a_time:
            await self._empty(_empty)
            await asyncio.to_thread(free_space.layout, self._descriptor)

    async def purge(self) -> None:
        """Leave nothing of deleted rows in the file and its WAL.

        Raises:
            StoreUnavailable: somebody holds the WAL; says who.
            StoreError: the file's free space cannot be overwritten.
        """
        pages: set[int] = set()

        def empty_and_keep_so(driver: Any) -> bool:
            driver.execute("PRAGMA wal_autocheckpoint=0")
            return _empty(driver)

        def empty_and_overwrite(driver: Any) -> bool:
            pages.update(free_space.pages_of(Path(f"{self._path}-wal")))
            if not _empty(driver):
                return False
            free_space.overwrite(self._descriptor, pages)
            return True

        def let_sqlite_write_again(driver: Any) -> None:
            with self._overwriting:  # what it read of a page before must not come over what SQLite writes to it
                driver.execute(f"PRAGMA wal_autocheckpoint={checkpoints.PAGES}").close()

        async with self._one_at_a_time:
            try:
                await self._empty(empty_and_keep_so)
                await self._overwrite()
                await self._empty(empty_and_overwrite)
            finally:
                await self._writer.between(let_sqlite_write_again)

    def close(self) -> None:
        """Return when nobody overwrites any more: from then on others may write to the file."""
        self._stopped.set()
        with self._overwriting:
            pass

    async def _overwrite(self) -> None:
        """Overwrite the free space in a thread, which ends after the page that it is at where this is cancelled."""
        stopped = Event()

        def overwrite() -> None:
            with self._overwriting:
                free_space.overwrite(self._descriptor, is_stopped=lambda: stopped.is_set() or self._stopped.is_set())

        try:
            await asyncio.to_thread(overwrite)
        finally:
            stopped.set()

    async def _empty(self, work: Callable[[Any], bool]) -> None:
        deadline = monotonic() + _PATIENCE
        while not await self._writer.between(work):
            if monotonic() > deadline:
                raise StoreUnavailable(f"{_readers(self._path)} is reading {self._path}")
            await asyncio.sleep(_AGAIN)


def _empty(driver: Any) -> bool:
    """Empty the WAL into the file, and forget the pages that this connection keeps; False where a reader holds it."""
    driver.execute("PRAGMA busy_timeout=0")  # others wait for this connection
    try:
        held, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        driver.execute(f"PRAGMA busy_timeout={sqlite.BUSY_TIMEOUT}")
    driver.execute("PRAGMA shrink_memory")
    return not held


def _readers(path: Path) -> str:
    """Which processes read a SQLite file at this moment, for people; as far as Linux tells."""
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return "another process"
    found = {
        int(lock[4])
        for lock in locks
        if lock[1] == "POSIX" and lock[5].endswith(f":{inode}") and int(lock[6]) in _READ_LOCKS and lock[4].isdigit()
    }
    return " and ".join(map(_process, sorted(found))) or "another process"


def _process(number: int) -> str:
    if number == os.getpid():
        return "this bridge itself"
    try:
        return f"process {number} ({Path(f'/proc/{number}/comm').read_text().strip()})"
    except OSError:
        return f"process {number}"
