from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ExpressionError, MappingError
from bridge.mapping.expressions.expression import compile_expression
from bridge.mapping.expressions.filters import FILTERS, MAX_TRIMMED, TESTS, pattern
from bridge.mapping.expressions.registry import Registry


def value(text: str, x: Any = None) -> Any:
    return compile_expression(text, Registry.of("x"))({"x": x})


def test_there_are_the_filters_and_tests_that_the_page_names() -> None:
    assert " ".join(sorted(FILTERS)) == "as_list default float int join length lower replace string trim upper"
    assert sorted(TESTS) == ["defined", "match", "none"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("+5", 5),
        ("-007", -7),
        ("3.7", 3),
        ("-3.7", -3),
        (".5", 0),
        ("5.", 5),
        ("1e3", 1000),
        ("12345678901234567890123", 12345678901234567890123),
        ("12345678901234567890123.9", 12345678901234567890123),
        (3.9, 3),
        (True, 1),
    ],
)
def test_int_takes_plain_numbers(text: Any, expected: int) -> None:
    assert value("x | int", text) == expected
    assert type(value("x | int", text)) is int


@pytest.mark.parametrize("text", ["3.7", "-0.5", "1e-3", "42", ".5", "5.", 7, True])
def test_float_takes_plain_numbers(text: Any) -> None:
    assert value("x | float", text) == float(text)
    assert type(value("x | float", text)) is float


NO_NUMBERS: list[Any] = [
    "",
    " 5",
    "5 ",
    "1_000",
    "1,5",
    "inf",
    "nan",
    "-Infinity",
    "0x10",
    "٣",
    "1e",
    "--1",
    "5\n",
    ".",
    None,
    [],
    {},
]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_int_and_float_fail_on_what_is_no_number_unless_told_what_to_use(text: Any) -> None:
    for name in ("int", "float"):
        with pytest.raises(MappingError, match="needs a number"):
            value(f"x | {name}", text)
        assert value(f"x | {name}(9)", text) == 9
        assert value(f"x | {name}(default='none')", text) == "none"


@pytest.mark.parametrize("text", ["1e999", "9" * 400, "-1e400"])
def test_a_number_too_large_for_a_float_fails(text: str) -> None:
    with pytest.raises(MappingError, match="too large"):
        value("x | float", text)


@given(st.integers())
def test_int_is_exact_for_whole_numbers_of_any_length(number: int) -> None:
    assert value("x | int", str(number)) == number


@given(st.text())
def test_int_and_float_give_a_number_or_fail(text: str) -> None:
    for name in ("int", "float"):
        try:
            number = value(f"x | {name}", text)
        except MappingError:
            continue
        assert number == (whole(text) if name == "int" else float(text))


def whole(text: str) -> int:
    """Exact, where a float would be rounded."""
    try:
        return int(text)
    except ValueError:
        return int(float(text))


def test_trim_takes_characters_to_trim() -> None:
    assert value("x | trim", " a \n") == "a"
    assert value("x | trim('-_')", "-_a-b_") == "a-b"
    with pytest.raises(MappingError, match="at most"):
        value("x | trim(x)", "".join(map(chr, range(97, 98 + MAX_TRIMMED))))


def test_join_takes_lists_objects_and_text() -> None:
    assert value("x | join(', ')", ["a", 1, 2.5]) == "a, 1, 2.5"
    assert value("x | join(d='-')", "abc") == "a-b-c"
    assert value("x | join(',')", {"a": 1, "b": 2}) == "a,b"
    assert value("x | join", []) == ""


@pytest.mark.parametrize(
    ("x", "words"), [(None, "null"), (True, "true"), (False, "false"), (["a"], "a list"), ({"a": 1}, "an object")]
)
@pytest.mark.parametrize(
    "text",
    [
        *("x | lower", "x | upper", "x | trim", "{'a': x}.a | lower"),
        *("x | replace('a', 'b')", "'a' | replace('a', x)", "'a' | replace(x, 'b')"),
        *("[1, x] | join(', ')", "['a', 'b'] | join(x)", "[x] | join"),
    ],
)
def test_text_filters_take_text_and_numbers_only(text: str, x: Any, words: str) -> None:
    with pytest.raises(MappingError) as caught:
        value(text, x)
    assert f"`: needs text, not {words}" in caught.value.message
    assert "`| default('', true)`" in caught.value.hint


@pytest.mark.parametrize("name", ["lower", "upper", "trim", "join", "replace('a', 'b')"])
def test_default_gives_a_text_filter_text_where_there_is_null(name: str) -> None:
    assert value(f"x | default('', true) | {name}", None) == ""
    assert value(f"x | default('', true) | {name}", False) == ""


def test_text_filters_take_numbers_as_they_are_written() -> None:
    assert [value(f"x | {name}", 12) for name in ("lower", "trim", "replace('1', '3')")] == ["12", "12", "32"]
    assert value("x | lower", 2.5) == "2.5"


@pytest.mark.parametrize("x", [None, True, 5])
def test_join_needs_a_list(x: Any) -> None:
    with pytest.raises(MappingError, match="needs a list, not"):
        value("x | join(', ')", x)


def test_replace_takes_a_count() -> None:
    assert value("x | replace('a', 'b')", "aaa") == "bbb"
    assert value("x | replace('a', 'b', 2)", "aaa") == "bba"
    assert value("x | replace(old='', new='-')", "ab") == "-a-b-"
    with pytest.raises(MappingError):
        value("x | replace('a', 'b', 'c')", "aaa")


def test_length_counts_text_lists_and_objects() -> None:
    assert [value("x | length", x) for x in ("abc", [1, 2], {"a": 1})] == [3, 2, 1]
    with pytest.raises(MappingError):
        value("x | length", 5)


def test_match_is_anchored_at_the_start_only() -> None:
    assert value("x is match('CRM-')", "CRM-12") is True
    assert value("x is match('RM')", "CRM-12") is False
    assert value("x is match('CRM-\\\\d$')", "CRM-12") is False
    assert value("x is match('(?i)crm')", "CRM-12") is True
    assert value("x is match('é+')", "ééé") is True
    assert value("x is not match('a')", "b") is True


@pytest.mark.parametrize("x", [None, 5, True, ["a"], {"a": 1}])
def test_match_needs_text(x: Any) -> None:
    with pytest.raises(MappingError, match="needs text"):
        value("x is match('.*')", x)


@pytest.mark.parametrize("text", ["(", "a{2,1}", "(?=a)", "(a)\\1", "[z-a]", "((a{100}){100}){100}", "\b"])
def test_a_bad_pattern_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="pattern"):
        pattern(text)


@given(st.text())
def test_any_pattern_compiles_or_is_refused(text: str) -> None:
    try:
        pattern(text)
    except ExpressionError:
        return
