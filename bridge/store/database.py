"""Opens databases: one locked, writing owner of a SQLite file, any number of readers beside it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, make_url, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, QueuePool

from bridge.errors import StoreError, StoreLocked, StoreVersion
from bridge.store import dialects
from bridge.store.dialects import sqlite

_MIGRATIONS = Path(__file__).parent / "migrations"
_ASKED = 0.05  # seconds: `is_owned` holds the lock for an instant, and must keep nobody from starting


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Own the SQLite file at `path`, created where there is none, readable by this user only; gives its descriptor.

    The lock (flock) goes with the process, however it ends, and it holds across links to the same file.

    Raises:
        StoreLocked: another process owns it.
        StoreError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
    # The descriptor stays open as long as the database does: closing any descriptor of a file drops SQLite's own
    # (POSIX) locks on it for the whole process.
    try:
        if not (_lock(descriptor) or _lock(descriptor, after=_ASKED)):
            raise StoreLocked(f"{path} belongs to a running bridge, stop it first or give this one a store of its own")
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, after: float = 0.0) -> bool:
    time.sleep(after)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def close_to_others(path: Path) -> list[Path]:
    """Let only their owner read the files of a store; gives those that stay open, since they are somebody else's.

    SQLite makes what it needs beside the file with the file's own mode. A copy that was put in its place has any.
    """
    left = []
    path = path.resolve()
    for file in (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))):
        try:
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)
        except FileNotFoundError:
            continue
        except OSError:
            left.append(file)
    return left


def is_owned(url: str) -> bool:
    """Whether another process owns the SQLite file of a URL just now."""
    path = sqlite_path(url)
    try:
        descriptor = os.open(path or "", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sqlite_path(url: str | URL) -> Path | None:
    """The file of a sqlite URL; None where the URL names another kind of database."""
    return dialects.of_url(url).file(make_url(url))


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters its name has."""
    return sqlite.url_of(path).render_as_string()


def located(url: str, directory: Path) -> str:
    """A configured URL; a relative file is relative to the parent of the configuration's directory."""
    path = sqlite_path(url)
    return url if path is None else sqlite_url(directory.resolve().parent / path)


def writing_engine(url: str, descriptor: int | None = None) -> Engine:
    """An engine for the one writer; `descriptor` is the owner's, of a SQLite file."""
    options = {
        "pool_size": 1,
        "max_overflow": 0,
        "hide_parameters": True,  # errors must not quote bodies
        "execution_options": {"descriptor": descriptor},
    }
    return dialects.of_url(url).writing_engine(make_url(url), options)


def reading_engine(url: str, kept: int = 0) -> Engine:
    """An engine that can only read, beside a running bridge or without one; it keeps so many connections open.

    Raises:
        StoreError: there is no such database.
    """
    must_exist(url)
    return _pooled(url, kept) if kept else _unpooled(url)


@lru_cache
def _unpooled(url: str) -> Engine:
    """What is kept of it from one question to the next are the statements it has compiled, never a connection."""
    return dialects.of_url(url).reading_engine(make_url(url), {"poolclass": NullPool})


def _pooled(url: str, kept: int) -> Engine:
    pool = {"poolclass": QueuePool, "pool_size": kept, "max_overflow": -1, "pool_use_lifo": True}
    return dialects.of_url(url).reading_engine(make_url(url), pool)


def must_exist(url: str) -> None:
    """Make sure that there is a database, before it is made by who only wants to change what is in it.

    Raises:
        StoreError: there is none.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        raise StoreError(f"there is no store at {path} yet, `bridge serve` or `bridge migrate` makes it")


def connected(engine: Engine) -> Connection:
    """A connection.

    Raises:
        StoreError: the database cannot be opened.
    """
    try:
        return engine.connect()
    except DatabaseError as error:
        raise StoreError(f"the store cannot be opened: {error.orig}") from error


@cache
def _versions() -> list[str]:
    """The schema versions that this bridge knows, oldest first: each migration's file begins with its own."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def newest_version() -> str:
    """The schema version this bridge works with."""
    return _versions()[-1]


def current_version(connection: Connection) -> str | None:
    """The schema version of a database; None for an empty one."""
    try:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError as error:
        raise StoreError(f"the store is no database: {error.orig}") from error


def migrate(engine: Engine) -> tuple[str | None, str]:
    """Bring the schema up to date; return the version before and after.

    Raises:
        StoreVersion: a newer bridge wrote this database.
        StoreError: it cannot be opened or written.
    """
    try:
        with engine.begin() as connection:
            dialects.of(connection).lock_schema(connection)
            return _upgrade(connection), newest_version()
    except DatabaseError as error:
        raise StoreError(f"the store cannot be opened and brought up to date: {error.orig}") from error


def _upgrade(connection: Connection) -> str | None:
    before = current_version(connection)
    if before == newest_version():
        return before
    if before is not None and before not in _versions():
        raise StoreVersion(
            f"the store's schema {before} is of a newer bridge than this one (newest known: {newest_version()}), "
            "install that version again, or restore the backup made before the update"
        )
    upgrade(connection)
    return before


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the migrations up to a version."""
    from alembic import command  # most starts have nothing to migrate, and lists never have
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
