"""Key access and operators of compiled expressions, each with a limit on the size of its result."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

from bridge.errors import MappingError, MissingKey
from bridge.jsontext import as_text, type_name

MAX_TEXT = 1 << 20
"""Characters that one text may have."""
MAX_WORK = 4 << 20
"""Characters that one evaluation may make in all, the texts in between included."""
ITEM = 8
"""What one value of a list or object costs, in characters: the size of a pointer."""
MAX_INTEGER = 10**4300 - 1
"""Python writes no longer integers as text (`sys.int_info.default_max_str_digits`), and JSON readers refuse them."""

_PYTHON_TYPE = re.compile(r"'?\b(str|int|float|bool|NoneType|dict|list|tuple)\b'?")
_EXAMPLES: dict[str, Any] = {"str": "", "bool": True, "NoneType": None, "dict": {}, "list": [], "tuple": []}

Budget = list[int]
"""One number: what is left of MAX_WORK in this evaluation."""


class Missing(Exception):
    """A key is not there. Cheap, since `default` expects it; `explain` turns it into words where nobody does.

    `asked` is how the rule spells a key that it computes.
    """

    def __init__(self, value: Any, key: Any, owner: str, chain: str, asked: str) -> None:
        super().__init__()
        self.value = value
        self.key = key
        self.owner = owner
        self.chain = chain
        self.asked = asked

    def explain(self) -> MissingKey:
        """Say which chain ends where. Keys of the webhook are named at most once, and only the one nearest."""
        message = f"`{self.chain}` is missing: `{self.owner}` "
        if isinstance(self.value, Mapping):
            message += "has no such key"
        elif isinstance(self.value, Sequence) and not isinstance(self.value, str):
            message += f"is a list of {len(self.value)} items, counted from 0"
        else:
            message += f"is {type_name(self.value)}, which has no keys"
        error = MissingKey(message, self._hint)
        error.values = {self.asked: self.key} if self.asked else {}
        return error

    def _hint(self) -> str:
        hint = "`| default(...)` gives a value where it may be"
        if not isinstance(self.value, Mapping) or not isinstance(self.key, str):
            return hint
        known = {key.casefold(): key for key in islice(self.value, 200) if isinstance(key, str) and len(key) <= 64}
        matches = get_close_matches(self.key[:64].casefold(), known, 1)
        near = [f"the nearest key is `{known[match]}`; " for match in matches]
        return "".join([*near, hint])


class Unsuitable(Exception):
    """An operator or filter cannot work with this value; the message names types, never values."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def key(value: Any, name: Any, owner: str, chain: str, asked: str = "") -> Any:
    """`value[name]` for objects and lists; text has no keys.

    `owner` and `chain` are how the rule spells them, `asked` the name where that is computed.
    """
    try:
        if not isinstance(value, str):
            return value[name]
    except (LookupError, TypeError):
        pass
    raise Missing(value, name, owner, chain, asked)


def guard(run: Callable[[], Any], piece: str) -> Any:
    """Run one operator or filter and say `piece` where it fails."""
    try:
        return run()
    except Unsuitable as error:
        raise MappingError(f"`{piece}`: {error}", error.hint) from None
    except ZeroDivisionError:
        raise MappingError(f"`{piece}`: division by zero") from None
    except OverflowError:
        raise MappingError(f"`{piece}`: the number is too large") from None
    except RecursionError:
        raise MappingError(f"`{piece}`: the value is nested too deeply") from None
    except TypeError as error:  # of Python's own operators: names types only
        words = _PYTHON_TYPE.sub(lambda found: type_name(_EXAMPLES.get(found[1], 0)), str(error))
        raise MappingError(f"`{piece}`: {words}", "`| string`, `| int` or `| float` convert") from None
    except ValueError:
        raise MappingError(f"`{piece}`: the value cannot be written as text") from None


