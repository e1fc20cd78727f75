"""Attributes are told by the text that is sent, or kept beside it: one of both, and nothing is lost."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping.support import values

from bridge.attribute_text import attributes, untold
from bridge.errors import MappingError
from bridge.mapping.attributes import Format, Style, final_text
from bridge.mapping.pairs import Escape, escaping

NOTE = "a note " * 100
STYLES = [Style(format_, escaping(escape, " ")) for format_ in get_args(Format) for escape in get_args(Escape)]


def told(made: Any, style: Style) -> tuple[str, Any]:
    """The text that is sent and, as it is stored, how it tells what was made and what it does not."""
    text = final_text(made, style)
    return text, untold(made, text, style.format, escaped=style.escape is not None)


@pytest.mark.parametrize(
    ("made", "format_", "rest"),
    [
        (NOTE, "pairs", b""),
        (NOTE, "json", b""),
        (NOTE, "text", b""),
        ({"a": "1", "note": NOTE}, "pairs", b""),
        ({"a": 1, "note": NOTE, "none": None}, "pairs", b'{"a":1,"none":null}'),
        ({"a": 1, "note": NOTE}, "json", b""),
        ([1, NOTE], "json", b""),
        ({}, "pairs", b""),
        ({}, "text", b"{}"),
        (True, "text", b"true"),
    ],
)
def test_what_the_text_tells_is_not_kept_beside_it(made: Any, format_: Format, rest: bytes) -> None:
    assert told(made, Style(format_))[1][1] == rest


@pytest.mark.parametrize(
    ("escape", "made", "form", "rest"),
    [
        ("percent", {"note": NOTE + "; 100%"}, "percent", b""),
        ("percent", {"n": 7, "note": NOTE + "a=b\n"}, "percent", b'{"n":7}'),
        ("percent", {"note": NOTE}, "pairs", b""),
        ("replace", {"note": NOTE, "short": "a;b"}, "pairs", b'{"short":"a;b"}'),
        ("replace", {"note": NOTE + "%3B"}, "pairs", b""),
    ],
)
def test_an_escaped_text_tells_what_can_be_read_from_it(escape: Escape, made: Any, form: str, rest: bytes) -> None:
    assert told(made, Style("pairs", escaping(escape, " ")))[1] == (form, rest)


@given(made=values, style=st.sampled_from(STYLES))
def test_text_and_rest_are_the_attributes_again(made: Any, style: Style) -> None:
    try:
        text, (form, rest) = told(made, style)
    except MappingError:
        return
    again = attributes(text, form, rest)
    assert again == made
    assert list(again) == list(made) if isinstance(made, dict) else type(again) is type(made)
