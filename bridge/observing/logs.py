"""All log names, and the format of log lines: JSON on one line, or pretty on a terminal.

docs/logs.md lists each name with its fields, and a test keeps it true. A line never holds a body, a token or a
signature: fields are ids, names, counts and our own words.
"""

import atexit
import logging
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import orjson
import structlog

from bridge.observing.log_writer import ROOM, LogWriter
from bridge.times import iso, now

BRIDGE_STARTED: Final = "bridge.started"
BRIDGE_DRAINING: Final = "bridge.draining"
BRIDGE_STOPPED: Final = "bridge.stopped"
CONFIG_WARNED: Final = "config.warned"
SECRET_READ: Final = "secret.read"  # noqa: S105 -- a name
RELOAD_REFUSED: Final = "reload.refused"
CLOCK_STEPPED: Final = "clock.stepped"
TASK_FAILED: Final = "task.failed"
STORE_MIGRATED: Final = "store.migrated"
STORE_EXPOSED: Final = "store.exposed"
STORE_PRUNED: Final = "store.pruned"
STORE_PRUNING_FAILED: Final = "store.pruning_failed"
WEBHOOK_ACCEPTED: Final = "webhook.accepted"
WEBHOOK_REFUSED: Final = "webhook.refused"
WEBHOOK_UNSTORED: Final = "webhook.unstored"
HANDSHAKE_ANSWERED: Final = "handshake.answered"
HANDSHAKE_REFUSED: Final = "handshake.refused"
MAPPING_FAILED: Final = "mapping.failed"
ATTEMPT_FINISHED: Final = "attempt.finished"
ATTEMPT_UNRECORDED: Final = "attempt.unrecorded"
EVENT_DELIVERED: Final = "event.delivered"
EVENT_DEAD: Final = "event.dead"
EVENT_HELD: Final = "event.held"
EVENT_DISCARDED: Final = "event.discarded"
CLAIM_FAILED: Final = "claim.failed"
TARGET_PAUSED: Final = "target.paused"
TARGET_UNSAVED: Final = "target.unsaved"
TARGET_RESUMED: Final = "target.resumed"
TARGET_LOCATED: Final = "target.located"
TARGET_UNKNOWN: Final = "target.unknown"
TARGET_VERSION_READ: Final = "target.version_read"
TARGET_CERTIFICATE_REFUSED: Final = "target.certificate_refused"
LOGIN_RENEWED: Final = "login.renewed"
LOGIN_FAILED: Final = "login.failed"
LOGIN_UNKEPT: Final = "login.unkept"
ADMIN_REFUSED: Final = "admin.refused"
OPERATOR_CHANGED: Final = "operator.changed"
LIBRARY_LOGGED: Final = "library.logged"
LOG_DROPPED: Final = "log.dropped"

Format = Literal["auto", "json", "pretty"]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
_FLUSHED_WITHIN = 1.0  # seconds that a process which ends waits for the reader of its lines
_writers: list[LogWriter] = []


def configure(level: str = "info", format_: Format = "auto") -> None:
    """Send every line, the libraries' included, to stdout in one form. Lines below `level` are dropped."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    stdout = _stdout()
    pretty = format_ == "pretty" or (format_ == "auto" and os.isatty(stdout))
    render = _pretty() if pretty else _line
    writer = LogWriter(stdout, lambda lines: render(None, "warning", {"event": LOG_DROPPED, "lines": lines}))
    _writers.append(writer)
    atexit.register(writer.close, _FLUSHED_WITHIN)
    wrapper: Any = structlog.make_filtering_bound_logger(threshold)
    if not pretty and threshold <= logging.INFO:
        wrapper = _informing(wrapper, writer)
    structlog.configure(
        processors=[render],
        wrapper_class=wrapper,
        logger_factory=lambda *_: _Logger(writer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_LibraryHandler()], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def flush() -> None:
    """Write what waits, within a second; at the process's end that happens by itself, but for `os._exit`."""
    for writer in _writers:
        writer.flush(_FLUSHED_WITHIN)


def dropped() -> int:
    """How many lines were lost since the start: they found no room, or could not be written."""
    return sum(writer.dropped for writer in _writers)


def configure_command() -> None:
    """Send what is worse than a warning to stderr, and nothing else: a command's stdout is its answer."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def where(error: BaseException) -> dict[str, Any]:
    """An unexpected exception as fields: its type and the way to it. Its text is left out: it may quote a body."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return {"error": type(error).__name__, "where": [f"{f.filename}:{f.lineno} {f.name}" for f in frames]}


class _Logger:
    """What structlog hands each line to, by the name of its level."""

    def __init__(self, writer: LogWriter) -> None:
        for level in ROOM:
            setattr(self, level, partial(writer.write, level=level))


def _stdout() -> int:
    """Where lines go; nowhere, if it was closed: the next file that is opened must not get them."""
    return os.open(os.devnull, os.O_WRONLY) if sys.stdout is None else sys.stdout.fileno()


def _stamp(level: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    line["level"] = level
    line["timestamp"] = iso(now())
    return line


def _line(_: object, level: str, line: structlog.typing.EventDict) -> bytes:
    return orjson.dumps(_stamp(level, line), default=str) + b"\n"


def _pretty() -> Callable[[object, str, structlog.typing.EventDict], bytes]:
    console = structlog.dev.ConsoleRenderer()

    def render(logger: object, level: str, line: structlog.typing.EventDict) -> bytes:
        return f"{console(logger, level, _stamp(level, line))}\n".encode(errors="backslashreplace")

    return render


def _informing(wrapper: Any, writer: LogWriter) -> Any:
    """The same wrapper, with a shorter way for what every webhook tells: structlog's takes three times as long."""

    class Informing(wrapper):  # type: ignore[misc]
        def info(self, event: str, **fields: Any) -> None:
            writer.write(_line(None, "info", {**self._context, **fields, "event": event}), "info")

    return Informing


class _LibraryHandler(logging.Handler):
    """Turns what libraries log into lines like ours. Arguments are not merged in, since they may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = where(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        log.log(record.levelno, LIBRARY_LOGGED, logger=record.name, message=str(record.msg)[:500], **fields)
