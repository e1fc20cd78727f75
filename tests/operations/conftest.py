"""An office per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.store.store import owned

from .support import Office


@pytest.fixture
def office(tmp_path: Path, sqlite_url: str) -> Iterator[Office]:
    with owned(sqlite_url) as engine:
        office = Office(tmp_path, engine, sqlite_url)
        yield office
        office.store.close()
