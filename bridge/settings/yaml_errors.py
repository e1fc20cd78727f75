"""Turns the YAML parser's errors into messages that say what is wrong, where, and what to write."""

import re
from typing import Any

import yaml

from bridge.errors import Location, Problem
from bridge.settings.secrets import CURLY_QUOTES

_WORDS = {
    "did not find expected key": "the indentation does not fit the lines above, or a key is missing",
    "did not find expected '-' indicator": "the indentation does not fit the lines above",
    "did not find expected node content": "expected a value",
    "did not find expected ": "expected ",
    "mapping values are not allowed in this context": "a colon is not allowed here",
    "found unexpected end of stream": "found the end of the file",
    "found invalid Unicode character escape code": "this escape is no character",
}
_CURLED = re.compile("[" + "".join(CURLY_QUOTES) + "]")
CURLY = ("stands in typographic quotes, which become part of the text", 'quotes are straight here: write "text"')
NO_BLANK = ("a no-break space is no blank in YAML", "use plain spaces")
_SYNTAX_HINT = "check the indentation, and put text that holds `: `, ` #`, `{` or `[` in quotes"


def syntax_problem(error: yaml.YAMLError, text: str, file: str, quoted: Any) -> Problem:
    """What the parser says, in words; `quoted` is the last scalar in quotes before it gave up."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        place = _at(text, getattr(error, "position", 0))
        return Problem(Location(file, *place), "", "holds a control character", "remove it")
    message, mark, begun = error.problem or "", error.problem_mark, error.context_mark
    place = (mark.line + 1, mark.column + 1)
    if begun and "end of stream" in message and "quoted scalar" in (error.context or ""):
        return _unclosed(file, begun, "nowhere")
    if quoted and quoted.start_mark.line < quoted.end_mark.line == mark.line:
        return _unclosed(file, quoted.start_mark, f"only in line {mark.line + 1}, where something follows it")
    character = text[mark.index : mark.index + 1]
    if character == "\t":
        return Problem(Location(file, *place), "", "a tab is no indentation in YAML", "use spaces")
    if character == "\N{NO-BREAK SPACE}":
        return Problem(Location(file, *place), "", *NO_BLANK)
    message = message.replace("character that", f"character {character!r} that")
    for said, meant in _WORDS.items():
        message = message.replace(said, meant)
    if message.startswith("expected"):
        message += f", but found {repr(character) if character else 'the end of the file'}"
    if begun and begun.line < mark.line and "flow" in (error.context or ""):
        message += f" (what is open begins in line {begun.line + 1})"
    hint = _SYNTAX_HINT
    if text[mark.index - 1 : mark.index + 1] == "${":
        hint = "put ${...} in quotes where it stands within [ ] or { }"
    elif _CURLED.search(text[text.rfind("\n", 0, mark.index) + 1 :].partition("\n")[0]):
        hint = CURLY[1]
    elif "escape" in message:
        hint = "write the character itself"
    return Problem(Location(file, *place), "", f"is not valid YAML: {message}", hint)


def _unclosed(file: str, mark: Any, where: str) -> Problem:
    message = f"is not valid YAML: the quote that is opened here is closed {where}"
    return Problem(Location(file, mark.line + 1, mark.column + 1), "", message, "close it at the end of its text")


def _at(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
