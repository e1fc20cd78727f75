"""Explains why a condition is false: the first clause that was, and the values in it.

Walks the same tree that was compiled, only when somebody asks or a webhook is stored as ignored or failed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import nodes

from bridge import jsontext
from bridge.mapping.expressions.expression import Expression
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.translation import Run, translate
from bridge.mapping.expressions.unparse import spell

_SHOWN = 100  # characters of a value
_VALUES = 8  # values of a clause

_Lookup = (nodes.Name, nodes.Getattr, nodes.Getitem)


class Explanation:
    """Explains one expression. Its pieces are compiled when first needed, and kept."""

    def __init__(self, expression: Expression, registry: Registry) -> None:
        self._expression = expression
        self._node = expression.node
        self._registry = registry
        self._pieces: dict[nodes.Node, Run] = {}

    def first_false(self, scope: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The clause that made the expression false in `scope`, and the values of the look-ups in it.

        A look-up whose key is missing has no value; long values are cut.
        """
        if self._expression.hidden:
            return self._expression.text, {}
        clause = self._falsified(self._node, scope)
        return spell(clause, 300), self.values(clause, scope)

    def values(self, node: nodes.Node | None, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the look-ups in a clause, or in the whole expression."""
        found: dict[str, Any] = {}
        for lookup in _lookups(node or self._node):
            if len(found) == _VALUES:
                break
            try:
                found[spell(lookup)] = bounded(self._value(lookup, scope))
            except Exception:  # noqa: S112 - what cannot be looked up has no value to show
                continue
        return found

    def _falsified(self, node: nodes.Node, scope: Mapping[str, Any]) -> nodes.Node:
        match node:
            case nodes.And(left=left, right=right):
                return self._falsified(right if self._value(left, scope) else left, scope)
            case nodes.Not(node=nodes.Not(node=inner)):
                return self._falsified(inner, scope)
            case nodes.Not(node=nodes.Or(left=left, right=right)):
                return self._falsified(nodes.Not(left if self._value(left, scope) else right), scope)
        return node

    def _value(self, node: nodes.Node, scope: Mapping[str, Any]) -> Any:
        if node not in self._pieces:
            self._pieces[node] = translate(node, self._registry, careful=True)
        return self._pieces[node](scope)


def _lookups(node: nodes.Node) -> Iterator[nodes.Node]:
    """The longest look-ups in a tree: `body.customer.id`, not also `body.customer`."""
    if isinstance(node, _Lookup):
        yield node
        return
    for child in node.iter_child_nodes():
        yield from _lookups(child)


def bounded(value: Any) -> Any:
    """A value as people are shown it: a long one is cut, objects and lists are text."""
    text = jsontext.as_text(value)
    if len(text) > _SHOWN:
        return text[: _SHOWN - 1] + "…"
    return text if isinstance(value, dict | list) else value
