"""A store and its log for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand

from bridge.store.store import Store

from .support import Base, Log, logged

pytest.register_assert_rewrite(f"{__package__}.machine")  # what it asserts is told like a test's


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "bridge.db")


@pytest.fixture
async def store(base: Base, anyio_backend: Any) -> AsyncIterator[Store]:
    async with base.opened() as store:
        yield store


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as log:
        yield log
