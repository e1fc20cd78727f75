"""Finds the file position of a character in a YAML scalar, past quotes, escapes and folded lines.

Only problems ask, so it walks what was written again; where the two part (an escape by number), it is a little off.
"""


def index_of(written: str, value: str, position: int) -> int:
    """The index in `written` (a scalar as it stands in its file) of the character at `position` of its `value`."""
    style = written[:1]
    at = 1 if style in ("'", '"') else written.find("\n") + 1 if style in ("|", ">") else 0
    for number, character in enumerate(value[: position + 1]):
        at = _next(written, at, character, style)
        if number < position:
            at += 1
    return min(at, len(written))


def _next(written: str, at: int, character: str, style: str) -> int:
    """The index of the last character of what stands for `character`, from `at` on."""
    here = written[at : at + 1]
    if (style == '"' and here == "\\" and written[at + 1 : at + 2] != "\n") or (style == here == "'"):
        return at + 1
    if here == character or not (here.isspace() or (style == '"' and here == "\\")):
        return at
    while written[at : at + 1].isspace() or (style == '"' and written.startswith("\\\n", at)):
        at += 1
    return at - 1 if character.isspace() else _next(written, at, character, style)
