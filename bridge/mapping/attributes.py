"""An event's attributes: from the rule's templates to values, and from values to the string that SendEvent takes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from bridge import jsontext
from bridge.errors import ExpressionError, MappingError, Problem
from bridge.mapping.expressions import compile_template
from bridge.mapping.translation import translate_all
from bridge.settings.document import Section, dotted

Format = Literal["pairs", "json", "text"]
Scope = Mapping[str, Any]
Value = Callable[[Scope], Any]

MAX_LENGTH = 1024 * 1024  # characters of the string that is sent

_OTHER_NAME = "change it, or set attributes_format: json on the target"
_OTHER_FORMAT = "set attributes_format: json on the target, or take the character out with | replace"


def compile_attributes(
    section: Section, names: Collection[str], formats: Collection[Format]
) -> tuple[Value, list[Problem]]:
    """A rule's `attributes:` (an object, or one text) -> what makes their values from a scope.

    `formats` are those of the targets that the rule names outright; others show when a webhook chooses them.
    """
    problems: list[Problem] = []
    value = section.value
    if isinstance(value, dict):
        if "text" in formats and value:
            hint = "write one text, or set attributes_format: pairs or json on the target"
            problems.append(
                section.problem("an object cannot be sent where the target's attributes_format is text", hint)
            )
        if "pairs" in formats:
            problems += [
                section[name].problem("a name with ; or = cannot be written as a pair", _OTHER_NAME)
                for name in value
                if ";" in name or "=" in name
            ]
    careful, shape = _compile(section, names, problems)
    if problems or not isinstance(shape, dict | list):
        return careful, problems
    made: list[Value] = []

    def values(scope: Scope) -> Any:
        """All at once, since a call for each takes longer than the attributes; made for who comes a second time."""
        if len(made) < 2:
            made.append(translate_all(shape, names) if made else careful)
        try:
            return made[-1](scope)
        except Exception:
            return careful(scope)

    return values, problems


def _compile(section: Section, names: Collection[str], problems: list[Problem]) -> tuple[Value, Any]:
    """What makes the values and says which one failed; and their shape: objects and lists of trees and constants."""
    match section.value:
        case str(text):
            try:
                template = compile_template(text, names)
            except ExpressionError as error:
                problems.append(section.problem(error.message, error.hint))
                return _constant(None)
            return _constant(_plain(template({}))) if template.constant else (_named(template, section), template.node)
        case dict(children):
            fields = {name: _compile(section[name], names, problems) for name in children}
            shape = {name: part for name, (_, part) in fields.items()}
            return lambda scope: {name: field(scope) for name, (field, _) in fields.items()}, shape
        case list(items):
            values = [_compile(section[number], names, problems) for number in range(len(items))]
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


def final_text(values: Any, format_: Format) -> str:
    """The Attributes string. A text is sent as it stands, whatever the format; a number alone is one text too.

    Raises:
        MappingError: a value cannot be written in this format, or the whole is too long.
    """
    match format_, values:
        case _, str():
            text = values
        case "json", _:
            text = jsontext.encode(values).decode()
        case "pairs", dict():
            pairs = [
                f"{name}={value if isinstance(value, str) else jsontext.as_text(value)}"
                for name, value in values.items()
            ]
            text = ";".join(pairs)
            if text.count("=") != len(pairs) or text.count(";") > max(0, len(pairs) - 1):
                raise _ambiguous({name: jsontext.as_text(value) for name, value in values.items()})
        case "text", None | bool() | int() | float():
            text = jsontext.as_text(values)
        case "text", {**names} if not names:  # a rule without attributes
            text = ""
        case _:
            message = f"{jsontext.type_name(values)} cannot be sent as {format_}"
            raise _failed("attributes", message, "write one text, or set another attributes_format on the target")
    if len(text) > MAX_LENGTH:
        raise _failed("attributes", "the attributes are longer than 1 MiB", "send less of the webhook")
    return text


def _ambiguous(texts: Mapping[str, str]) -> MappingError:
    """Which of the pairs could not be told apart from others."""
    name, what, character, hint = next(
        (name, what, character, hint)
        for name, text in texts.items()
        for what, part, hint in (("name", name, _OTHER_NAME), ("value", text, _OTHER_FORMAT))
        for character in ";="
        if character in part
    )
    return _failed(f"attributes.{name[:100]}", f"the {what} holds a `{character}`, which separates pairs", hint)


def _failed(field: str, message: str, hint: str) -> MappingError:
    error = MappingError(message, hint)
    error.field = field
    return error
