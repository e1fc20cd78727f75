"""Overwrites the free space of a SQLite file with zeros, so that what was deleted is gone from the disk.

`PRAGMA secure_delete` zeroes a row where it lies when it is deleted. But SQLite moves rows to other pages as pages fill
up, and a page that it builds anew keeps what lay between its pointers and its rows: pieces of any row that was there.
VACUUM would leave nothing, but nobody could write meanwhile. So free space is overwritten here, by the file format
(https://sqlite.org/fileformat2.html): the gap and the free blocks of each page of a tree, and the free pages. No reader
ever looks at them.

Only for the owner of the file, while SQLite itself does not write to it: what is committed then lies in the WAL.
"""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from bridge.errors import StoreError

_HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}  # the kinds of pages of trees, and how long their headers are
_FIRST_HEADER = 100  # bytes of the file's own, before those of the first page
_MOST_PAGES = 2 << 24  # from here on, the number that another kind of page begins with may look like the kind of a tree
_WAL_HEADER, _FRAME_HEADER = 32, 24


def overwrite(
    descriptor: int, pages: Collection[int] | None = None, is_stopped: Callable[[], bool] = lambda: False
) -> None:
    """Overwrite the free space of all pages, or of these only, and bring that to the disk.

    `is_stopped` is asked before each page; once it is true, the rest stays as it is.

    Raises:
        StoreError: it cannot be, see `layout`.
    """
    header, size, count = layout(descriptor)
    if not count:
        return  # nothing was ever written
    usable = size - header[20]
    free = set(_overwrite_free_pages(descriptor, header, size, is_stopped)) if pages is None else set()
    for number in range(1, count + 1) if pages is None else sorted(pages):
        if is_stopped():
            break
        if number not in free:
            _overwrite_within(descriptor, os.pread(descriptor, size, (number - 1) * size), (number - 1) * size, usable)
    os.fsync(descriptor)


def layout(descriptor: int) -> tuple[bytes, int, int]:
    """The file's header, the size of its pages in bytes, and how many there are.

    Raises:
        StoreError: its free space cannot be overwritten: it is too large for that, or not one that this bridge made.
    """
    header = os.pread(descriptor, _FIRST_HEADER, 0)
    size = _number(header, 16, 2)
    size = 65536 if size == 1 else size
    count = os.fstat(descriptor).st_size // size if size else 0
    if count >= _MOST_PAGES or (count and _number(header, 52)):
        raise StoreError("free space of this file cannot be overwritten, stop the bridge and let SQLite VACUUM it")
    return header, size, count


def pages_of(wal: Path) -> set[int]:
    """The numbers of the pages that a WAL holds newer versions of."""
    try:
        descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return set()
    try:
        length = os.fstat(descriptor).st_size
        frame = _FRAME_HEADER + _number(os.pread(descriptor, _WAL_HEADER, 0), 8)
        return {_number(os.pread(descriptor, 4, start), 0) for start in range(_WAL_HEADER, length, frame)}
    finally:
        os.close(descriptor)


def _overwrite_free_pages(descriptor: int, header: bytes, size: int, is_stopped: Callable[[], bool]) -> Iterator[int]:
    """The pages that belong to no tree: trunks, each of which lists further trunks and leaves."""
    trunk, left = _number(header, 32), _number(header, 36)
    while trunk and left > 0 and not is_stopped():
        offset = (trunk - 1) * size
        page = os.pread(descriptor, size, offset)
        leaves = [_number(page, 8 + 4 * index) for index in range(min(_number(page, 4), size // 4 - 2))]
        _zero(descriptor, page, 8 + 4 * len(leaves), size, offset)
        for leaf in leaves:
            if is_stopped():
                return
            _zero(descriptor, os.pread(descriptor, size, (leaf - 1) * size), 0, size, (leaf - 1) * size)
        yield trunk
        yield from leaves
        trunk, left = _number(page, 0), left - 1 - len(leaves)


def _overwrite_within(descriptor: int, page: bytes, offset: int, usable: int) -> None:
    """The gap between pointers and cells, and the blocks that cells left behind them, of a page of a tree."""
    start = 0 if offset else _FIRST_HEADER
    header = _HEADERS.get(page[start]) if len(page) > start else None
    if header is None:
        return
    cells = _number(page, start + 5, 2) or 65536
    _zero(descriptor, page, start + header + 2 * _number(page, start + 3, 2), min(cells, usable), offset)
    block = _number(page, start + 1, 2)
    while block:
        following, length = _number(page, block, 2), _number(page, block + 2, 2)
        _zero(descriptor, page, block + 4, min(block + length, usable), offset)
        block = following if following > block else 0


def _zero(descriptor: int, page: bytes, start: int, end: int, offset: int) -> None:
    if page[start:end].strip(b"\0"):
        os.pwrite(descriptor, bytes(end - start), offset + start)


def _number(content: bytes, at: int, length: int = 4) -> int:
    return int.from_bytes(content[at : at + length])
