"""Inspects the type annotations of pydantic fields: allowed types, models and choices, nested ones too."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, PlainValidator
from pydantic.fields import FieldInfo

_COLLECTIONS = (list, tuple, dict, set, frozenset)


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
    yield from _plain(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


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


def parts(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, and those inside lists and mappings."""
    for part in branches(annotation):
        yield part
        if get_origin(part) in _COLLECTIONS:
            for inner in get_args(part):
                yield from parts(inner)


def models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation allows."""
    return [part for part in branches(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def inner_models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The same, and those inside lists (`[]`) and mappings (`.NAME`), with what leads to them."""
    for part in branches(annotation):
        suffix = {dict: ".NAME"}.get(get_origin(part), "[]") if get_origin(part) in _COLLECTIONS else ""
        for model in models(inside(annotation, "") if suffix else part):
            yield suffix, model


def names(annotation: Any) -> list[str]:
    """The keys that the models of an annotation have, sorted."""
    return sorted({field.alias or name for model in models(annotation) for name, field in model.model_fields.items()})


def choices(annotation: Any) -> list[str]:
    """The words that an annotation allows: of literals and enumerations."""
    return [str(choice) for part in branches(annotation) for choice in _choices(part)]


def _choices(part: Any) -> tuple[Any, ...]:
    return get_args(part) if get_origin(part) is Literal else tuple(getattr(part, "__members__", {}).values())


def inside(annotation: Any, key: str | int) -> Any:
    """The annotation of what stands at `key` in a value of this annotation."""
    for part in branches(annotation):
        origin, inner = get_origin(part), get_args(part)
        if origin in _COLLECTIONS:
            return inner[1] if origin is dict else inner[0]
        if isinstance(part, type) and issubclass(part, BaseModel):
            for name, field in part.model_fields.items():
                if key == (field.alias or name):
                    return field.annotation
    return annotation
