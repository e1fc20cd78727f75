"""Batch sizes: how many rows one transaction touches where an operator or retention touches many."""

from collections.abc import Iterable
from itertools import accumulate, islice
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, func, literal_column

_BYTES = 2 << 20  # of its rows: each is read and written again, or overwritten
_ROW = 512  # bytes of a row, beside what is counted


def size_of(rows: FromClause) -> ColumnElement[int]:
    """The `size` of rows, in bytes, by their columns that may be long."""
    long = [rows.c[name] for name in ("text", "attributes", "body", "result") if name in rows.c]
    return sum((func.coalesce(func.length(column), 0) for column in long), literal_column(str(_ROW))).label("size")


def batch(rows: Iterable[Row[Any]], most: int) -> list[Row[Any]]:
    """The first of some rows that have a `size`: at least one, if there is any, and at most so many."""
    first = list(islice(rows, most))
    before = accumulate((row.size for row in first), initial=0)
    return [row for row, total in zip(first, before, strict=False) if total < _BYTES]
