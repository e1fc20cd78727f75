import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from bridge.errors import StoreError, StoreVersion
from bridge.store import database
from bridge.store.tables import metadata

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public'
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
MASTER = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"


def test_an_empty_database_becomes_what_the_tables_say(empty_url: str) -> None:
    engine = database.writing_engine(empty_url)
    assert database.migrate(engine) == (None, database.newest_version())
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": metadata}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_it_is_to_the_letter_what_the_tables_would_make_on_sqlite(sqlite_url: str) -> None:
    migrated, made = create_engine(sqlite_url), create_engine("sqlite://")
    metadata.create_all(made)
    with migrated.connect() as connection, made.connect() as other:
        found = {row for row in _rows(connection, MASTER) if row[1] != "alembic_version"}
        assert {_on_one_line(row) for row in found} == {_on_one_line(row) for row in _rows(other, MASTER)}
    migrated.dispose()
    made.dispose()


def test_it_is_to_the_letter_what_the_tables_would_make_on_postgresql(
    postgresql_url: str, empty_postgresql_url: str
) -> None:
    migrated = create_engine(postgresql_url)
    made = create_engine(empty_postgresql_url)
    metadata.create_all(made)
    with migrated.connect() as connection, made.connect() as other:
        for query in (COLUMNS, INDEXES):
            found = {row for row in _rows(connection, query) if "alembic_version" not in str(row)}
            assert found == _rows(other, query)
    migrated.dispose()
    made.dispose()


def test_migrating_again_changes_nothing(url: str) -> None:
    engine = database.writing_engine(url)
    newest = database.newest_version()
    assert database.migrate(engine) == (newest, newest)
    engine.dispose()


MIGRATING = """
import sys
from bridge.store import database
engine = database.writing_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*database.migrate(engine), flush=True)
"""


@pytest.mark.timing
def test_processes_that_start_at_once_migrate_once(empty_postgresql_url: str) -> None:
    with ExitStack() as started:
        processes = [
            started.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", MIGRATING, empty_postgresql_url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        for process in processes:
            started.callback(process.kill)
        assert [_line(process) for process in processes] == ["ready"] * 3
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        newest = database.newest_version()
        assert sorted(map(_line, processes)) == [f"{newest} {newest}"] * 2 + [f"None {newest}"]


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_every_version_comes_from_one_before_it() -> None:
    """One line of versions, each named by its file: no two branches that both claim to be the newest."""
    versions = Path(database.__file__).parent / "migrations" / "versions"
    scripts = list(ScriptDirectory(str(versions.parent)).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == sorted(
        path.name.partition("_")[0] for path in versions.glob("[0-9]*.py")
    )
    assert not any(script.is_branch_point or script.is_merge_point for script in scripts)


def test_a_database_of_an_unknown_version_is_refused_and_left_alone(url: str) -> None:
    engine = database.writing_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreVersion, match=r"schema 9999 is of a newer bridge .* install that version again"):
        database.migrate(engine)
    with engine.connect() as connection:
        assert database.current_version(connection) == "9999"
    engine.dispose()


def test_a_migration_that_breaks_leaves_nothing_behind(empty_url: str) -> None:
    engine = database.writing_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE webhooks (a INTEGER)"))  # in the way of the last table of the first
    with pytest.raises(StoreError, match=r"webhooks.*already exists"):
        database.migrate(engine)
    assert _tables(engine) == ["webhooks"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE webhooks"))
    assert database.migrate(engine)[0] is None
    engine.dispose()


def _tables(engine: Engine) -> list[str]:
    names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    if engine.dialect.name == "postgresql":
        names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    with engine.connect() as connection:
        return list(connection.execute(text(names)).scalars())


def _rows(connection: Connection, query: str) -> set[tuple[object, ...]]:
    return {tuple(row) for row in connection.execute(text(query))}


def _on_one_line(row: tuple[object, ...]) -> tuple[str, ...]:
    """SQLite keeps a table's text as it was written, and adds a column to it in its own layout."""
    return tuple(" ".join(str(value).split()) for value in row)
