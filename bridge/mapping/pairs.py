"""Writes attributes as pairs, `a=1;b=2`, and checks that the values of a rule can be told apart again."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from jinja2 import nodes

from bridge import jsontext
from bridge.errors import MappingError
from bridge.mapping.rule_errors import with_field

Escape = Literal["fail", "percent", "replace"]

SEPARATORS = frozenset(";=")
OTHER_NAME = "change it, or set attributes_format: json on the target"
OTHER_VALUE = "set attributes_escape: percent or replace on the target, or attributes_format: json"

_PERCENT = str.maketrans({character: f"%{ord(character):02X}" for character in "%;=\r\n"})
_REPLACED = re.compile(r"\r\n|[;=\r\n]")
_OF_STRANGERS = frozenset({"body", "headers", "query", "item"})
_NUMBERS = frozenset({"int", "float", "length"})


def escaping(escape: Escape, replacement: str) -> Callable[[str], str] | None:
    """What makes a value's text one that pairs can hold; None leaves it as it is, and `write` refuses some."""
    match escape:
        case "percent":
            return lambda text: text.translate(_PERCENT)
        case "replace":
            return lambda text: _REPLACED.sub(lambda _: replacement, text)
    return None


def write(values: Mapping[str, Any], escape: Callable[[str], str] | None) -> str:
    """The pairs of an object, in its order.

    Raises:
        MappingError: a name or a value holds what separates pairs.
    """
    texts = {name: value if isinstance(value, str) else jsontext.as_text(value) for name, value in values.items()}
    if escape:
        texts = {name: escape(text) for name, text in texts.items()}
    text = ";".join([f"{name}={value}" for name, value in texts.items()])
    if text.count("=") != len(texts) or text.count(";") > max(0, len(texts) - 1):
        raise _ambiguous(texts)
    return text


def _ambiguous(texts: Mapping[str, str]) -> MappingError:
    """Which of the pairs could not be told apart from others."""
    name, what, character, hint = next(
        (name, what, character, hint)
        for name, text in texts.items()
        for what, part, hint in (("name", name, OTHER_NAME), ("value", text, OTHER_VALUE))
        for character in ";="
        if character in part
    )
    message = f"the {what} holds a `{character}`, which separates pairs"
    return with_field(f"attributes.{name[:100]}", MappingError(message, hint))


def always(shape: Any) -> frozenset[str]:
    """The separators that a value holds for every webhook; `shape` are objects and lists of trees and constants."""
    match shape:
        case dict():
            return _any(map(always, (*shape, *shape.values())))
        case list():
            return _any(map(always, shape))
        case nodes.Output():
            return _any(always(part.data) for part in shape.nodes if isinstance(part, nodes.TemplateData))
        case str():
            return SEPARATORS.intersection(shape)
    return frozenset()


def maybe(shape: Any) -> frozenset[str]:
    """The separators that a value may hold for some webhook, as far as its expressions tell."""
    match shape:
        case dict():
            return _any(map(maybe, (*shape, *shape.values())))
        case list():
            return _any(map(maybe, shape))
        case str():
            return SEPARATORS.intersection(shape)
        case nodes.TemplateData(data=str(text)) | nodes.Const(value=str(text)):
            return SEPARATORS.intersection(text)
        case nodes.Name(name=name):
            return SEPARATORS if name in _OF_STRANGERS else frozenset()
        case nodes.Getattr(node=owner) | nodes.Getitem(node=owner):
            return maybe(owner)
        case nodes.Filter(name=name) if name in _NUMBERS:
            return frozenset()
        case nodes.Filter(name="replace", node=nodes.Expr() as text, args=[nodes.Const(value=str(old)), new]):
            return maybe(text) - {old} | maybe(new)
        case nodes.CondExpr(expr1=one, expr2=other):
            return maybe(one) | maybe(other)
        case nodes.Compare() | nodes.Test() | nodes.Not() | nodes.Neg() | nodes.Pos():
            return frozenset()
        case nodes.BinExpr() if not isinstance(shape, nodes.Add | nodes.And | nodes.Or):
            return frozenset()
        case nodes.Node():
            return _any(map(maybe, shape.iter_child_nodes()))
    return frozenset()


def _any(found: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*found)
