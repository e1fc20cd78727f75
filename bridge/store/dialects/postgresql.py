"""PostgreSQL: a server that many processes may share."""

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any
from zlib import crc32

from sqlalchemy import URL, Connection, Engine, Table, create_engine, literal_column, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

NAME = "postgresql"
LONG = inf  # the server's own journal is no business of ours
TAKEN = text("""
    SELECT place - 1
    FROM json_array_elements(CAST(:keys AS json)) WITH ORDINALITY AS its (key, place)
    WHERE EXISTS (
        SELECT 1 FROM events
        WHERE target = its.key ->> 0 AND source = its.key ->> 1
            AND order_key = its.key ->> 2 AND state IN ('pending', 'sending', 'held')
    )
""")
ADVANCE = text("""
    UPDATE events SET next_attempt_at = :now
    FROM json_array_elements(CAST(:keys AS json)) AS its (key)
    CROSS JOIN LATERAL (
        SELECT min(seq) AS seq FROM events
        WHERE target = its.key ->> 0 AND source = its.key ->> 1 AND order_key = its.key ->> 2
            AND state IN ('pending', 'sending', 'held')
    ) AS first
    WHERE events.seq = first.seq AND next_attempt_at = :waiting
""")
BEHIND_ALL: ColumnElement[int] = literal_column("nextval(pg_get_serial_sequence('events', 'seq'))")
_MANY = 500  # rows, from which on COPY takes a third of an INSERT's time
_LOCKS = 1024  # that all order keys share: one webhook may have more keys than the server has room for locks
_KEYS, _SCHEMA = 7, 8  # which of a database's advisory locks they are
_lock = text("SELECT pg_advisory_xact_lock(:ours, number) FROM unnest(CAST(:numbers AS integer[])) AS number")


def file(url: URL) -> Path | None:
    return None


def writing_engine(url: URL, options: dict[str, Any]) -> Engine:
    return create_engine(url, **options)


def reading_engine(url: URL, pool: dict[str, Any]) -> Engine:
    return create_engine(url, execution_options={"postgresql_readonly": True}, **pool)


def insert(table: Table) -> Any:
    return postgresql.insert(table)


def insert_many(cursor: Any, count: int, sql: str, rows: Iterable[Any], copy: str, copied: Iterable[Any]) -> None:
    if count < _MANY:
        cursor.executemany(sql, rows)
        return
    with cursor.copy(copy) as copying:
        for row in copied:
            copying.write_row(row)


def change_each(cursor: Any, sql: str, rows: Iterable[Any]) -> list[int]:
    cursor.executemany(sql, rows, returning=True)  # psycopg's: one journey to the server for all of them
    changed = []
    while True:
        changed.append(cursor.rowcount)
        if not cursor.nextset():
            return changed


def lock_keys(connection: Connection, keys: Iterable[str]) -> None:
    """Of two processes, one that adds to a key and one that ends its first, neither would see what the other does.

    So they go one after the other.
    """
    numbers = sorted({crc32(key.encode()) % _LOCKS for key in keys})
    connection.execute(_lock, {"ours": _KEYS, "numbers": numbers})


def lock_schema(connection: Connection) -> None:
    connection.execute(_lock, {"ours": _SCHEMA, "numbers": [0]})
