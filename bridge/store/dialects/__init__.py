"""What differs between the kinds of databases that a store may be: a module for each, with the same names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, BigInteger, Connection, Engine, Integer, Table, TextClause, make_url
from sqlalchemy.sql.elements import ColumnElement

from bridge.store.dialects import postgresql, sqlite

# The type of a number that orders rows by their commit: SQLite gives one by itself only where it is INTEGER.
SEQ = BigInteger().with_variant(Integer, sqlite.NAME)


class Dialect(Protocol):
    """One kind of database."""

    NAME: str  # SQLAlchemy's for it
    TAKEN: TextClause  # by place, those of some order keys of which an event keeps later ones waiting
    ADVANCE: TextClause  # makes the first event of each of some order keys due
    BEHIND_ALL: ColumnElement[int]  # a number after those of all events
    LONG: float  # bytes of a call that alone makes the journal long enough to be emptied within the commit

    def file(self, url: URL) -> Path | None:
        """The file that a database is; None where it is none."""

    def writing_engine(self, url: URL, options: dict[str, Any]) -> Engine:
        """An engine for the one writer."""

    def reading_engine(self, url: URL, pool: dict[str, Any]) -> Engine:
        """An engine that can only read; `pool` says which connections it keeps."""

    def insert(self, table: Table) -> Any:
        """An INSERT that takes an ON CONFLICT."""

    def insert_many(
        self, cursor: Any, count: int, sql: str, rows: Iterable[Any], copy: str, copied: Iterable[Any]
    ) -> None:
        """Insert so many rows by an INSERT, or, `copied`, by a COPY, whichever is faster. The other is not iterated."""

    def change_each(self, cursor: Any, sql: str, rows: Iterable[Any]) -> list[int]:
        """Run a statement for each of some rows; return for each how many rows of the database changed."""

    def lock_keys(self, connection: Connection, keys: Iterable[str]) -> None:
        """Keep others from changing events of these order keys until the end of the transaction."""

    def lock_schema(self, connection: Connection) -> None:
        """Keep others from migrating until the end of the transaction."""


_DIALECTS: dict[str, Dialect] = {sqlite.NAME: sqlite, postgresql.NAME: postgresql}


def of(connection: Connection) -> Dialect:
    """The kind of database that a connection is to."""
    return _DIALECTS[connection.dialect.name]


def of_url(url: str | URL) -> Dialect:
    """The kind of database that a URL names."""
    return _DIALECTS[make_url(url).get_backend_name()]
