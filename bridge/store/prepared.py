"""Hot statements, compiled once for each kind of database and run by its driver.

SQLAlchemy does nothing for each run and row, so values are what the driver takes and gives: plain text (no
enumeration), bytes, numbers, None. docs/performance.md has the figures that pay for this.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Table, false, literal_column, true
from sqlalchemy.sql.elements import ClauseElement, ColumnElement

from bridge.store import dialects
from bridge.store.dialects import Dialect
from bridge.store.driver_errors import as_sqlalchemys

R = TypeVar("R")
_Values = tuple[Any, ...]  # one for each parameter, in the order of the statement's `names`
_Bind = Callable[[_Values], Any]


class Prepared:
    """A statement whose parameters have these `names`: bound ones, or columns of an INSERT.

    `build` makes it for a kind of database.
    """

    def __init__(self, build: Callable[[Dialect], ClauseElement], names: Iterable[str]) -> None:
        self._build = build
        self._names = list(names)
        self._compiled: dict[str, tuple[str, _Bind | None]] = {}

    def change(self, connection: Connection, rows: Sequence[_Values]) -> int:
        """Run it for each of the rows, if there are any; return how many rows of the database changed."""
        return self._run(connection, _change, rows) if rows else 0

    def change_each(self, connection: Connection, rows: Sequence[_Values]) -> list[int]:
        """Run it for each of the rows; return for each how many rows of the database changed."""
        return self._run(connection, dialects.of(connection).change_each, rows)

    def rows(self, connection: Connection, values: _Values) -> list[_Values]:
        """What it finds."""
        return self._run(connection, _rows, [values])

    def _run(
        self,
        connection: Connection,
        do: Callable[[Any, str, Iterable[Any]], R],
        rows: Sequence[_Values],
    ) -> R:
        dialect: Any = connection.dialect
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy's own statements would
        sql, bind = self._compiled.get(dialect.name) or self._compile(connection)
        driver: Any = connection.connection.dbapi_connection
        cursor = driver.cursor()
        try:
            return do(cursor, sql, rows if bind is None else map(bind, rows))
        except dialect.loaded_dbapi.Error as error:
            raise as_sqlalchemys(error, connection, sql, cursor) from error
        finally:
            cursor.close()

    def _compile(self, connection: Connection) -> tuple[str, _Bind | None]:
        dialect, statement = connection.dialect, self._build(dialects.of(connection))
        columns = [name for name in self._names if name in statement.table.c] if isinstance(statement, Insert) else None
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        names, order = self._names, compiled.positiontup
        bind: _Bind | None = None
        if order is None:  # the driver takes them by name
            bind = lambda values: dict(zip(names, values, strict=True))  # noqa: E731
        elif order != names:
            places = [names.index(name) for name in order]
            bind = lambda values: [values[place] for place in places]  # noqa: E731
        self._compiled[dialect.name] = str(compiled), bind
        return self._compiled[dialect.name]


class Insertion(Prepared):
    """An INSERT of rows that have these columns, beside some that are `same` in all of them."""

    def __init__(self, table: Table, names: Sequence[str], same: Mapping[str, int | bool] | None = None) -> None:
        same = same or {}
        super().__init__(lambda _: table.insert().inline().values({name: _same(v) for name, v in same.items()}), names)
        self._copy = f"COPY {table.name} ({', '.join([*names, *same])}) FROM STDIN"
        self._same = tuple(same.values())

    def insert(self, connection: Connection, rows: Sequence[_Values]) -> None:
        """Insert rows, if there are any."""
        insert_many, copied = dialects.of(connection).insert_many, ((*row, *self._same) for row in rows)

        def do(cursor: Any, sql: str, bound: Iterable[Any]) -> None:
            insert_many(cursor, len(rows), sql, bound, self._copy, copied)

        if rows:
            self._run(connection, do, rows)


def _same(value: int | bool) -> ColumnElement[Any]:
    if isinstance(value, bool):
        return true() if value else false()
    return literal_column(str(value))


def _change(cursor: Any, sql: str, rows: Iterable[Any]) -> int:
    cursor.executemany(sql, rows)
    changed: int = cursor.rowcount
    return changed


def _rows(cursor: Any, sql: str, rows: Iterable[Any]) -> list[_Values]:
    (values,) = rows
    cursor.execute(sql, values)
    found: list[_Values] = cursor.fetchall()
    return found
