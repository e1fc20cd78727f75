"""Finds the headers and query parameters that a source's expressions read by name."""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import nodes

from bridge.errors import ExpressionError
from bridge.mapping.expressions.expression import Expression, compile_expression, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.secrets import Expanded

_ALL = Registry.of("body", "event", "headers", "item", "query", "source", "webhook")
_READ = ("headers", "query")
_EXPRESSIONS = ("when", "for_each", "key", "order_by")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One look at a header or a parameter: `kind` is `headers` or `query`, `at` where in the text of `place`.

    `hidden`: the text holds a `${...}`, so nothing of it is to be told.
    """

    kind: str
    name: str
    place: Section
    at: int
    hidden: bool


def reads(source: Source) -> Iterator[Lookup]:
    """What the expressions of a source read, in the order of its file."""
    root = source.section
    if not isinstance(root.value, dict):
        return
    yield from _in_expression(root["dedupe"])
    if isinstance(root.value.get("defaults"), dict):
        yield from _in_templates(root["defaults"]["target"])
    for _, rule in source.rules():
        for field in _EXPRESSIONS:
            yield from _in_expression(rule[field])
        for place in (rule["target"], rule["event"]["attributes"], rule["headers"]):
            yield from _in_templates(place)


def _in_templates(place: Section) -> Iterator[Lookup]:
    if not place.exists:
        return
    match place.value:
        case str():
            yield from _in(place, template=True)
        case dict() as children:
            for name in children:
                yield from _in_templates(place[name])
        case list() as items:
            for number in range(len(items)):
                yield from _in_templates(place[number])


def _in_expression(place: Section) -> Iterator[Lookup]:
    if place.exists and isinstance(place.value, str):
        yield from _in(place, template=False)


def _in(place: Section, *, template: bool) -> Iterator[Lookup]:
    text = place.value
    if not any(kind in text for kind in _READ):
        return
    try:
        expression = (compile_template if template else compile_expression)(text, _ALL)
    except ExpressionError:  # told where it is compiled
        return
    for kind, name in _looked_up(expression):
        yield Lookup(kind, name, place, max(0, text.find(name)), isinstance(text, Expanded))


def _looked_up(expression: Expression) -> Iterator[tuple[str, str]]:
    for node in (expression.node, *expression.node.find_all(nodes.Node)):
        match node:
            case (
                nodes.Getattr(node=owner, attr=str(name))
                | nodes.Getitem(node=owner, arg=nodes.Const(value=str(name)))
                | nodes.Compare(expr=nodes.Const(value=str(name)), ops=[nodes.Operand(op="in" | "notin", expr=owner)])
            ):
                yield from ((kind, name) for kind in dict.fromkeys(_may_be(owner)))


def _may_be(node: nodes.Node) -> Iterator[str]:
    """Which of `headers` and `query` a node's value may be: either side of a default, an `or`, an `and`, an `if`."""
    match node:
        case nodes.Name(name=kind) if kind in _READ:
            yield kind
        case nodes.Filter(node=nodes.Node() as value, name="default", args=args, kwargs=kwargs):
            yield from _may_be(value)
            named = [pair.value for pair in kwargs if pair.key == "default_value"]
            for otherwise in (*args[:1], *named):
                yield from _may_be(otherwise)
        case nodes.And(left=left, right=right) | nodes.Or(left=left, right=right):
            yield from _may_be(left)
            yield from _may_be(right)
        case nodes.CondExpr(expr1=then, expr2=otherwise):
            yield from _may_be(then)
            if otherwise is not None:
                yield from _may_be(otherwise)
