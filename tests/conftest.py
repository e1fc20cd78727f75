"""What tests of several rooms need."""

import faulthandler
import gc
import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from databases import Server, sqlite_at
from hypothesis import HealthCheck, settings
from running import Bridge, Superoffice, superoffice

# How fast inputs are made and examples run tells how busy a machine is; a fixture that examples share is meant so.
_MEANT = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("bridge", deadline=None, suppress_health_check=_MEANT)
settings.load_profile("bridge")

_TESTS = Path(__file__).parent

# What tests prove survives no power cut, and need not: they write to memory where there is enough of it.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 1 << 30:
    tempfile.tempdir = os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)


_QUICK_ROOMS = ("mapping", "observing", "receiving", "settings")  # that read, decide and map
_SERVERS = {"sandbox", "make_bridge", "postgresql", "postgresql_url"}
_PROCESSES = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn", "pty.spawn")
_running_quick = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever needs a real process waits for it; what is quick needs neither that nor a database server."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"sandbox", "make_bridge"} & fixtures:
            item.add_marker(pytest.mark.timing)
        starts_processes = hasattr(getattr(item, "module", None), "subprocess")
        is_slow = item.get_closest_marker("timing") or item.get_closest_marker("faults") or starts_processes
        if item.path.relative_to(_TESTS).parts[0] in _QUICK_ROOMS and not is_slow and not _SERVERS & fixtures:
            item.add_marker(pytest.mark.quick)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """No quick test starts a process: that is found where it happens."""
    global _running_quick
    _running_quick = item.get_closest_marker("quick") is not None
    try:
        return (yield)
    finally:
        _running_quick = False


def _no_process(event: str, _arguments: tuple[Any, ...]) -> None:
    if _running_quick and event in _PROCESSES:
        raise AssertionError(f"a quick test starts a process ({event}): mark it timing, or move it")


sys.addaudithook(_no_process)


def pytest_collection_finish() -> None:
    """What stays to the end, modules and 7,000 tests, is looked through by no collection of garbage any more."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that a test left behind keeps the interpreter from ending: after a minute, all are told and ended."""
    faulthandler.dump_traceback_later(60, exit=True)


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
    numbers = itertools.count()

    def make(*arguments: Any, **settings: Any) -> Bridge:
        bridge = Bridge(tmp_path / f"bridge-{next(numbers)}", *arguments, **settings)
        stack.callback(bridge.close)
        return bridge

    with ExitStack() as stack:
        yield make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    # Not below pytest's own directory: root's server runs as another user, whom any other pytest locks out of that.
    with (
        tempfile.TemporaryDirectory(prefix="bridge-postgresql-") as directory,
        closing(Server(Path(directory) / "data")) as server,
    ):
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return sqlite_at(tmp_path / "bridge.db")


@pytest.fixture
def postgresql_url(postgresql: Server) -> Iterator[str]:
    with postgresql.database() as url:
        yield url


@pytest.fixture
def empty_postgresql_url(postgresql: Server) -> Iterator[str]:
    """A database without a table."""
    with postgresql.database("template1") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Any:
    """A migrated database; each contract test runs on both kinds."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(scope="session", autouse=True)
def _hup_means_what_it_does() -> Iterator[None]:
    """Whoever runs the tests may ignore HUP (nohup, CI), and so would every bridge that they start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
