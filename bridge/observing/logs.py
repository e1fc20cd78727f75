"""Every log name in one place, and how a line looks: JSON on one line, or pretty on a terminal.

docs/logs.md lists each name with its fields, and a test keeps it true. A line never holds a body, a token or a
signature: fields are ids, names, counts and our own words.
"""

import atexit
import logging
import sys
import traceback
from typing import Any, BinaryIO, Final, Literal, TextIO, cast

import orjson
import structlog

from bridge.observing.turns import Turns
from bridge.times import iso, now

BRIDGE_STARTED: Final = "bridge.started"
BRIDGE_DRAINING: Final = "bridge.draining"
BRIDGE_STOPPED: Final = "bridge.stopped"
CONFIG_WARNED: Final = "config.warned"
STORE_MIGRATED: Final = "store.migrated"
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
OPERATOR_CHANGED: Final = "operator.changed"
LIBRARY_LOGGED: Final = "library.logged"

Format = Literal["auto", "json", "pretty"]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
_held: list[Turns] = []


def configure(level: str = "info", format_: Format = "auto") -> None:
    """Send every line, the libraries' included, to stdout in one form. Lines below `level` are dropped."""
    pretty = format_ == "pretty" or (format_ == "auto" and sys.stdout.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    factory: Any
    wrapper: Any = structlog.make_filtering_bound_logger(threshold)
    if pretty:
        factory = structlog.PrintLoggerFactory(cast("TextIO", _Lasting(sys.stdout)))
        processors: list[structlog.typing.Processor] = [_stamp, structlog.dev.ConsoleRenderer()]
    else:
        turns = Turns(sys.stdout.buffer)
        _held.append(turns)
        atexit.register(flush)
        factory = structlog.BytesLoggerFactory(cast("BinaryIO", turns))
        processors = [_line]
        if threshold <= logging.INFO:
            wrapper = _informing(wrapper, turns)
    structlog.configure(
        processors=processors,
        wrapper_class=wrapper,
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_LibraryHandler()], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def flush() -> None:
    """Write what waits for the end of its turn; at the process's end that happens by itself, but for `os._exit`."""
    for turns in _held:
        turns.flush()


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


def _stamp(_: object, level: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    line["level"] = level
    line["timestamp"] = iso(now())
    return line


def _line(_: object, level: str, line: structlog.typing.EventDict) -> bytes:
    return orjson.dumps(_stamp(_, level, line), default=str)


def _informing(wrapper: Any, turns: Turns) -> Any:
    """The same wrapper, with a shorter way for what every webhook tells: structlog's takes three times as long.

    What is worse than information goes structlog's way: few lines, each written at once.
    """

    class Informing(wrapper):  # type: ignore[misc]
        def info(self, event: str, **fields: Any) -> None:
            turns.hold(_line(None, "info", {**self._context, **fields, "event": event}) + b"\n")

    return Informing


class _Lasting:
    """A stream whose failure fails nothing else: a full disk or a reader that left must not stop a webhook."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, line: Any) -> None:
        try:  # contextlib.suppress would take as long as the writing
            self._stream.write(line)
        except OSError:
            pass

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            pass


class _LibraryHandler(logging.Handler):
    """Turns what libraries log into lines like ours. Arguments are not merged in, since they may quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = where(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        log.log(record.levelno, LIBRARY_LOGGED, logger=record.name, message=str(record.msg)[:500], **fields)
