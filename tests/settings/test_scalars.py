import json

import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.document import Section
from bridge.settings.scalars import index_of
from bridge.settings.yaml_reader import read_yaml

words = st.lists(st.text(st.sampled_from("ab.=|'\"\\{}?é#"), min_size=1, max_size=6), min_size=1, max_size=8)


def assert_found(written: str, value: str) -> None:
    assert yaml.safe_load(f"x: {written}\n")["x"] == value
    for position, character in enumerate(value):
        if not character.isspace():
            index = index_of(written, value, position)
            assert written[index] == character
    places = [index_of(written, value, position) for position in range(len(value))]
    assert places == sorted(places)


@given(words)
def test_each_character_of_a_text_in_double_quotes_is_found(words: list[str]) -> None:
    value = " ".join(words)
    assert_found(json.dumps(value, ensure_ascii=False), value)


@given(words)
def test_each_character_of_a_text_in_single_quotes_is_found_on_folded_lines_too(words: list[str]) -> None:
    quoted = [word.replace("'", "''") for word in words]
    assert_found(f"'{' '.join(quoted)}'", " ".join(words))
    folded = "\n   ".join(quoted)
    assert_found(f"'{folded}'", " ".join(words))


@given(words)
def test_each_character_of_a_block_is_found(words: list[str]) -> None:
    lines = "\n    ".join(words)
    assert_found(f"|\n    {lines}\n", "\n".join(words) + "\n")
    assert_found(f">-\n    {lines}\n", " ".join(words))


@given(st.lists(st.text("ab.=", min_size=1, max_size=6), min_size=1, max_size=8))
def test_each_character_of_plain_text_is_found(words: list[str]) -> None:
    words = ["a", *words]
    assert_found("\n   ".join(words), " ".join(words))


def test_escapes_are_skipped() -> None:
    written = '"a\\tb\\\n   c\\"d"'
    value = yaml.safe_load(written)
    assert value == 'a\tbc"d'
    assert [written[index_of(written, value, value.index(c))] for c in "abcd"] == list("abcd")


def test_a_problem_points_to_the_character_it_is_about() -> None:
    text = "a: 1\nwhen: >\n  body.a\n  == bdy.b\n"
    document, _ = read_yaml(text, "f", lambda scalar: (scalar, []))
    assert document is not None
    section = Section(document)["when"]
    assert str(section.problem("x", at=section.value.index("bdy")).location) == "f:4:6"
    assert str(section.problem("x").location) == "f:2:1"


@given(st.text(max_size=8), st.text(max_size=8), st.integers(0, 10))
def test_whatever_stands_there_an_index_is_given(written: str, value: str, position: int) -> None:
    assert 0 <= index_of(written, value, position) <= len(written)
