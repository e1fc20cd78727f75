"""The filters and tests of expressions, with Jinja's names, parameters and values.

`default` and `is defined` get their left side as a function, so that they cover a key missing anywhere in it; `int` and
`float` fail on what is no number.
"""

import math
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

from bridge.errors import ExpressionError
from bridge.jsontext import type_name
from bridge.mapping.expressions.operators import ITEM, Budget, Missing, Unsuitable, charge, size, text

MAX_TRIMMED = 256

_NUMBER = re.compile(r"([+-]?)(?:(\d+)(?:\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_REQUIRED: Any = object()
_WORDS = {str, int, float}
_NO_TEXT = "`| default('', true)` before it gives text where there is none, `| string` makes text of anything"


def default(value: Callable[[], Any], default_value: Callable[[], Any] = str, boolean: Any = False) -> Any:
    """`x | default(y)`: y where a key anywhere in x is missing; with `boolean`, also where x is empty, 0 or null."""
    try:
        found = value()
    except Missing:
        return default_value()
    return default_value() if boolean and not found else found


def to_int(value: Any, default: Any = _REQUIRED) -> Any:
    """`x | int`: whole numbers of text are exact at any length, fractions are cut off."""
    if isinstance(value, int | float):
        return int(value)
    if isinstance(value, str) and len(value) <= 4300 and (found := _NUMBER.fullmatch(value)):
        sign, whole, exponent = found.groups()
        return int(float(value)) if exponent else int(sign + (whole or "0"))
    return _otherwise(value, default)


def to_float(value: Any, default: Any = _REQUIRED) -> Any:
    """`x | float`."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and len(value) <= 4300 and _NUMBER.fullmatch(value):
        if not math.isfinite(number := float(value)):
            raise OverflowError
        return number
    return _otherwise(value, default)


def _otherwise(value: Any, fallback: Any) -> Any:
    if fallback is _REQUIRED:
        what = "text that is no plain number" if isinstance(value, str) else type_name(value)
        raise Unsuitable(f"needs a number, not {what}", "an argument, as in `| int(0)`, is used instead")
    return fallback


def _words(budget: Budget, value: Any) -> str:
    """Text, or a number as text: what stands in a field by chance, such as null, is never sent as words."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unsuitable(f"needs text, not {_named(value)}", _NO_TEXT)
    return text(budget, value)


def _named(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else type_name(value)


def upper(budget: Budget, value: Any) -> str:
    """`x | upper`; some letters become two or three."""
    return text(budget, _to_be_cased(budget, value).upper())


def lower(budget: Budget, value: Any) -> str:
    """`x | lower`."""
    return text(budget, _to_be_cased(budget, value).lower())


def _to_be_cased(budget: Budget, value: Any) -> str:
    whole = _words(budget, value)
    if not whole.isascii():  # Python makes room for three letters of each
        charge(budget, 2 * len(whole))
    return whole


def trim(budget: Budget, value: Any, chars: Any = None) -> str:
    """`x | trim`, or `x | trim('-_')` for other characters than white space."""
    if isinstance(chars, str):
        charge(budget, len(chars))
        chars = "".join(set(chars))
        if len(chars) > MAX_TRIMMED:
            raise Unsuitable(f"trims at most {MAX_TRIMMED} different characters")
    return _words(budget, value).strip(chars)


def as_list(value: Any) -> list[Any]:
    """`x | as_list`: a list as it is, null as an empty one, anything else as the only item of one."""
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def length(value: Any) -> int:
    """`x | length` of text, a list or an object."""
    return len(value)


def join(budget: Budget, value: Any, d: Any = "") -> str:
    """`x | join(', ')`: the items of a list (keys of an object, characters of text) with `d` between them."""
    if not isinstance(value, list | dict | str):
        raise Unsuitable(f"needs a list, not {_named(value)}", "`| as_list` makes a list of anything")
    separator = _words(budget, d)
    charge(budget, ITEM * len(value) + len(separator) * max(len(value) - 1, 0))
    items = list(value)
    if set(map(type, items)) - _WORDS:  # a look at each would take longer than the joining
        items = [_words(budget, item) for item in items]
    charge(budget, size(items))
    parts = list(map(str, items))
    charge(budget, sum(map(len, parts)) + len(separator) * max(len(value) - 1, 0))
    return separator.join(parts)


def replace(budget: Budget, value: Any, old: Any, new: Any, count: Any = None) -> str:
    """`x | replace('a', 'b')`, or only the first `count`."""
    whole, old, new = _words(budget, value), _words(budget, old), _words(budget, new)
    limit, times = -1 if count is None else operator.index(count), whole.count(old)
    times = times if limit < 0 else min(limit, times)
    charge(budget, len(whole) + times * max(len(new) - len(old), 0))
    return whole.replace(old, new, times)


def defined(value: Callable[[], Any]) -> bool:
    """`x is defined`: every key of x is there."""
    try:
        value()
    except Missing:
        return False
    return True


def none(value: Any) -> bool:
    """`x is none`."""
    return value is None


@lru_cache(maxsize=256)
def pattern(expression: str) -> Any:
    """Compile the constant pattern of `is match` (RE2's syntax, linear time, at most 1 MiB of memory).

    Raises:
        ExpressionError: it is no pattern.
    """
    if "\b" in expression:
        raise ExpressionError("the pattern holds a backspace", "write `\\\\b` for the edge of a word")
    options = re2.Options()
    options.max_mem, options.never_capture, options.log_errors = 1 << 20, True, False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "not understood"
        raise ExpressionError(f"`{expression[:80]}` is no pattern: {reason}", "the syntax is RE2's") from None


def match(budget: Budget, value: Any, compiled: Any) -> bool:
    """`x is match('CRM-.*')`: the text begins with the pattern. Costs text times pattern, RE2's worst case."""
    if not isinstance(value, str):
        raise Unsuitable(f"needs text, not {_named(value)}", "`| string` makes text of it")
    charge(budget, len(value) * compiled.programsize // 4, "the text is too long for this pattern")
    return compiled.match(value.encode()) is not None


FILTERS: dict[str, Callable[..., Any]] = {
    "as_list": as_list,
    "default": default,
    "float": to_float,
    "int": to_int,
    "join": join,
    "length": length,
    "lower": lower,
    "replace": replace,
    "string": text,
    "trim": trim,
    "upper": upper,
}
TESTS: dict[str, Callable[..., Any]] = {"defined": defined, "match": match, "none": none}
