import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from bridge.errors import StoreError, StoreLocked
from bridge.store import database
from bridge.store.store import owned

HOLDER = """
import sys
from pathlib import Path
from bridge.store.database import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def _holder(path: Path) -> "subprocess.Popen[str]":
    """Another process that owns the file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_owner_is_refused_also_through_links_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "here").symlink_to(tmp_path)
    with _holder(path) as process:
        (tmp_path / "hard.db").hardlink_to(path)
        for name in ("bridge.db", "link.db", "here/bridge.db", "hard.db"):
            with pytest.raises(StoreLocked, match="belongs to a running bridge"), database.locked(tmp_path / name):
                pass
        with database.locked(tmp_path / "another.db"):
            pass
        process.kill()
        process.wait()
        with database.locked(path):
            pass


def test_an_owner_through_a_link_owns_the_file_itself(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "bridge.db")
    with _holder(link) as process:
        with pytest.raises(StoreLocked), database.locked(tmp_path / "bridge.db"):
            pass
        process.kill()


def test_a_second_owner_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    with database.locked(path):
        with pytest.raises(StoreLocked), database.locked(path):
            pass
        with pytest.raises(StoreLocked), database.locked(path):
            pass
    with database.locked(path):
        pass


def test_the_lock_is_let_go_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    with pytest.raises(LookupError), database.locked(path):
        raise LookupError
    with database.locked(path):
        pass


def test_the_file_and_all_beside_it_are_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bridge.db"
    with database.locked(path):
        engine = database.writing_engine(f"sqlite:///{path}")
        database.migrate(engine)
        with engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
            files = sorted(path.parent.iterdir())
            assert [file.name for file in files] == ["bridge.db", "bridge.db-shm", "bridge.db-wal"]
            assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 3
        engine.dispose()


def test_a_file_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "bridge.db", tmp_path):
        with pytest.raises(StoreError, match="cannot be opened: "), database.locked(path):
            pass


def test_the_writing_connection_has_a_write_ahead_log_that_is_synced_at_each_commit(tmp_path: Path) -> None:
    engine = database.writing_engine(f"sqlite:///{tmp_path / 'bridge.db'}")
    for _ in range(2):  # also on a connection that takes the place of a broken one
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
            connection.invalidate()
    engine.dispose()


def test_a_transaction_has_the_write_lock_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    engine = database.writing_engine(f"sqlite:///{path}")
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    with engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()


def test_schema_changes_are_part_of_their_transaction(empty_url: str) -> None:
    engine = database.writing_engine(empty_url)
    with engine.connect() as connection:
        for _ in range(2):
            transaction = connection.begin()
            connection.execute(text("CREATE TABLE half (a INTEGER)"))
            transaction.rollback()
    engine.dispose()


def test_a_reading_engine_cannot_write(url: str) -> None:
    engine = database.reading_engine(url)
    for statement in (
        "INSERT INTO dedupe VALUES ('s', 'k', 'w', 1)",
        "UPDATE alembic_version SET version_num = 'x'",
        "DROP TABLE dedupe",
        "CREATE TABLE more (a INTEGER)",
    ):
        with pytest.raises(DBAPIError, match=r"readonly|read-only"), engine.begin() as connection:
            connection.execute(text(statement))
    engine.dispose()


def test_reading_what_is_not_there_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*none\.db yet"):
        database.reading_engine(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b.db", "50% off.db", "%41.db", "#1.db", "ü&=+.db", "a;b.db", "?.db"])
def test_a_store_may_have_any_name(name: str, tmp_path: Path) -> None:
    url = database.sqlite_url(tmp_path / name)
    assert database.sqlite_path(url) == tmp_path / name
    engine = database.writing_engine(url)
    database.migrate(engine)
    reader = database.reading_engine(url)
    with reader.connect() as connection:
        assert database.current_version(connection) == database.newest_version()
    reader.dispose()
    engine.dispose()
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_relative_store_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = database.writing_engine("sqlite:///bridge.db")
    database.migrate(engine)
    reader = database.reading_engine("sqlite:///bridge.db")
    with reader.connect() as connection:
        assert database.current_version(connection) == database.newest_version()
    reader.dispose()
    engine.dispose()
    assert database.sqlite_path("sqlite:///bridge.db") == Path("bridge.db")
    assert database.sqlite_path("postgresql+psycopg://h/bridge") is None


def test_the_version_of_an_empty_database_is_none(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert database.current_version(connection) is None
    engine.dispose()


def test_a_store_that_others_could_read_is_closed_to_them(sqlite_url: str, tmp_path: Path) -> None:
    path = database.sqlite_path(sqlite_url)
    assert path is not None
    path.chmod(0o644)  # as a copy that was put in its place
    wal = path.with_name("bridge.db-wal")
    wal.touch(0o664)
    before = os.umask(0o022)
    try:
        with owned(sqlite_url) as engine, engine.begin():
            files = [path, wal, path.with_name("bridge.db-shm")]
            assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"] * 3
    finally:
        os.umask(before)


def test_what_belongs_to_somebody_else_is_told() -> None:
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        assert database.close_to_others(Path("/etc/passwd")) == [Path("/etc/passwd")]
    finally:
        if root:
            os.seteuid(0)
