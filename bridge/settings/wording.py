"""Pydantic's errors in words for people: what is wrong with what they wrote, and what to write instead."""

import difflib
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.errors import Problem
from bridge.settings.document import Section
from bridge.settings.secrets import Expanded, Secret


def describe(section: Section, model: type[BaseModel], error: ErrorDetails) -> Problem:
    """One of pydantic's errors about a section and its model, as a problem at its own place."""
    loc, kind, ctx = error["loc"], error["type"], error.get("ctx", {})
    wanted: Any = model
    found: Any = section.value
    for depth, key in enumerate(loc, 1):
        if _holds(found, key) or (kind == "missing" and depth == len(loc)):
            parent, section = wanted, section[key]
            wanted, found = _inside(wanted, key), found[key] if _holds(found, key) else None
        elif depth == len(loc):  # "[key]", or pydantic's name for a branch of a union
            found = error["input"]
    if kind == "missing":
        return section.problem("is missing", _how_to_add(parent, str(loc[-1])))
    if kind == "extra_forbidden":
        return _unknown_key(section, parent, str(loc[-1]))
    if kind == "wrong":
        message, hint = str(ctx["message"]), str(ctx["hint"])
    else:
        message, hint = _message(kind, error, ctx), _hint(kind, found, wanted)
    if message.startswith("must be") and ", not " not in message:
        show = kind not in _CONTAINERS and Secret not in _parts(wanted)
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
    if kind in _CONTAINERS and isinstance(found, str):
        if any("scheme" in model.model_fields for model in _models(wanted)):
            return "write it like {scheme: NAME}, with what the scheme needs"
        if found and _CONTAINERS[kind] == "must be a list" and not _models(_inside(wanted, 0)):
            return "put it in brackets: [...]"
    if kind in ("literal_error", "enum") and isinstance(found, str) and not isinstance(found, Expanded):
        choices = [str(choice) for part in branches(wanted) for choice in _choices(part)]
        if near := _nearest(found, choices):
            return f"did you mean `{near}`?"
    return "give at least one" if kind == "too_short" else ""


def _unknown_key(section: Section, parent: Any, key: str) -> Problem:
    models = _models(parent)
    if any(key in getattr(model, "not_available_yet", ()) for model in models):
        return section.problem(f"`{key}` is not available yet", "remove it")
    known = sorted({field.alias or name for model in models for name, field in model.model_fields.items()})
    near = _nearest(key, known)
    hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(known)}" if known else ""
    return section.problem(f"unknown key `{_short(key)}`", hint)


def _how_to_add(parent: Any, key: str) -> str:
    for model in _models(parent):
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


def _nearest(text: str, known: list[str]) -> str:
    lower = {one.lower(): one for one in known}
    return next((lower[near] for near in difflib.get_close_matches(text[:100].lower(), lower, n=1)), "")


def _holds(value: Any, key: str | int) -> bool:
    return key in value if isinstance(value, dict) else isinstance(value, list) and isinstance(key, int)


def branches(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without `Annotated` and unions around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from branches(part)
    else:
        yield annotation


def plain(field: FieldInfo) -> Iterator[Any]:
    """The types that a field allows as they are, not made of text by a validator in front of them."""
    return _plain(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


def _plain(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        if not any(isinstance(one, BeforeValidator | PlainValidator) for one in metadata):
            yield from _plain(inner)
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _plain(part)
    else:
        yield annotation


def _parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, and those inside lists and mappings."""
    for part in branches(annotation):
        yield part
        if get_origin(part) in (list, tuple, dict, set, frozenset):
            for inner in get_args(part):
                yield from _parts(inner)


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in branches(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def _choices(part: Any) -> tuple[Any, ...]:
    return get_args(part) if get_origin(part) is Literal else tuple(getattr(part, "__members__", {}).values())


def _inside(annotation: Any, key: str | int) -> Any:
    """The annotation of what stands at `key` in a value of this annotation."""
    for part in branches(annotation):
        origin, inner = get_origin(part), get_args(part)
        if origin in (list, tuple, dict, set, frozenset):
            return inner[1] if origin is dict else inner[0]
        if isinstance(part, type) and issubclass(part, BaseModel):
            for name, field in part.model_fields.items():
                if key == (field.alias or name):
                    return field.annotation
    return annotation
