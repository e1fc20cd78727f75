"""Errors of one rule: the first few with their field and values, the rest as a count."""

from collections.abc import Callable
from typing import Any, TypeVar

from bridge.errors import MappingError
from bridge.mapping.expressions.why import bounded

S = TypeVar("S")
_TOLD = 3


class Errors:
    """What broke in one rule: the first few in words, with the values that tell more, the others counted."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._told: list[str] = []
        self._logged: list[str] = []
        self._count = 0

    def add(self, place: str, error: MappingError) -> None:
        """One more, of an item at `place`."""
        self._count += 1
        if self._count <= _TOLD:
            self._told.append(place + told(error))
            self._logged.append(place + logged(error))
            self.values |= {f"{place}{name}": bounded(value) for name, value in error.values.items()}

    def told(self) -> str | None:
        """All of them in a line; None where there are none."""
        return self._in_a_line(self._told)

    def logged(self) -> str | None:
        """The same for the log, which holds nothing of a webhook."""
        return self._in_a_line(self._logged)

    def _in_a_line(self, first: list[str]) -> str | None:
        more = self._count - len(first)
        return "; ".join([*first, *([f"and {more:,} more"] if more else [])]) or None


def in_field(field: str, function: Callable[[S], Any], scope: S) -> Any:
    """What a function makes of a scope; where it fails, the error says in which field of the rule."""
    try:
        return function(scope)
    except MappingError as error:
        raise with_field(field, error) from None


def with_field(field: str, error: MappingError) -> MappingError:
    """The error, with the field that it is in, where it does not know yet."""
    error.field = error.field or field
    return error


def told(error: MappingError) -> str:
    """One error in words: where, what, in which expression, what to do."""
    return _words(error.field, error.message, error.expression) + (f", {error.hint}" if error.hint else "")


def logged(error: MappingError) -> str:
    """The same for the log: a hint may name a key of the webhook."""
    field = error.field if error.logged_field is None else error.logged_field
    return _words(field, error.message if error.logged_message is None else error.logged_message, error.expression)


def _words(field: str, message: str, expression: str) -> str:
    return (f"{field}: " if field else "") + message + (f" in `{expression}`" if expression else "")
