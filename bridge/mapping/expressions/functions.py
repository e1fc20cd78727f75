"""The functions that compiled expressions may call. Nothing else is in reach of them."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from jinja2 import nodes

from bridge.mapping.expressions import operators

COMPARISONS: dict[str, type[ast.cmpop]] = {
    "eq": ast.Eq,
    "ne": ast.NotEq,
    "lt": ast.Lt,
    "lteq": ast.LtE,
    "gt": ast.Gt,
    "gteq": ast.GtE,
    "in": ast.In,
    "notin": ast.NotIn,
}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": operators.within,
    "notin": operators.without,
}
_ARITHMETIC: dict[type[nodes.Node], Callable[[Any, Any], Any]] = {
    nodes.Sub: operator.sub,
    nodes.Mul: operator.mul,
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Mod: operator.mod,
}
CALLED: dict[str, Any] = {
    "__builtins__": {},
    "add": operators.add,
    "calculate": operators.calculate,
    "compare": operators.compare,
    "concatenate": operators.concatenate,
    "guard": operators.guard,
    "key": operators.key,
    "template": operators.template,
    "text_key": operators.text_key,
    **{f"compared_{name}": function for name, function in _COMPARED.items()},
    **{f"operator_{kind.__name__}": function for kind, function in _ARITHMETIC.items()},
}
