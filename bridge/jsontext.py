"""JSON as the bridge reads and writes it: strict, exact for integers of any size, compact.

msgspec reads, since it keeps integers beyond 64 bits; orjson writes, and the standard library where it refuses to.
"""

import json
from typing import Any

import msgspec
import orjson

_TYPE_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
_decode = msgspec.json.Decoder().decode


def decode(text: bytes) -> Any:
    """Read one JSON document. NaN, Infinity, 1e400, invalid UTF-8 and lone surrogates are errors.

    Raises:
        ValueError: what is wrong and where, without anything of the document.
    """
    try:
        return _decode(text)
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
