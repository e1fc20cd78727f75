"""The exception tree, and `Problem`: one finding about a configuration, with its place.

BridgeError
├── ConfigError        the configuration has problems (all of them, located); nothing was started
├── ExpressionError    an expression of the configuration is not one; says which piece and what to write instead
├── NotVerified        a request is not proven genuine; carries a reason that is safe to log
│   └── KeyUnavailable    the key that it is proven by cannot be had now; the sender should try again
├── CannotSign         a scheme's requests cannot be made here: only the sender has what it takes
├── Unreadable         bytes are not what they are said to be: a verified body, what its source declares
│   └── Undecodable       they are not in the content coding or the charset that is named
├── MappingError       a rule cannot be carried out on this webhook; says field, expression and what was missing
│   ├── MissingKey     a key of a chain is not there (what `default` and `is defined` cover)
│   └── Exceeded       a bound on what one webhook may make or take: it fails as a whole
├── Refused            a request breaks a limit (too large, too slow, too many of them)
└── StoreError
    ├── StoreUnavailable  the commit failed, took too long, or its fate is unknown
    ├── StoreLocked       another process owns the database file
    └── StoreVersion      the database was written by a newer bridge, or is not migrated
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad a problem is: errors refuse to start, warnings do not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file; line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about the configuration: where, what, and what to do about it."""

    location: Location
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.location}: {self.path}: " if self.path else f"{self.location}: "
        return place + self.message + (f", {self.hint}" if self.hint else "")

    def as_json(self) -> dict[str, str | int]:
        """The fields of `bridge check --json`."""
        return {
            "severity": self.severity.value,
            "file": self.location.file,
            "line": self.location.line,
            "column": self.location.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


class BridgeError(Exception):
    """The root: whatever the bridge itself raises."""


class ConfigError(BridgeError):
    """The configuration has problems; `problems` holds them all, errors and warnings."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class ExpressionError(BridgeError):
    """An expression of the configuration cannot be compiled; `message` and `hint` are those of a `Problem`.

    `position` is the character of the text, from 0, that it is about.
    """

    def __init__(self, message: str, hint: str = "", position: int = 0) -> None:
        super().__init__(f"{message}, {hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.position = position


class NotVerified(BridgeError):
    """A request is not proven genuine. `reason` is one of a fixed set of words and never holds the sender's bytes.

    `took` are the milliseconds of the processor's that it took to find out, where that is long enough to be measured.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.took = 0.0


class KeyUnavailable(NotVerified):
    """The key that a request is proven by cannot be fetched now: no fault of the sender, who should try again."""


class CannotSign(BridgeError):
    """A genuine request of a scheme cannot be made here; the text says why, and what to do instead."""


class Unreadable(BridgeError):
    """Bytes are not what they are said to be: a verified body, what its source declares."""


class Undecodable(Unreadable):
    """Bytes are not in the content coding or the charset that is named."""


class MappingError(BridgeError):
    """A rule cannot be carried out on this webhook. `hint` says what to do; `expression` is the rule's own text.

    A hint that takes work to find is given as a function: most of 10,000 broken items are only counted. The log tells
    `field`, `message` and `expression`, so nothing of the webhook is in them, or another one is given for the log.
    """

    def __init__(self, message: str, hint: str | Callable[[], str] = "", expression: str = "") -> None:
        super().__init__(message)
        self.message = message
        self._hint = hint
        self.expression = expression
        self.field = ""  # which part of the rule, such as `when` or `attributes.order`
        self.logged_field: str | None = None  # where the webhook has a say in `field`
        self.logged_message: str | None = None  # where it has one in `message`
        self.values: Mapping[str, Any] = {}  # of the webhook, for who may see it: never in the message, nor in a log

    @property
    def hint(self) -> str:
        return self._hint if isinstance(self._hint, str) else self._hint()


class MissingKey(MappingError):
    """A key of a chain such as `body.customer.id` is not there."""


class Exceeded(MappingError):
    """One webhook would make too much, or take too long: it fails as a whole, whatever other rules made of it."""


class Refused(BridgeError):
    """A request breaks a limit; `reason` is for the log, `detail` and `retry_after` in seconds for the sender."""

    def __init__(self, reason: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


class StoreError(BridgeError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The commit failed, took too long, or its fate is unknown: the sender should try again."""


class StoreLocked(StoreError):
    """Another process owns the database file."""


class StoreVersion(StoreError):
    """The database's schema is not the one this version of the bridge works with."""
