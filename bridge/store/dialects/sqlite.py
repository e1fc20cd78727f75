"""SQLite: one file, one connection that writes."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, literal_column, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.elements import ColumnElement

from bridge.store import checkpoints
from bridge.store.driver_errors import as_sqlalchemys

# SQLite takes these as they are. The driver would ask each of them whether it adapts itself, at thrice the price.
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(bool, int.__index__)
sqlite3.register_adapter(type(None), cast("Any", {}.get))

NAME = "sqlite"
LONG: float = checkpoints.LONG
BUSY_TIMEOUT = 5000  # milliseconds that the writer waits for others; there are none while all keep to the lock
TAKEN = text("""
    SELECT key FROM json_each(:keys) WHERE EXISTS (
        SELECT 1 FROM events
        WHERE target = json_extract(value, '$[0]') AND source = json_extract(value, '$[1]')
            AND order_key = json_extract(value, '$[2]') AND state IN ('pending', 'sending', 'held')
    )
""")
ADVANCE = text("""
    UPDATE events SET next_attempt_at = :now
    WHERE next_attempt_at = :waiting AND seq IN (
        SELECT (
            SELECT min(seq) FROM events
            WHERE target = json_extract(value, '$[0]') AND source = json_extract(value, '$[1]')
                AND order_key = json_extract(value, '$[2]') AND state IN ('pending', 'sending', 'held')
        ) FROM json_each(:keys)
    )
""")
BEHIND_ALL: ColumnElement[int] = literal_column("(SELECT max(seq) + 1 FROM events)")
_BEGIN = "BEGIN IMMEDIATE"


def file(url: URL) -> Path | None:
    return Path(url.database or "")


def url_of(path: Path) -> URL:
    """The URL of a file, whatever characters its name has."""
    return URL.create(NAME, database=str(path))


def writing_engine(url: URL, options: dict[str, Any]) -> Engine:
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _configure_writing)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(url: URL, pool: dict[str, Any]) -> Engine:
    uri = f"file:{quote(str(file(url)))}"  # where a ? or # would end the name
    return create_engine(URL.create(NAME, database=uri, query={"mode": "ro", "uri": "true"}), **pool)


def insert(table: Table) -> Any:
    return sqlite.insert(table)


def insert_many(cursor: Any, count: int, sql: str, rows: Iterable[Any], copy: str, copied: Iterable[Any]) -> None:
    cursor.executemany(sql, rows)


def change_each(cursor: Any, sql: str, rows: Iterable[Any]) -> list[int]:
    changed = []
    for row in rows:
        cursor.execute(sql, row)
        changed.append(cursor.rowcount)
    return changed


def lock_keys(connection: Connection, keys: Iterable[str]) -> None:
    """The one that writes is alone."""


def lock_schema(connection: Connection) -> None:
    """A transaction begins with the lock of the file."""


def _configure_writing(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not at the first INSERT
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")
    cursor.execute("PRAGMA secure_delete=ON")  # as Debian has it: what is deleted is overwritten where it lies
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # By the driver itself: SQLAlchemy's way to a statement costs as much as the rest of an empty transaction.
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(_BEGIN)
    except sqlite3.Error as error:
        raise as_sqlalchemys(error, connection, _BEGIN) from error
