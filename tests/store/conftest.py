"""A store per test, on SQLite and on PostgreSQL, and what looks into its database beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand
from running import HANG
from sqlalchemy import Engine

from bridge.store import database
from bridge.store.store import Store

from .support import NOW


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database without a table, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return request.getfixturevalue("empty_postgresql_url")


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
    return Hand(NOW)


@pytest.fixture
def store(engine: Engine, hand: Hand) -> Iterator[Store]:
    store = Store(engine, hand, commit_within=HANG)
    yield store
    store.close()