def charge(budget: Budget, amount: int, message: str = "") -> None:
    """Take `amount` characters from the budget, before they are made."""
    budget[0] -= amount
    if amount > MAX_TEXT or budget[0] < 0:
        raise Unsuitable(
            message or f"makes too much text, at most {MAX_TEXT:,} characters or {MAX_TEXT // ITEM:,} values"
        )


def size(value: Any) -> int:
    """About the characters a value has as text; counting ends beyond MAX_TEXT."""
    total, level = 0, [value]
    while level:
        total += ITEM * len(level)
        if total > MAX_TEXT:
            break
        inner: list[Any] = []
        for part in level:
            if isinstance(part, str):
                total += len(part) if part.isprintable() else len(repr(part))
            elif isinstance(part, int):
                total += part.bit_length() >> 2
            elif isinstance(part, list | dict):
                if len(inner) + len(part) > MAX_TEXT // ITEM:
                    return MAX_TEXT + 1
                inner += part
                if isinstance(part, dict):
                    inner += part.values()
        level = inner
    return total


def text(budget: Budget, value: Any, write: Callable[[Any], str] = str) -> str:
    """A value as Jinja's `string` filter and `~` write it, or as `write` does."""
    if not isinstance(value, str):
        if isinstance(value, list | dict):
            charge(budget, size(value))
        value = write(value)
    charge(budget, len(value))
    return str(value)


def concatenate(budget: Budget, *values: Any) -> str:
    """`a ~ b`, as Jinja does it."""
    parts = [value if isinstance(value, str) else text(budget, value) for value in values]
    charge(budget, sum(map(len, parts)))
    return "".join(parts)


def template(budget: Budget, *values: Any) -> str:
    """Mixed text: strings as they are, null empty, everything else as compact JSON."""
    parts = [value if isinstance(value, str) else text(budget, value, as_text) for value in values]
    charge(budget, sum(map(len, parts)))
    return "".join(parts)


def calculate(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Arithmetic on numbers (true and false count as 1 and 0, as in Jinja); the result is finite and bounded."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise Unsuitable(
            f"needs two numbers, not {type_name(left)} and {type_name(right)}",
            "`| int` or `| float` make numbers of text, `~` joins text",
        )
    result = operation(left, right)
    if not (-MAX_INTEGER <= result <= MAX_INTEGER if isinstance(result, int) else math.isfinite(result)):
        raise OverflowError
    return result


def within(left: Any, right: Any) -> bool:
    """`a in b`."""
    return left in right


def without(left: Any, right: Any) -> bool:
    """`a not in b`."""
    return left not in right


def compare(budget: Budget, left: Any, *steps: tuple[Callable[[Any, Any], bool], Callable[[], Any]]) -> bool:
    """`a < b <= c`: each step is an operation and what gives its right side, asked for only where it matters."""
    result = True
    for operation, side in steps:
        right = side()
        charge(budget, _looked_at(operation, left, right), "compares too much text or too many values")
        if not (result := operation(left, right)):
            break
        left = right
    return result


def _looked_at(operation: Callable[[Any, Any], bool], left: Any, right: Any) -> int:
    """What a comparison costs, in characters that could be made in that time."""
    if operation in (within, without):
        if isinstance(right, list):
            return 2 * (size(right) if isinstance(left, list | dict) else len(right))
        return len(right) // 2 if isinstance(right, str) else 0
    if isinstance(left, str) and isinstance(right, str):
        return min(len(left), len(right)) // 4
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        return 2 * size(min(left, right, key=len))
    return 0


def add(budget: Budget, left: Any, right: Any) -> Any:
    """`a + b` for numbers, two texts, or two lists."""
    if isinstance(left, str) and isinstance(right, str):
        charge(budget, len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        charge(budget, ITEM * (len(left) + len(right)))
        return left + right
    return calculate(operator.add, left, right)


def text_key(value: Any) -> str:
    """A key of an object literal."""
    if not isinstance(value, str):
        raise Unsuitable(f"keys are text, not {type_name(value)}", "`| string` makes text of it")
    return value
