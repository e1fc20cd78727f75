import ast
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from bridge.store import dialects
from bridge.store.dialects import postgresql, sqlite

ROOM = Path(dialects.__file__).parents[1]
# The tables name for each kind of database the condition of a partial index, as SQLAlchemy has it.
ELSEWHERE = [path for path in ROOM.rglob("*.py") if not {"dialects", "migrations"} & set(path.parts)]


def _names_a_kind(node: ast.AST) -> bool:
    """Whether code asks which kind of database there is, or is written for one."""
    if isinstance(node, ast.Constant):
        return node.value in (sqlite.NAME, postgresql.NAME, "psycopg")
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith(("sqlalchemy.dialects", "psycopg", "sqlite3"))
    if isinstance(node, ast.Import):
        return any(alias.name in ("sqlite3", "psycopg") for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in ("get_backend_name", "get_dialect")


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(ROOM)))
def test_what_differs_between_databases_stands_in_dialects_only(path: Path) -> None:
    found = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if _names_a_kind(node)]  # type: ignore[attr-defined]
    assert found == []


@pytest.mark.parametrize("dialect", [sqlite, postgresql])
def test_a_kind_of_database_is_told_by_its_url(dialect: dialects.Dialect) -> None:
    assert dialects.of_url(f"{dialect.NAME}://") is dialect


def test_a_kind_of_database_is_told_by_its_connection() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        assert dialects.of(connection) is sqlite
    engine.dispose()
