"""Event attributes: compiles a rule's templates, and serializes their values to the string that SendEvent takes."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from bridge import jsontext
from bridge.errors import ExpressionError, MappingError, Problem
from bridge.mapping import pairs
from bridge.mapping.expressions.expression import Scope, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.translation import translate_all
from bridge.mapping.rule_errors import with_field
from bridge.settings.document import Section, dotted

Format = Literal["pairs", "json", "text"]
Value = Callable[[Scope], Any]

MAX_LENGTH = 1024 * 1024  # characters of the string that is sent


@dataclass(frozen=True, slots=True)
class Style:
    """How a target's attributes are written; `escape` makes a text one that pairs can hold, None refuses some."""

    format: Format = "pairs"
    escape: Callable[[str], str] | None = None


def compile_attributes(
    section: Section, registry: Registry, styles: Collection[Style]
) -> tuple[Value, Section | None, list[Problem]]:
    """A rule's `attributes:` (an object, or one text) -> what makes their values from a scope.

    `styles` are those of the targets that the rule names outright; others show when a webhook chooses them. Also given
    is the first attribute, if any, that some webhook may give a text which pairs cannot hold unless it is escaped.
    """
    problems: list[Problem] = []
    value = section.value
    if isinstance(value, dict):
        if value and any(style.format == "text" for style in styles):
            hint = "write one text, or set attributes_format: pairs or json on the target"
            problems.append(
                section.problem("an object cannot be sent where the target's attributes_format is text", hint)
            )
        if any(style.format == "pairs" for style in styles):
            problems += [
                section[name].problem("a name with ; or = cannot be written as a pair", pairs.OTHER_NAME)
                for name in value
                if pairs.always(name)
            ]
    careful, shape = _compile(section, registry, problems)
    doubtful = None
    if isinstance(shape, dict):
        if any(style.format == "pairs" and style.escape is None for style in styles):
            problems += [
                section[name].problem("its text always holds ; or =, which separate pairs", pairs.OTHER_VALUE)
                for name, part in shape.items()
                if pairs.always(part)
            ]
        doubtful = next((section[name] for name, part in shape.items() if pairs.maybe(part)), None)
    if problems or not isinstance(shape, dict | list):
        return careful, doubtful, problems
    made: list[Value] = []

    def values(scope: Scope) -> Any:
        """All at once, since a call for each takes longer than the attributes; made for who comes a second time."""
        if len(made) < 2:
            made.append(translate_all(shape, registry) if made else careful)
        try:
            return made[-1](scope)
        except Exception:
            return careful(scope)

    return values, doubtful, problems


def _compile(section: Section, registry: Registry, problems: list[Problem]) -> tuple[Value, Any]:
    """What makes the values and says which one failed; and their shape: objects and lists of trees and constants."""
    match section.value:
        case str(text):
            try:
                template = compile_template(text, registry)
            except ExpressionError as error:
                problems.append(section.problem(error.message, error.hint, at=error.position))
                return _constant(None)
            return _constant(_plain(template({}))) if template.constant else (_named(template, section), template.node)
        case dict(children):
            fields = {name: _compile(section[name], registry, problems) for name in children}
            shape = {name: part for name, (_, part) in fields.items()}
            return lambda scope: {name: field(scope) for name, (field, _) in fields.items()}, shape
        case list(items):
            values = [_compile(section[number], registry, problems) for number in range(len(items))]
            return lambda scope: [value(scope) for value, _ in values], [part for _, part in values]
        case constant:
            return _constant(constant)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value  # Python compiles no constants of other classes


def _constant(value: Any) -> tuple[Value, Any]:
    return lambda _: value, value


def _named(value: Value, section: Section) -> Value:
    """The same value, whose error says which attribute it is."""
    field = dotted(section.path[section.path.index("attributes") :])

    def named(scope: Scope) -> Any:
        try:
            return value(scope)
        except MappingError as error:
            error.field = field
            raise

    return named


def final_text(values: Any, style: Style) -> str:
    """The Attributes string. A text is sent as it stands, whatever the format; a number alone is one text too.

    Raises:
        MappingError: a value cannot be written in this format, or the whole is too long.
    """
    match style.format, values:
        case _, str():
            text = values
        case "json", _:
            text = jsontext.encode(values).decode()
        case "pairs", dict():
            text = pairs.write(values, style.escape)
        case "text", None | bool() | int() | float():
            text = jsontext.as_text(values)
        case "text", {**names} if not names:  # a rule without attributes
            text = ""
        case _:
            message = f"{jsontext.type_name(values)} cannot be sent as {style.format}"
            raise _failed(message, "write one text, or set another attributes_format on the target")
    if len(text) > MAX_LENGTH:
        raise _failed("the attributes are longer than 1 MiB", "send less of the webhook")
    return text


def _failed(message: str, hint: str) -> MappingError:
    return with_field("attributes", MappingError(message, hint))
