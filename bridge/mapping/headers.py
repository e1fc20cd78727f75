"""Compiles a rule's header templates, and renders them to header values when the event is made.

No value can end its header and begin another: what a header cannot hold breaks the rule for that webhook.
"""

from collections.abc import Callable
from typing import Any

from bridge import jsontext
from bridge.errors import ExpressionError, MappingError, Problem
from bridge.mapping.expressions.expression import Expression, Scope, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.settings.document import Section
from bridge.settings.headers import MAX_VALUE, is_value

HeaderTemplates = Callable[[Scope], dict[str, str]]

_HINT = f"send plain ASCII of at most {MAX_VALUE:,} characters, without blanks around it"


def compile_headers(section: Section, registry: Registry) -> tuple[HeaderTemplates | None, list[Problem]]:
    """A rule's `headers:` -> what makes them from a scope, None where there are none, and what is wrong with them."""
    templates: dict[str, Expression] = {}
    problems = []
    for name, text in section.value.items():
        try:
            templates[name] = compile_template(text, registry)
            if templates[name].constant:
                _text(templates[name]({}))
        except ExpressionError as error:
            problems.append(section[name].problem(error.message, error.hint, at=error.position))
        except MappingError as error:
            problems.append(section[name].problem(error.message, error.hint))
    return (lambda scope: _headers(templates, scope)) if templates else None, problems


def _headers(templates: dict[str, Expression], scope: Scope) -> dict[str, str]:
    headers = {}
    for name, template in templates.items():
        try:
            text = _text(template(scope))
        except MappingError as error:
            error.field = f"headers.{name}"
            error.expression = error.expression or template.text
            raise
        if text:
            headers[name] = text
    return headers


def _text(value: Any) -> str:
    """A header's text; empty where there is nothing to send.

    Raises:
        MappingError: a header cannot hold the value, which is not quoted.
    """
    if isinstance(value, dict | list):
        raise MappingError(f"{jsontext.type_name(value)} cannot be the value of a header", "send one of its values")
    text = jsontext.as_text(value)
    if text and not is_value(text):
        raise MappingError("cannot be the value of a header", _HINT)
    return text
