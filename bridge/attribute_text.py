"""Stores an event's attributes once: the text that is sent, and whatever that text leaves out.

The text is what delivery needs, so it is whole; the attributes as the rule made them are put together from both for
those who look at them.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from bridge import jsontext

Form = Literal["text", "json", "pairs", "percent"]
"""How the text tells the attributes: it is them, it is their JSON, or it has a `name=value` for each, as it is or
percent-encoded.
"""

_ONLY_TEXT = {str}
_ESCAPED = re.compile("%(25|3B|3D|0A|0D)")


def untold(values: Any, text: str, form: Form, *, escaped: bool = False) -> tuple[Form | None, bytes]:
    """How `text`, which was made of `values` in this form, tells them, and JSON of what it does not tell.

    Of pairs that is an object of the values that stand there otherwise; where the form is None, it is everything.
    """
    if isinstance(values, str):
        return "text", b""
    if form == "json":
        return "json", b""
    if form != "pairs" or not isinstance(values, dict):
        return None, jsontext.encode(values)
    if escaped:
        return min((_of_escaped(values, text, each) for each in ("pairs", "percent")), key=lambda told: len(told[1]))
    if _ONLY_TEXT.issuperset(map(type, values.values())):
        return "pairs", b""
    return "pairs", jsontext.encode({name: value for name, value in values.items() if type(value) is not str})


def _of_escaped(values: Mapping[str, Any], text: str, form: Form) -> tuple[Form, bytes]:
    told = attributes(text, form, b"")
    rest = {name: value for name, value in values.items() if told[name] != value}
    return form, jsontext.encode(rest) if rest else b""


def attributes(text: str, form: Form | None, rest: bytes) -> Any:
    """What `untold` was given."""
    match form:
        case "text":
            return text
        case "json":
            return jsontext.decode(text.encode())
        case "pairs" | "percent":
            pairs = (pair.partition("=") for pair in text.split(";")) if text else ()
            told = {name: _unescaped(value) if form == "percent" else value for name, _, value in pairs}
            return told | (jsontext.decode(rest) if rest else {})
        case _:
            return jsontext.decode(rest)


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), value)
