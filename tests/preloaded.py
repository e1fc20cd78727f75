"""`bridge` in a process of its own that is forked with all imported: the imports take longer than most tests do."""

import atexit
import multiprocessing
import os
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from bridge.cli.main import main

_LATER = ["alembic.command", "typer._adapters"]  # what a start imports only when it comes to need it


class Preloaded:
    """A running `bridge`, as `subprocess.Popen` shows one."""

    stdout = None

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], out: Path, err: Path) -> None:
        self._process = _context().Process(target=_run, args=(arguments, dict(environment), out, err))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"it goes on after {timeout:g} s"
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bridge.cli.commands", "bridge.cli.serve", "bridge.service.lifecycle", *_LATER])
    return context


def _run(arguments: tuple[str, ...], environment: dict[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bridge", *arguments]
    for path, number in ((out, 1), (err, 2)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
    try:
        main()
    finally:  # multiprocessing's own end does not run these (Python 3.11)
        atexit._run_exitfuncs()
