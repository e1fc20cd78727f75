"""Expressions in Jinja's syntax, compiled once, at load; docs/expressions.md is their page for ops.

Jinja parses, `translation` makes two Python functions of the tree: a fast one, and a careful one that says which piece
failed. The careful one runs only when the fast one did not get through.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

from bridge.errors import ExpressionError, MappingError
from bridge.mapping.expressions.operators import Missing
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.syntax_errors import left_over, mistake
from bridge.mapping.expressions.translation import Run, translate
from bridge.mapping.expressions.unparse import spell
from bridge.settings.secrets import Expanded

__all__ = ["Expression", "ExpressionError", "Scope", "compile_expression", "compile_template"]

Scope = Mapping[str, Any]  # every name that an expression was compiled with, and its value
MAX_LENGTH = 4096
MAX_DEPTH = 50
HIDDEN = "(an expression with ${...} in it, which is not shown)"


class _Environment(Environment):
    """Jinja's, but the lines of its tokens and trees are places in the text: the number of the character."""

    def _tokenize(self, source: str, name: Any, filename: Any = None, state: str | None = None) -> TokenStream:
        return TokenStream(
            self.lexer.wrap(_placed(source, self.lexer.tokeniter(source, name, filename, state))), name, filename
        )


def _placed(source: str, tokens: Iterator[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    at = 0
    try:
        for _, kind, text in tokens:
            at = max(at, source.find(text, at))  # `{{-` leaves out the blanks before it
            yield at, kind, text
            at += len(text)
    except TemplateSyntaxError as error:
        error.lineno = at
        raise


_ENVIRONMENT = _Environment(keep_trailing_newline=True, autoescape=False)
_KEPT = 1024  # compiled ones: the rules of a source take the same things from its webhooks again and again
_STATEMENTS = {"block_begin", "raw_begin", "linestatement_begin"}


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. `constant` means that it uses no name; `node` is Jinja's tree of it.

    `hidden`: its text holds a `${...}`, which may be a secret, so nothing of it is ever told.
    """

    text: str
    constant: bool
    node: nodes.Node
    _fast: Run
    _careful: Run
    hidden: bool = False

    def __call__(self, scope: Scope) -> Any:
        """The value in `scope`, which holds every name the expression was compiled with.

        Raises:
            MissingKey: a key is not there; the message names the chain.
            MappingError: an operator or filter cannot work with the values.
        """
        try:
            return self._fast(scope)
        except Exception:
            return self._explained(scope)

    def keys_of(self, name: str) -> frozenset[str]:
        """The keys that it takes from a name by themselves: `x-topic` of `headers['x-topic']`. Nothing where hidden."""
        if self.hidden:
            return frozenset()
        found = [self.node, *self.node.find_all((nodes.Getattr, nodes.Getitem))]
        return frozenset(key for one in found if (key := _key_of(one, name)) is not None)

    def _explained(self, scope: Scope) -> Any:
        try:
            return self._careful(scope)
        except (Missing, MappingError) as failed:
            error = failed.explain() if isinstance(failed, Missing) else failed
        if self.hidden:
            raise MappingError("cannot be computed for this webhook", "", self.text) from None
        error.expression = self.text
        raise error from None


def _key_of(node: nodes.Node, name: str) -> str | None:
    match node:
        case nodes.Getattr(node=nodes.Name(name=owner), attr=str(key)) if owner == name:
            return key
        case nodes.Getitem(node=nodes.Name(name=owner), arg=nodes.Const(value=str(key))) if owner == name:
            return key
    return None


def compile_expression(text: str, registry: Registry) -> Expression:
    """Compile an expression such as `body.total > 0`, which may use what is in the registry.

    Raises:
        ExpressionError: it is none, or uses what does not exist here.
    """
    if isinstance(text, Expanded):
        return _hidden(_expression, str(text), registry)
    return _expression(text, registry)


@lru_cache(maxsize=_KEPT)
def _expression(text: str, registry: Registry) -> Expression:
    if text.strip().startswith("{{"):
        raise ExpressionError("braces around an expression", "write it without `{{ }}` here")
    if text.strip().startswith(("{%", "{#")):
        raise ExpressionError("statements and comments are not available", "write an expression")
    with _parsing(text):
        parser = Parser(_ENVIRONMENT, text, state="variable")
        node = parser.parse_expression()
        if not parser.stream.eos:
            raise left_over(parser.stream.current, spell(node), text)
    return _compile(text, node, registry)


def compile_template(text: str, registry: Registry) -> Expression:
    """Compile a value: constant text, exactly one `{{ ... }}` that keeps its type, or mixed text that makes a string.

    Raises:
        ExpressionError: an expression in it is none, or it holds a statement.
    """
    if not any(opening in text for opening in ("{{", "{%", "{#")):
        return Expression(text, True, nodes.TemplateData(text), lambda _: text, lambda _: text)
    if isinstance(text, Expanded):
        return _hidden(_template, str(text), registry)
    return _template(text, registry)


@lru_cache(maxsize=_KEPT)
def _template(text: str, registry: Registry) -> Expression:
    with _parsing(text):
        if "{%" in text and any(kind in _STATEMENTS for _, kind, _ in _ENVIRONMENT.lex(text)):
            raise ExpressionError("`{% %}` statements are not available", "use `{{ a if condition else b }}`")
        parts = [
            part for output in Parser(_ENVIRONMENT, text).parse().body for part in cast("nodes.Output", output).nodes
        ]
    return _compile(text, parts[0] if len(parts) == 1 else nodes.Output(parts), registry)


def _hidden(compile_: Callable[[str, Registry], Expression], text: str, registry: Registry) -> Expression:
    try:
        return replace(compile_(text, registry), text=HIDDEN, hidden=True)
    except ExpressionError:
        message = "is no expression that can be used; it holds ${...}, so it is not shown"
        raise ExpressionError(message, "try it with the value written in its place") from None


@contextmanager
def _parsing(text: str) -> Iterator[None]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text):,} characters", f"at most {MAX_LENGTH:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # '\d' in a string: Jinja keeps the backslash, and Python warns
            yield
    except TemplateSyntaxError as error:
        raise mistake(error, text) from None
    except RecursionError:
        raise _too_deep() from None


def _compile(text: str, node: nodes.Node, registry: Registry) -> Expression:
    level, depth = [node], 0
    while level := [child for parent in level for child in parent.iter_child_nodes()]:
        if (depth := depth + 1) > MAX_DEPTH:
            raise _too_deep()
    constant = not isinstance(node, nodes.Name) and node.find(nodes.Name) is None
    expression = Expression(text, constant, node, translate(node, registry, careful=False), _careful(node, registry))
    if constant:
        try:
            expression({})
        except MappingError as error:
            raise ExpressionError(error.message, error.hint) from None
    return expression


def _careful(node: nodes.Node, registry: Registry) -> Run:
    """The careful function, made when it first runs: few ever do, and making it takes as long as the fast one."""
    made: list[Run] = []

    def run(scope: Scope) -> Any:
        if not made:
            made.append(translate(node, registry, careful=True))
        return made[0](scope)

    return run


def _too_deep() -> ExpressionError:
    return ExpressionError("the expression is nested too deeply", f"at most {MAX_DEPTH} levels; use lists with `in`")
