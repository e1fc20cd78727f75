"""Translates Jinja's syntax tree to a Python function, by a whitelist of nodes.

There is no attribute access and no call: `a.b` and `a['b']` are the same look-up of a key, and the function made sees
nothing but its scope and the operators, filters and tests listed here.
"""

import ast
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, cast

from jinja2 import nodes

from bridge.errors import ExpressionError
from bridge.mapping.expressions import filters, operators
from bridge.mapping.expressions.functions import CALLED, COMPARISONS
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.unparse import spell

Run = Callable[[Mapping[str, Any]], Any]

_ELSEWHERE = {
    **dict.fromkeys(("yes", "Yes", "YES", "on", "On", "ON"), "write true"),
    **dict.fromkeys(("no", "No", "NO", "off", "Off", "OFF"), "write false"),
    "item": "it is an entry of the list that for_each gives",
    "event": "there is one only in event.attributes",
    "webhook": "there is one only in rules",
}


def translate(node: nodes.Node, registry: Registry, *, careful: bool) -> Run:
    """Make the function that computes `node` from a scope holding the registry's names.

    Where something fails, the careful function raises what says where (Missing, MappingError), the other anything.

    Raises:
        ExpressionError: the tree holds what does not exist here.
    """
    translation = _Translation(registry, careful)
    return translation.function(translation.value(node))


def translate_all(shape: Any, registry: Registry) -> Run:
    """One fast function for an object or list of trees and constants, however nested."""
    translation = _Translation(registry, careful=False)
    return translation.function(translation.shape(shape))


