"""Reads and writes JSON: strict, exact for integers of any size, compact.

msgspec reads, since it keeps integers beyond 64 bits; orjson writes, and the standard library where it refuses to.
"""

import json
import re
from typing import Any

import msgspec
import orjson

_TYPE_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
_LONE_AT_THE_END = re.compile(rb'\\u[dD][89abAB][0-9a-fA-F]{2}"[^"\\]{0,10}\Z')
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
    except ValueError as error:
        raise ValueError(_fault(text, str(error))) from None


def _fault(text: bytes, told: str) -> str:
    """What is wrong and where: the parser counts from within a string, and calls half a pair of surrogates an end."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start})"
    if told == "Input data was truncated":
        found = _LONE_AT_THE_END.search(text)
        return f"half a surrogate pair (byte {found.start()})" if found else "it ends too early"
    if "out of range" in told:
        return "a number is out of range"
    return told.removeprefix("JSON is malformed: ")


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
