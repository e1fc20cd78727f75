"""Commands, without the second that a process of their own takes to start."""

from collections.abc import Callable

import pytest
from running import run_here

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command() -> Command:
    """Runs a command as `bridge` does; gives its exit code and what it wrote to standard output and error."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        done = run_here(*arguments, environment={})
        return done.returncode, done.stdout, done.stderr

    return run_command
