"""Hot statements, compiled once for each kind of database and run by its driver.

SQLAlchemy does nothing for each run and row, so values are what the driver takes and gives: plain text (no
enumeration), bytes, numbers, None. docs/performance.md has the figures that pay for this.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import ClauseElement

_Parameters = Mapping[str, Any]
_Bind = Callable[[_Parameters], Any]


class Prepared:
    """A statement with named parameters. `build` makes it by a dialect's name; `columns` are those of an INSERT."""

    def __init__(self, build: Callable[[str], ClauseElement], columns: Sequence[str] = ()) -> None:
        self._build = build
        self._columns = list(columns) or None
        self._compiled: dict[str, tuple[str, _Bind]] = {}
        self._row: Callable[[Any], Any] | None = None

    def change(self, connection: Connection, rows: Sequence[_Parameters]) -> int:
        """Run it for each of the rows; return how many rows of the database changed."""
        sql, bind = self._for(connection.dialect)
        with _cursor(connection, sql) as cursor:
            cursor.executemany(sql, [bind(row) for row in rows])
            changed: int = cursor.rowcount
            return changed

    def rows(self, connection: Connection, parameters: _Parameters) -> list[Any]:
        """What it finds, as named tuples."""
        sql, bind = self._for(connection.dialect)
        with _cursor(connection, sql) as cursor:
            cursor.execute(sql, bind(parameters))
            if self._row is None:
                names: Any = [column[0] for column in cursor.description]
                self._row = cast("Any", namedtuple("Row", names))._make
            row = self._row
            return [row(values) for values in cursor.fetchall()]

    def _for(self, dialect: Dialect) -> tuple[str, _Bind]:
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._compile(dialect)
        return self._compiled[dialect.name]

    def _compile(self, dialect: Dialect) -> tuple[str, _Bind]:
        compiled: Any = self._build(dialect.name).compile(dialect=dialect, column_keys=self._columns)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        names: list[str] | None = compiled.positiontup
        if names is None:
            return str(compiled), lambda row: {**constants, **row}
        if not constants:
            return str(compiled), lambda row: tuple([row[name] for name in names])
        return str(compiled), lambda row: tuple([row[name] if name in row else constants[name] for name in names])


@contextmanager
def _cursor(connection: Connection, sql: str) -> Iterator[Any]:
    """The driver's cursor, with errors as SQLAlchemy's own statements raise them, and a lost connection let go."""
    dialect: Any = connection.dialect
    if not connection.in_transaction():
        connection.begin()  # as SQLAlchemy's own statements would
    with closing(connection.connection.cursor()) as cursor:
        try:
            yield cursor
        except dialect.loaded_dbapi.Error as error:
            lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
            if lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                sql,
                None,
                error,
                dialect.loaded_dbapi.Error,
                hide_parameters=True,
                connection_invalidated=lost,
                dialect=dialect,
            ) from error
