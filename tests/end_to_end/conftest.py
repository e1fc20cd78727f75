"""Commands, without the second that a process of their own takes to start."""

import sys
from collections.abc import Callable

import pytest
import structlog

from bridge.cli.main import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command as `bridge` does; gives its exit code and what it wrote to standard output and error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bridge", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        structlog.reset_defaults()  # what the command set up is for its own process
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run_command
