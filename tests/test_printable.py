"""What would act on a terminal is escaped, everything else is as it was."""

import json
import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import jsontext
from bridge.printable import printable


@cache
def acting() -> list[str]:
    """Every control character, separator of lines and surrogate."""
    return [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp", "Cs")]


BIDI = [chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]


def test_each_character_that_acts_is_escaped_as_in_json() -> None:
    for character in acting() + BIDI:
        shown = printable(character)
        assert shown.isascii()
        assert shown.isprintable()
        assert json.loads(f'"{shown}"') == character


@pytest.mark.parametrize("text", ["", "Åse", "a\\b", "日本語", "👩‍👧", "\u00a0", "می‌خواهم", '{"a": "b c"}'])
def test_text_that_only_shows_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_line_end_is_no_line_end() -> None:
    assert printable("a\nb\tc\r\x1b[2J") == "a\\nb\\tc\\r\\u001b[2J"


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_stays_the_same_json(value: object) -> None:
    shown = printable(jsontext.encode(value).decode("utf-8", "surrogatepass"))
    assert json.loads(shown) == value
    assert not set(shown) & {*acting(), *BIDI}
