"""Signal handlers of a running bridge; deploy/README.md lists them in a table."""

import asyncio
import os
import signal

from bridge.observing import logs
from bridge.observing.logs import log

_IGNORED = (signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2)


class Signals:
    """Holds from when it is made; `listen` adds what only a bridge that runs can do. `stop` is set once it is to drain.

    HUP asks for a reload, as everywhere; but it is also how a process learns that its terminal is gone. It means that
    only where there was one at the start and is none any more, so never under a service manager or in a container.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._asked = False
        self._had_terminal = _has_terminal()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        self._reloads = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # else somebody's nohup says so
        if self._reloads:
            signal.signal(signal.SIGHUP, lambda *_: self._hang_up())

    def listen(self) -> None:
        """Begin to take signals in the running event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGQUIT, _end_at_once)
        if self._reloads:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _end(self) -> None:
        """The first one asks for a drained end, the second ends at once: what is stored is safe either way."""
        if self._asked:
            _end_at_once()
        self._asked = True
        self.stop.set()

    def _hang_up(self) -> None:
        if self._had_terminal and not _has_terminal():
            self.stop.set()
        else:
            detail = "there is no reload yet, restart the bridge to let it read its configuration again"
            log.warning(logs.RELOAD_REFUSED, detail=detail)


def _end_at_once() -> None:
    logs.flush()
    os._exit(1)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal: only then can /dev/tty be opened, see tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
