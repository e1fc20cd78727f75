"""Translates a database driver's errors to SQLAlchemy's."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


def as_sqlalchemys(error: Exception, connection: Connection, sql: str, cursor: Any = None) -> Exception:
    """A driver's error as SQLAlchemy's own statements raise it; a lost connection is let go."""
    dialect: Any = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        sql,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )
