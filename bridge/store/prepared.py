"""Hot statements, compiled once for each kind of database and run by its driver.

SQLAlchemy does nothing for each row, so values are what the driver takes and gives: plain text (no enumeration), bytes,
numbers, None. docs/performance.md has the figures that pay for this.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Row
from sqlalchemy.sql.elements import ClauseElement

_Parameters = Mapping[str, Any]


class Prepared:
    """A statement with named parameters. `columns` are those of an INSERT; `build` makes it by a dialect's name."""

    def __init__(self, build: Callable[[str], ClauseElement], columns: Sequence[str] = ()) -> None:
        self._build = build
        self._columns = list(columns) or None
        self._compiled: dict[str, tuple[str, Callable[[_Parameters], Any]]] = {}

    def change(self, connection: Connection, rows: Sequence[_Parameters]) -> int:
        """Run it for each of the rows; return how many rows of the database changed."""
        sql, bind = self._for(connection.dialect)
        return connection.exec_driver_sql(sql, [bind(row) for row in rows]).rowcount

    def rows(self, connection: Connection, parameters: _Parameters) -> Sequence[Row[Any]]:
        """What it finds."""
        sql, bind = self._for(connection.dialect)
        return connection.exec_driver_sql(sql, bind(parameters)).all()

    def _for(self, dialect: Dialect) -> tuple[str, Callable[[_Parameters], Any]]:
        if dialect.name not in self._compiled:
            self._compiled[dialect.name] = self._compile(dialect)
        return self._compiled[dialect.name]

    def _compile(self, dialect: Dialect) -> tuple[str, Callable[[_Parameters], Any]]:
        compiled: Any = self._build(dialect.name).compile(dialect=dialect, column_keys=self._columns)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        names: list[str] | None = compiled.positiontup
        if names is None:
            return str(compiled), lambda row: {**constants, **row}
        if not constants:
            return str(compiled), lambda row: tuple([row[name] for name in names])
        return str(compiled), lambda row: tuple([row[name] if name in row else constants[name] for name in names])
