"""YAML as it is read: values, places, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.document import Document, Numeral
from bridge.settings.expansion import Expansion
from bridge.settings.yaml_reader import read_yaml

SYNTAX_HINT = "check the indentation, and put text that holds `: `, ` #`, `{` or `[` in quotes"


def expand(text: str) -> tuple[str, list[tuple[str, str]]]:
    return text.replace("${X}", "expanded"), [("is unset", "set it")] if "${NONE}" in text else []


def read(text: str) -> Document:
    document, problems = read_yaml(text, "f", expand)
    assert problems == []
    assert document is not None
    return document


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read_yaml(text, "f", expand)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text", "text"),
        ("yes", "yes"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("'1'", "1"),
        ('"true"', "true"),
        ('"null"', "null"),
        ("''", ""),
        ("|\n  a\n  b", "a\nb\n"),
        ("1", 1),
        ("0", 0),
        ("-7", -7),
        ("18446744073709551616", 18446744073709551616),
        ("9" * 301, "9" * 301),
        ("0123", "0123"),
        ("+47", "+47"),
        ("0x1F", "0x1F"),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.0", 1.0),
        (".5", Numeral(".5")),
        ("1e3", Numeral("1e3")),
        ("1.10", Numeral("1.10")),
        ("12E4", Numeral("12E4")),
        ("5319E7", Numeral("5319E7")),
        ("007", "007"),
        ("1e999", "1e999"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("${X}", "expanded"),
        ("'a ${X}'", "a expanded"),
        ("{}", {}),
        ("[]", []),
    ],
)
def test_scalars_are_those_of_yaml_1_2_unless_they_would_change_their_looks(text: str, value: Any) -> None:
    found = read(f"a: {text}\n").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_every_key_and_item_has_a_place() -> None:
    document = read("a: 1\nb:\n  - x\n  - c: {d: e}\n    'q': 2\n")
    assert document.places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", 0): (3, 5),
        ("b", 1): (4, 5),
        ("b", 1, "c"): (4, 5),
        ("b", 1, "c", "d"): (4, 9),
        ("b", 1, "q"): (5, 5),
    }


def test_an_empty_file_holds_nothing() -> None:
    for text in ("", "# nothing\n", "---\n", "---\n...\n"):
        assert read(text).data is None


def test_aliases_stand_for_what_they_name_and_its_places() -> None:
    document = read("a: &x\n  b: [1]\nc: *x\nd: [*x]\n")
    assert document.data == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}]}
    assert document.places["c",] == (3, 1)
    assert document.places["c", "b", 0] == document.places["a", "b", 0] == (2, 7)
    assert document.places["d", 0, "b", 0] == (2, 7)


def test_merged_mappings_give_the_keys_that_are_not_there() -> None:
    document = read("x: &x {a: 1, b: {c: 2}}\ny: &y {a: 3, d: 4}\nz:\n  <<: [*y, *x]\n  d: 5\nw:\n  q: 1\n  <<: *x\n")
    assert document.data["z"] == {"a": 3, "d": 5, "b": {"c": 2}}
    assert document.data["w"] == {"q": 1, "a": 1, "b": {"c": 2}}
    assert document.places["z", "a"] == (2, 8)
    assert document.places["z", "d"] == (5, 3)
    assert document.places["z", "b", "c"] == (1, 18)
    assert document.places["w", "b", "c"] == (1, 18)


def test_a_merge_of_what_has_a_merge_keeps_the_places() -> None:
    document = read("x: &x {a: {b: 1}}\ny: &y {<<: *x, c: 1}\nz: {<<: *y}\n")
    assert document.data["z"] == {"a": {"b": 1}, "c": 1}
    assert document.places["z", "a", "b"] == (1, 12)
    assert document.places["z", "c"] == (2, 16)


def test_of_duplicate_keys_the_first_counts_and_every_other_is_a_problem() -> None:
    document, found = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\na: {b: 4}\n", "f", expand)
    assert [str(problem) for problem in found] == [
        "f:2:11: b.c: `c` is already in line 2, remove one of them",
        "f:3:1: a: `a` is already in line 1, remove one of them",
        "f:4:1: a: `a` is already in line 1, remove one of them",
    ]
    assert document is not None
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert document.places["a",] == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: ${NONE}", "f:1:1: a: is unset, set it"),
        ("a: [x, '${NONE}']", "f:1:8: a[1]: is unset, set it"),
        ("1: x", 'f:1:1: the key `1` must be text, put it in quotes: "1"'),
        ("a: {true: x}", 'f:1:5: a: the key `true` must be text, put it in quotes: "true"'),
        ("?\n: x", "f:1:2: the key `` must be text, write the key before the colon"),
        (
            ": x",
            (
                "f:1:1: is not valid YAML: the indentation does not fit the lines above, or a key is missing, "
                f"{SYNTAX_HINT}"
            ),
        ),
        ("? [a]\n: x", "f:1:3: has a key that is no text, write keys as plain text"),
        ("a: &a x\n*a : y", "f:2:1: has a key that is no text, write keys as plain text"),
        ('"a\\nb": x', "f:1:1: has a key that cannot be printed, use plain text"),
        ("a: {{ body.x }}", 'f:1:1: a: `{{ ... }}` is not in quotes, write "{{ ... }}"'),
        ("a: !!str 5", "f:1:1: a: has a tag (`!...`), which means nothing here, remove the tag"),
        ("a: !env {b: 1}", "f:1:1: a: has a tag (`!...`), which means nothing here, remove the tag"),
        ("a: *x", "f:1:1: a: `*x` is not defined above, define it with &x"),
        ("a: &a [*a]", "f:1:8: a[0]: `*a` is not defined above, define it with &a"),
        ("a: {<<: 1}", "f:1:5: a.<<: must be a mapping or a list of mappings, name one with *alias"),
        ("a: 1\n---\nb: 1\n---\nc: 1", "f:2:1: a second document starts here, write one document in a file"),
        ('a: "\\ud800"', "f:1:7: is not valid YAML: this escape is no character, write the character itself"),
        (
            'a: 1\nb: "\\U00110000"',
            "f:2:7: is not valid YAML: this escape is no character, write the character itself",
        ),
        ("a: 1\nb: x\x07y", "f:2:5: holds a control character, remove it"),
        ("a:\n\tb: 1", "f:2:1: a tab is no indentation in YAML, use spaces"),
        (
            "a: [1, 2\nb: 3",
            (
                "f:2:2: is not valid YAML: expected ',' or ']', but found ':' (what is open begins in line 1), "
                f"{SYNTAX_HINT}"
            ),
        ),
        (
            "a: @x",
            f"f:1:4: is not valid YAML: found character '@' that cannot start any token, {SYNTAX_HINT}",
        ),
        (
            "a: [${X}]",
            (
                "f:1:6: is not valid YAML: expected ',' or ']', but found '{', "
                "put ${...} in quotes where it stands within [ ] or { }"
            ),
        ),
        ("[" * 60, "f:1:52: the file is nested too deeply, keep it within 50 levels"),
        (
            "x: &x [" + "1," * 9_999 + "]\ny: [" + "*x," * 9 + "]",
            "f:2:29: the file has too many values, keep it below 100000, aliases counted as written out",
        ),
    ],
)
def test_what_is_no_plain_yaml_is_a_problem_at_its_place(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_what_was_found_before_a_syntax_error_is_told_too() -> None:
    found = problems("a: 1\na: 2\nb: [")
    assert found[0] == "f:2:1: a: `a` is already in line 1, remove one of them"
    assert len(found) == 2


def chain(letter: str, link: str) -> str:
    """Anchors of which each holds the one before."""
    return f"{letter}0: &{letter}0 [x]\n" + "".join(
        f"{letter}{number}: &{letter}{number} {link.format(f'*{letter}{number - 1}')}\n" for number in range(1, 100)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (chain("a", "[{0}, {0}, {0}, {0}, {0}, {0}, {0}, {0}]"), "the file has too many values"),
        (chain("a", "[{0}]"), "the file is nested too deeply"),
        ("x: &x [" + "1," * 10_000 + "]\n" + "a: *x\n" * 100, "the file has too many values"),
        ("x: &x {a: [" + "1," * 10_000 + "]}\n" + "y: {<<: *x}\nz: {<<: *x}\n" * 9, "the file has too many values"),
        ("? " * 100_000, "the file is nested too deeply"),
        ("{" + "a," * 10_000 + "}", "the file has too many problems to go on"),
        ("a: " + "${" * 100_000, "the file has too many problems to go on"),
    ],
)
def test_bombs_are_stopped(text: str, message: str) -> None:
    document, found = read_yaml(text, "f", Expansion({}, Path()).expand)
    assert document is None
    assert found[-1].message == message
    assert len(found) <= 1_001


INDICATORS = st.text(alphabet="ab1:-?,[]{}#&*!|>'\"%@`<~ \n\t$\\u", max_size=60)


@given(st.one_of(st.text(max_size=60), INDICATORS))
def test_any_text_gives_a_document_or_problems(text: str) -> None:
    document, found = read_yaml(text, "f", expand)
    assert document is not None or found
    for problem in found:
        str(problem).encode()


def test_a_blank_line_with_a_tab_is_a_blank_line() -> None:
    document = read("a: 1\n\t\nb:\n  - x\n \t \n  - |\n    y\n\t\n    z\n")
    assert document.data == {"a": 1, "b": ["x", "y\n\nz\n"]}
    assert document.places["b", 1] == (6, 5)