class _Translation:
    """One Jinja tree on its way to a Python function. `careful` wraps what can fail, so that it says where."""

    def __init__(self, registry: Registry, careful: bool) -> None:
        self.registry = registry
        self.careful = careful
        self.called = dict(CALLED)
        self.charged = False

    def function(self, value: ast.expr) -> Run:
        """What computes a value from a scope."""
        if self.charged:
            whole = ast.List([ast.Constant(operators.MAX_WORK)], ast.Load())
            value = ast.Call(_lambda(value, "budget"), [whole], [])
        made = ast.fix_missing_locations(ast.Expression(_lambda(value, "scope")))
        return cast("Run", eval(compile(made, "<expression>", "eval"), self.called))  # noqa: S307 - ours

    def shape(self, shape: Any) -> ast.expr:
        """An object or list of trees and constants."""
        match shape:
            case nodes.Node():
                return self.value(shape)
            case dict():
                return ast.Dict([ast.Constant(name) for name in shape], [self.shape(value) for value in shape.values()])
            case list():
                return ast.List([self.shape(value) for value in shape], ast.Load())
            case _:
                return ast.Constant(shape)

    def value(self, node: nodes.Node) -> ast.expr:
        match node:
            case nodes.TemplateData():
                return ast.Constant(node.data)
            case nodes.Const():
                return ast.Constant(_constant(node))
            case nodes.Name():
                if node.name not in self.registry.names:
                    if elsewhere := _ELSEWHERE.get(node.name):
                        raise ExpressionError(f"`{node.name}` does not exist here", elsewhere, node.lineno)
                    raise _unknown("name", node, self.registry.names, {"null": "none", "nil": "none"})
                return ast.Subscript(_name("scope"), ast.Constant(node.name), ast.Load())
            case nodes.Getattr():
                return self.lookup(node, nodes.Const(node.attr))
            case nodes.Getitem():
                return self.lookup(node, node.arg)
            case nodes.And() | nodes.Or():
                junction = ast.And() if isinstance(node, nodes.And) else ast.Or()
                return ast.BoolOp(junction, [self.value(node.left), self.value(node.right)])
            case nodes.Not():
                return ast.UnaryOp(ast.Not(), self.value(node.node))
            case nodes.CondExpr(expr2=nodes.Node() as otherwise):
                return ast.IfExp(self.value(node.test), self.value(node.expr1), self.value(otherwise))
            case nodes.List():
                return ast.List([self.value(item) for item in node.items], ast.Load())
            case _:
                operation = self.operation(node)
                return self.call("guard", _lambda(operation), ast.Constant(spell(node))) if self.careful else operation

    def budget(self) -> ast.expr:
        """What remains of the work that one run may do."""
        self.charged = True
        return _name("budget")

    def call(self, function: str, *arguments: ast.expr) -> ast.expr:
        return ast.Call(_name(function), list(arguments), [])

    def lookup(self, node: nodes.Getattr | nodes.Getitem, key: nodes.Expr) -> ast.expr:
        if isinstance(key, nodes.Const) and isinstance(key.value, str):
            if node.node == nodes.Name("headers", "load") and key.value != key.value.lower():
                raise ExpressionError(
                    f"`{spell(node)}` cannot exist, names of headers are lower-case",
                    f"write `headers[{key.value.lower()!r}]`",
                    node.node.lineno,
                )
            if not self.careful and isinstance(node.node, nodes.Name | nodes.Getattr | nodes.Getitem):
                return ast.Subscript(self.value(node.node), self.value(key), ast.Load())
        spelled = [spell(node.node), spell(node), *([] if isinstance(key, nodes.Const) else [spell(key)])]
        return self.call("key", self.value(node.node), self.value(key), *map(ast.Constant, spelled))

    def operation(self, node: nodes.Node) -> ast.expr:
        match node:
            case nodes.Compare():
                return self.comparison(node)
            case nodes.Neg() | nodes.Pos():
                sign = ast.USub() if isinstance(node, nodes.Neg) else ast.UAdd()
                return ast.UnaryOp(sign, self.value(node.node))
            case nodes.Add():
                return self.call("add", self.budget(), self.value(node.left), self.value(node.right))
            case nodes.Sub() | nodes.Mul() | nodes.Div() | nodes.FloorDiv() | nodes.Mod():
                for side in (node.left, node.right):
                    if isinstance(side, nodes.List | nodes.Dict) or isinstance(getattr(side, "value", None), str):
                        raise _refused(node, f"`{node.operator}` is for numbers", "`~` joins text")
                function = _name(f"operator_{type(node).__name__}")
                return self.call("calculate", function, self.value(node.left), self.value(node.right))
            case nodes.Concat():
                return self.call("concatenate", self.budget(), *map(self.value, node.nodes))
            case nodes.Output():
                return self.call("template", self.budget(), *map(self.value, node.nodes))
            case nodes.Dict():
                keys = [self.call("text_key", self.value(pair.key)) for pair in node.items]
                return ast.Dict([*keys], [self.value(pair.value) for pair in node.items])
            case nodes.Filter(node=nodes.Expr()):
                return self.applied("filter", node, self.registry.filters)
            case nodes.Test():
                return self.applied("test", node, self.registry.tests)
            case nodes.CondExpr():
                raise _refused(node, "it has no else", "say what the value is otherwise: `a if condition else b`")
            case nodes.Tuple():
                raise _refused(node, "lists are written in brackets", "write `[a, b]`; `(a, b)` only follows `in`")
            case nodes.Call():
                raise _refused(
                    node, "nothing can be called", f"filters do the work: {', '.join(self.registry.filters)}"
                )
            case nodes.Pow():
                raise _refused(node, "`**` does not exist", "multiply")
            case _:
                raise _refused(node, "not available in expressions")

    def comparison(self, node: nodes.Compare) -> ast.expr:
        """Python's own comparison where a constant keeps it short, else one that is charged for what it looks at."""
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        rights = [self.operand(operand) for operand in node.ops]
        if all(_is_short(left, operand) for left, operand in zip(sides, node.ops, strict=False)):
            return ast.Compare(self.value(node.expr), [COMPARISONS[operand.op]() for operand in node.ops], rights)
        steps = [
            ast.Tuple([_name(f"compared_{operand.op}"), _lambda(right)], ast.Load())
            for operand, right in zip(node.ops, rights, strict=True)
        ]
        return self.call("compare", self.budget(), self.value(node.expr), *steps)

    def operand(self, operand: nodes.Operand) -> ast.expr:
        if operand.op in ("in", "notin") and isinstance(operand.expr, nodes.Tuple):
            return ast.List([self.value(item) for item in operand.expr.items], ast.Load())
        return self.value(operand.expr)

    def applied(self, kind: str, node: nodes.Filter | nodes.Test, known: Mapping[str, Callable[..., Any]]) -> ast.expr:
        """A filter or test. Parameters that are annotated as functions get their argument as one."""
        if node.name not in known:
            raise _unknown(kind, node, known, {"d": "default", "count": "length", "undefined": "not defined"})
        if node.dyn_args or node.dyn_kwargs:
            raise _refused(node, "`*` and `**` arguments are not available")
        parameters = inspect.signature(known[node.name])
        takes_budget = "budget" in parameters.parameters
        given = [node.node, *node.args]
        keywords: dict[str, Any] = {str(pair.key): pair.value for pair in node.kwargs}
        try:
            bound = parameters.bind(*[None] * takes_budget, *given, **keywords).arguments
        except TypeError as error:
            hint = "write arguments in their order, without names" if keywords else ""
            raise _refused(node, str(error).replace("'compiled'", "the pattern"), hint) from None
        arguments = {
            name: self.budget() if name == "budget" else self.argument(node, parameters.parameters[name], value)
            for name, value in bound.items()
        }
        self.called[f"{kind}_{node.name}"] = known[node.name]
        return ast.Call(
            _name(f"{kind}_{node.name}"), [], [ast.keyword(name, value) for name, value in arguments.items()]
        )

    def argument(self, node: nodes.Node, parameter: inspect.Parameter, value: nodes.Expr) -> ast.expr:
        if parameter.name == "compiled":
            if not isinstance(value, nodes.Const) or not isinstance(value.value, str):
                raise _refused(node, "the pattern is no constant text", "write it in quotes")
            name = f"pattern_{len(self.called)}"
            self.called[name] = _pattern(value)
            return _name(name)
        return _lambda(self.value(value)) if parameter.annotation == Callable[[], Any] else self.value(value)


