"""What tests of several rooms need."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Bridge, Superoffice, superoffice


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Async tests run on the loop that the bridge runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Superoffice]:
    """One SuperOffice for all; a test is kept from the others by a tenant of its own."""
    with superoffice() as running:
        yield running


@pytest.fixture
def make_bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges, in this test's directory, that end with the test."""
    made: list[Bridge] = []

    def make(*arguments: Any, **settings: Any) -> Bridge:
        made.append(Bridge(tmp_path / f"bridge-{len(made)}", *arguments, **settings))
        return made[-1]

    yield make
    for bridge in made:
        bridge.close()
