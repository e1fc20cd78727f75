"""The entry point: what a command loads is counted in modules, which no busy machine changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge import __version__
from bridge.store.store import owned

_LOADED = """
import sys
import bridge.cli.main
try:
    bridge.cli.main.main()
finally:
    print(*sys.modules)
"""


def run(*arguments: str) -> tuple[str, set[str]]:
    """What a command printed, and the modules that were loaded in the end."""
    call = (sys.executable, "-c", _LOADED, *arguments)
    *out, loaded = subprocess.run(call, capture_output=True, text=True, check=False).stdout.splitlines()
    return "\n".join(out), set(loaded.split())


def test_the_version_is_told_before_anything_is_loaded() -> None:
    out, loaded = run("--version")
    assert out == __version__
    assert not loaded & {"typer", "pydantic", "sqlalchemy", "structlog"}
    assert len(loaded) < 120


def test_the_version_is_told_beside_other_options() -> None:
    assert run("--config", "nowhere", "--version")[0] == __version__


@pytest.mark.parametrize("command", ["events", "webhooks"])
def test_a_list_loads_nothing_that_receives_forwards_or_migrates(command: str, sqlite_url: str, tmp_path: Path) -> None:
    with owned(sqlite_url):
        pass
    config = tmp_path / "config"
    config.mkdir()
    (config / "bridge.yaml").write_text(f"store: {{url: '{sqlite_url}'}}\n")
    out, loaded = run("--config", str(config), command, "list")
    assert out.split()[:2] == ["id", "state"]
    assert not loaded & {"alembic", "uvicorn", "httpx", "cryptography", "bridge.service", "bridge.forwarding"}
    assert not loaded & {"structlog", "rich", "jinja2", "bridge.mapping", "bridge.receiving"}