def _is_short(left: nodes.Expr, operand: nodes.Operand) -> bool:
    if operand.op in ("in", "notin"):
        listed = operand.expr
        return isinstance(listed, nodes.List | nodes.Tuple) and all(
            isinstance(one, nodes.Const) for one in listed.items
        )
    return isinstance(left, nodes.Const) or isinstance(operand.expr, nodes.Const)


def _pattern(node: nodes.Const) -> Any:
    try:
        return filters.pattern(node.value)
    except ExpressionError as error:
        raise ExpressionError(error.message, error.hint, node.lineno) from None


def _constant(node: nodes.Const) -> Any:
    value = node.value
    if abs(value) > operators.MAX_INTEGER if isinstance(value, int) else value in (math.inf, -math.inf):
        raise ExpressionError("a number is too large", "write it in quotes if it is no number", node.lineno)
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ExpressionError(
            "the text holds half a character (a surrogate)", "write the character itself", node.lineno
        )
    return value


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _lambda(body: ast.expr, *parameters: str) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [ast.arg(name) for name in parameters], None, [], [], None, []), body)


def _refused(node: nodes.Node, message: str, hint: str = "") -> ExpressionError:
    return ExpressionError(f"`{spell(node)}`: {message}", hint, node.lineno)


def _unknown(
    kind: str, node: nodes.Name | nodes.Filter | nodes.Test, known: Collection[str], usual: Mapping[str, str]
) -> ExpressionError:
    name = node.name
    near = [usual[name]] if name in usual else get_close_matches(name, known, 1)
    suggestion = f"did you mean `{near[0]}`? " if near else ""
    hint = f"{suggestion}there are: {', '.join(sorted(known))}"
    return ExpressionError(f"unknown {kind} `{name[:80]}`", hint, node.lineno)
