"""JSON as the bridge reads and writes it: strict, exact for integers of any size, compact.

orjson does the work; where a number has 19 or more digits the standard library reads it again, since orjson turns
integers beyond 64 bits into floats (and refuses to write them).
"""

import json
from typing import Any

import orjson

_TYPE_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
# Every digit becomes 0, all that may stand before a number a comma: a long number is then one thing to look for, in a
# tenth of a regular expression's time, and neither a hash nor an id within quotes is taken for one.
_DIGITS_ALIKE = bytes(48 if byte in b"0123456789" else 44 if byte in b":,[- \t\r\n" else 0 for byte in range(256))
_LONG_NUMBER = b"," + b"0" * 19


def decode(text: bytes) -> Any:
    """Read one JSON document. NaN, Infinity, 1e400, invalid UTF-8 and lone surrogates are errors.

    Raises:
        ValueError: what is wrong and where.
    """
    value = orjson.loads(text)
    if _LONG_NUMBER not in (b"," + text).translate(_DIGITS_ALIKE):
        return value
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def encode(value: Any) -> bytes:
    """Write compact JSON in UTF-8. Values come from `decode` or an expression, so none is infinite or not a number."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def as_text(value: Any) -> str:
    """A value inside text: strings as they are, null empty, everything else as compact JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value).decode()


def type_name(value: Any) -> str:
    """What a person calls the type of a JSON value."""
    return _TYPE_NAMES.get(type(value), "a number")
