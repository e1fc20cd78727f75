"""Turns the syntax errors of Jinja's parser into messages with a suggestion."""

import re

from jinja2 import TemplateSyntaxError
from jinja2.lexer import Token, describe_token

from bridge.errors import ExpressionError

_WORDS = {
    "unexpected 'end of template'": "it ends too early",
    "unexpected end of template, expected": "it ends too early, expected",
    "end of print statement": "}}",
    "begin of print statement": "{{",
}
_LITERALS = {"integer": "number", "float": "number", "string": "text"}
_CHARACTER = re.compile(r"unexpected char (['\"])(.+)\1 at (\d+)")
_TYPOGRAPHIC = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u00b4\u2032\u2033"
_COMBINE = "combine conditions with `and`, `or` and `not`"
_HINTS = (
    (r"unexpected `&`|unexpected `!`", "", _COMBINE),
    (r"expected token 'name', got '\|'", r"\|\|", _COMBINE),
    (r"unexpected '(AND|OR|NOT)'", "", _COMBINE),
    (r"unexpected '='", "", "`==` compares"),
    (r"unexpected '>'", "<>", "`!=` is true where both differ"),
    (r"unexpected `\?`", "", "choose with `a if condition else b`"),
    (r"unexpected '}'", r"\{\{", "close `{{` with `}}`"),
    (r"unexpected `['\"]`", "", "a text in quotes is not closed"),
    (f"unexpected `[{_TYPOGRAPHIC}]`", "", "quotes are straight here: write 'text'"),
)


def mistake(error: TemplateSyntaxError, text: str) -> ExpressionError:
    """What the parser raised about `text`."""
    message = error.message or "not an expression"
    if found := _CHARACTER.match(message):
        before = " ".join(text[: int(found[3])].split())[-40:]
        message = f"unexpected `{found[2]}` " + (f"after `{before}`" if before else "at the start")
    at = len(text.rstrip()) if "end of template" in message else error.lineno
    return _told(message[:1].lower() + message[1:].removesuffix("."), text, at)


def left_over(token: Token, before: str, text: str) -> ExpressionError:
    """A token that stands after a whole expression."""
    shown = _LITERALS.get(token.type) or repr(describe_token(token))
    return _told(f"unexpected {shown} after `{before}`", text, token.lineno)


def _told(message: str, text: str, at: int) -> ExpressionError:
    for said, meant in _WORDS.items():
        message = message.replace(said, meant)
    for said, written, hint in _HINTS:
        if re.search(said, message) and re.search(written, text):
            return ExpressionError(message, hint, at)
    return ExpressionError(message, position=at)
