"""Turns pydantic's validation errors into messages that say what is wrong and what to write instead."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from bridge.errors import Problem
from bridge.settings.annotations import choices, inside, models, parts
from bridge.settings.document import Section
from bridge.settings.secrets import Expanded, Secret
from bridge.settings.unknown_keys import nearest, unknown_key


def describe(section: Section, model: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[Problem]:
    """Pydantic's errors about a section and its model, each as a problem at its own place.

    A key that is missing where another looks like it is not told twice.
    """
    missing = {error["loc"] for error in errors if error["type"] == "missing"}
    misspelt = {
        (*around, nearest(str(key), [str(lost[-1]) for lost in missing if lost[:-1] == tuple(around)]))
        for *around, key in (error["loc"] for error in errors if error["type"] == "extra_forbidden")
    }
    return [_describe(section, model, error) for error in errors if error["loc"] not in missing & misspelt]


def _describe(section: Section, model: type[BaseModel], error: ErrorDetails) -> Problem:
    loc, kind, ctx = error["loc"], error["type"], error.get("ctx", {})
    parents: list[tuple[str | int, Any]] = []
    wanted: Any = model
    found: Any = section.value
    for depth, key in enumerate(loc, 1):
        if _holds(found, key) or (kind == "missing" and depth == len(loc)):
            parent, section = wanted, section[key]
            parents.append((key, wanted))
            wanted, found = inside(wanted, key), found[key] if _holds(found, key) else None
        elif depth == len(loc):  # "[key]", or pydantic's name for a branch of a union
            found = error["input"]
    if kind == "missing":
        return section.problem("is missing", _how_to_add(parent, str(loc[-1])))
    if kind == "extra_forbidden":
        return unknown_key(section, parents[:-1], parent, str(loc[-1]))
    if kind == "wrong":
        message, hint = str(ctx["message"]), str(ctx["hint"])
    else:
        message, hint = _message(kind, error, ctx), _hint(kind, found, wanted)
    if message.startswith("must be") and ", not " not in message:
        show = kind not in _CONTAINERS and Secret not in parts(wanted)
        message += f", not {_found(found, show=show)}"
    return section.problem(message, hint)


_CONTAINERS = {
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "dict_type": "must be a mapping (key: value)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
}
_SCALARS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "value_error": "{error}",
    "assertion_error": "{error}",
}


def _message(kind: str, error: ErrorDetails, ctx: Mapping[str, Any]) -> str:
    if kind in ("string_too_short", "too_short") and ctx.get("min_length") == 1:
        return "is empty"
    template = _CONTAINERS.get(kind) or _SCALARS.get(kind)
    if template is None:
        return error["msg"][:1].lower() + error["msg"][1:]
    if "expected" in ctx:  # 'a', 'b' or 'c'
        return template.format(expected=", ".join(re.findall(r"'([^']*)'", ctx["expected"])))
    return template.format(**{name: f"{value:g}" if isinstance(value, float) else value for name, value in ctx.items()})


def _hint(kind: str, found: Any, wanted: Any) -> str:
    if kind == "string_type" and isinstance(found, int | float):
        return "put it in quotes"
    if kind in _CONTAINERS and isinstance(found, dict) and (entry := models(inside(wanted, 0))):
        first = next((name for name, field in entry[0].model_fields.items() if field.is_required()), "...")
        return f"begin each of its entries with a dash: `- {first}: ...`"
    if kind in _CONTAINERS and isinstance(found, str):
        if any("scheme" in model.model_fields for model in models(wanted)):
            return "write it like {scheme: NAME}, with what the scheme needs"
        if found and _CONTAINERS[kind] == "must be a list" and not models(inside(wanted, 0)):
            return "put it in brackets: [...]"
    may_be_shown = isinstance(found, str) and not isinstance(found, Expanded)
    if kind in ("literal_error", "enum") and may_be_shown and (near := nearest(found, choices(wanted))):
        return f"did you mean `{near}`?"
    return "give at least one" if kind == "too_short" else ""


def _how_to_add(parent: Any, key: str) -> str:
    for model in models(parent):
        for name, field in model.model_fields.items():
            if key == (field.alias or name) and field.description:
                return f"add it: {field.description}"
    return "add it"


def _found(value: Any, *, show: bool) -> str:
    """What a person wrote, in words; texts that came from a variable or a file, and secrets, are not shown."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None or value == "":
        return "empty"
    if isinstance(value, str):
        return json.dumps(_short(value), ensure_ascii=False) if show and not isinstance(value, Expanded) else "text"
    kind = "" if isinstance(value, bool) else "the number "
    return f"{kind}{json.dumps(value)}" if show else "a number" if kind else "true or false"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _holds(value: Any, key: str | int) -> bool:
    return key in value if isinstance(value, dict) else isinstance(value, list) and isinstance(key, int)
