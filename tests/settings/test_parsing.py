"""A section against a model: values with units, and every finding in words."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from bridge.settings.document import Document, Numeral, Section
from bridge.settings.parsing import (
    NAME_HINT,
    Duration,
    Expression,
    HeaderSecret,
    HeaderText,
    Name,
    Rate,
    Secrets,
    Size,
    Strict,
    parse,
)
from bridge.settings.secrets import Expanded, Secret


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(Strict):
    whole: int = Field(1, ge=1, lt=1000)
    number: float = Field(0.5, gt=0, le=1)
    maybe: int | None = None
    flag: bool = False
    text: Annotated[str, Field(min_length=1)] = "x"
    level: Literal["debug", "info"] = "info"
    colour: Colour = Colour.RED
    wait: Duration = Field(1, gt=0)
    tolerance: Duration | None = None
    room: Size = 1
    pace: Rate = Rate(1, 1000)
    language: HeaderText = "en"
    token: Secret | None = None
    header_token: HeaderSecret | None = None
    secrets: Secrets = (Secret("x"),)
    when: Expression = "true"
    names: tuple[str, ...] = ()
    aliased: int = Field(1, alias="class")


class Tree(Strict):
    leaves: dict[Name, Leaf] = Field({})
    branches: list[Leaf] = Field([])
    either: dict[str, int] | list[int] = Field([])
    root: Annotated[str, Field(description="where it stands")] = "earth"


class Needy(Strict):
    url: str = Field(description="the address")
    bare: str


KEYS = (
    "class, colour, flag, header_token, language, level, maybe, names, number, pace, room, secrets, text, token, "
    "tolerance, wait, when, whole"
)


def problems(value: Any, model: type[Strict] = Leaf) -> list[str]:
    return [str(problem) for problem in parse(Section(Document("f", value)), model)[1]]


def value_of(value: Any) -> Leaf:
    parsed, found = parse(Section(Document("f", value)), Leaf)
    assert parsed is not None, found
    return parsed


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("200ms", 200), ("2s", 2000), ("15m", 900_000), ("48h", 172_800_000), ("1d", 86_400_000)]
)
def test_durations_are_milliseconds(text: str, milliseconds: int) -> None:
    assert value_of({"wait": text, "tolerance": text}).wait == milliseconds


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), (7, 7), ("7", 7), ("0", 0)]
)
def test_sizes_are_bytes(text: str | int, size: int) -> None:
    assert value_of({"room": text}).room == size


@pytest.mark.parametrize(
    ("text", "rate"), [("50/s", Rate(50, 1000)), ("100/m", Rate(100, 60_000)), ("10/h", Rate(10, 3_600_000))]
)
def test_rates_are_a_count_per_milliseconds(text: str, rate: Rate) -> None:
    assert value_of({"pace": text}).pace == rate


def test_text_from_a_variable_becomes_what_the_model_wants() -> None:
    leaf = value_of({"whole": Expanded("42"), "number": Expanded("0.25"), "flag": Expanded("true")})
    assert (leaf.whole, leaf.number, leaf.flag) == (42, 0.25, True)


def test_a_number_that_keeps_its_looks_is_one_where_a_number_is_wanted() -> None:
    leaf = value_of({"whole": Numeral("1E1"), "number": Numeral(".50"), "text": Numeral("1.10")})
    assert (leaf.whole, leaf.number, leaf.text) == (10, 0.5, "1.10")


def test_an_expression_may_be_written_as_true_or_false() -> None:
    assert value_of({"when": True}).when == "true"
    assert value_of({"when": False}).when == "false"


def test_empty_secrets_of_a_list_are_dropped() -> None:
    leaf = value_of({"secrets": ["", "a", None, "b", 7]})
    assert [secret.reveal() for secret in leaf.secrets] == ["a", "b", "7"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"whole": "x1"}, 'whole: must be a whole number, not "x1"'),
        ({"whole": True}, "whole: must be a whole number, not true"),
        ({"whole": 1.5}, "whole: must be a whole number, not the number 1.5"),
        ({"whole": [1]}, "whole: must be a whole number, not a list"),
        ({"whole": "12"}, 'whole: must be a whole number, not "12", write it without quotes'),
        ({"whole": Expanded("9" * 5000)}, "whole: must be a whole number of fewer digits, not text"),
        ({"whole": 0}, "whole: must be at least 1, not the number 0"),
        ({"whole": 1000}, "whole: must be less than 1000, not the number 1000"),
        ({"number": 0}, "number: must be more than 0, not the number 0"),
        ({"number": 2}, "number: must be at most 1, not the number 2"),
        ({"number": "0.5"}, 'number: must be a number, not "0.5", write it without quotes'),
        ({"number": "half"}, 'number: must be a number, not "half"'),
        ({"number": "1e999"}, 'number: must be a number, not "1e999"'),
        ({"number": False}, "number: must be a number, not false"),
        ({"maybe": {}}, "maybe: must be a whole number, not a mapping"),
        ({"maybe": None}, "maybe: is empty, give it a value, or remove it"),
        ({"flag": "maybe"}, 'flag: must be true or false, not "maybe"'),
        ({"flag": 7}, "flag: must be true or false, not the number 7"),
        ({"flag": 0}, "flag: must be true or false, not the number 0, write false"),
        ({"flag": "no"}, 'flag: must be true or false, not "no", write false'),
        ({"flag": "On"}, 'flag: must be true or false, not "On", write true'),
        ({"flag": "true"}, 'flag: must be true or false, not "true", write it without quotes'),
        ({"flag": Expanded("yes")}, "flag: must be true or false, not text, write true"),
        ({"text": 7}, "text: must be text, not the number 7, put it in quotes"),
        ({"text": 1.10}, "text: must be text, not the number 1.1, put it in quotes"),
        ({"text": True}, "text: must be text, not true, put it in quotes"),
        ({"text": ["a"]}, "text: must be text, not a list"),
        ({"text": ""}, "text: is empty"),
        ({"level": "debgu"}, 'level: must be one of debug, info, not "debgu", did you mean `debug`?'),
        ({"level": "loud"}, 'level: must be one of debug, info, not "loud"'),
        ({"level": 3}, "level: must be one of debug, info, not the number 3"),
        ({"colour": "bleu"}, 'colour: must be one of red, blue, not "bleu", did you mean `blue`?'),
        ({"wait": 5}, "wait: must be a duration such as 200ms, 2s, 15m, 48h or 90d, not the number 5"),
        ({"wait": "5 s"}, 'wait: must be a duration such as 200ms, 2s, 15m, 48h or 90d, not "5 s"'),
        ({"wait": True}, "wait: must be a duration such as 200ms, 2s, 15m, 48h or 90d, not true"),
        ({"wait": "36501d"}, 'wait: must be a duration of at most 36500d, not "36501d"'),
        ({"wait": "0s"}, 'wait: must be more than 0, not "0s"'),
        ({"tolerance": "x"}, 'tolerance: must be a duration such as 200ms, 2s, 15m, 48h or 90d, not "x"'),
        ({"room": "1MB"}, 'room: must be a size such as 65536, 64KiB or 1MiB, not "1MB"'),
        ({"room": True}, "room: must be a size such as 65536, 64KiB or 1MiB, not true"),
        ({"room": -1}, "room: must be a size such as 65536, 64KiB or 1MiB, not the number -1"),
        ({"pace": "0/s"}, 'pace: must be a rate such as 50/s, 100/m or 10/h, not "0/s"'),
        ({"pace": 50}, "pace: must be a rate such as 50/s, 100/m or 10/h, not the number 50"),
        (
            {"language": "e\nn"},
            "language: cannot be the value of a header, use plain ASCII text without control characters",
        ),
        (
            {"header_token": "a\x00"},
            "header_token: cannot be the value of a header, use plain ASCII text without control characters",
        ),
        ({"token": ""}, "token: is empty, give it its value: an empty secret protects nothing"),
        ({"token": 1.5}, "token: must be text, not a number"),
        ({"token": True}, "token: must be text, not true or false"),
        ({"token": ["hush"]}, "token: must be text, not a list"),
        ({"token": "$SO_TOKEN"}, "token: is the name of a variable, not its value, write ${SO_TOKEN}"),
        ({"secrets": ["{{ HUSH }}"]}, "secrets[0]: is the name of a variable, not its value, write ${HUSH}"),
        ({"secrets": "hush"}, "secrets: must be a list, not text, put it in brackets: [...]"),
        ({"secrets": []}, "secrets: holds no secret, give at least one that is not empty"),
        ({"secrets": ["", None]}, "secrets: holds no secret, give at least one that is not empty"),
        ({"secrets": ["", 1.5]}, "secrets[1]: must be text, not a number"),
        ({"when": ""}, "when: is empty, write an expression, or remove it"),
        ({"names": "hush"}, "names: must be a list, not text, put it in brackets: [...]"),
        ({"names": ["a", None]}, "names[1]: must be text, not empty"),
        ({"class": "x"}, 'class: must be a whole number, not "x"'),
        ({"redact": 1}, "redact: `redact` is not available yet, remove it"),
        ({"colours": 1}, "colours: unknown key `colours`, did you mean `colour`?"),
    ],
)
def test_a_finding_says_what_is_wrong_and_what_to_do(value: dict[str, Any], text: str) -> None:
    assert problems(value) == [f"f: {text}"]


def test_all_findings_come_at_once_and_each_at_its_own_path() -> None:
    value = {"leaves": {"Bad": {}, "url": {"whole": "x", "q": 1}}, "branches": [{}, 3], "either": {"a": "x"}, "rot": 1}
    assert problems(value, Tree)[:3] == [
        f"f: leaves.Bad: is not a valid name, {NAME_HINT}",
        'f: leaves.url.whole: must be a whole number, not "x"',
        f"f: leaves.url.q: unknown key `q`, known here: {KEYS}",
    ]
    assert problems(value, Tree)[3:] == [
        "f: branches[1]: must be a mapping (key: value), not a number",
        'f: either.a: must be a whole number, not "x"',
        "f: either: must be a list, not a mapping",
        "f: rot: unknown key `rot`, did you mean `root`?",
    ]


def test_a_missing_key_is_told_with_its_description() -> None:
    assert problems({}, Needy) == ["f: url: is missing, add it: the address", "f: bare: is missing, add it"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "is empty, write its keys, or remove it"),
        ([], "must be a mapping (key: value), not a list"),
        ("hush", "must be a mapping (key: value), not text"),
    ],
)
def test_a_section_must_be_a_mapping(value: Any, text: str) -> None:
    assert problems(value) == [f"f: {text}"]


def test_a_text_from_outside_the_file_is_never_quoted() -> None:
    for key in ("whole", "number", "flag", "level", "colour", "wait", "room", "pace", "language"):
        [text] = problems({key: Expanded("hush\n")})
        assert "hush" not in text


def test_a_place_is_that_of_the_key_or_of_the_nearest_thing_around_it() -> None:
    document = Document(
        "f", {"leaves": {"a": {"whole": "x"}}}, {("leaves", "a"): (3, 5), ("leaves", "a", "whole"): (4, 7)}
    )
    assert problems_at(document) == ["f:4:7"]
    document = Document("f", {"leaves": {"a": {"whole": "x"}}}, {("leaves", "a"): (3, 5)})
    assert problems_at(document) == ["f:3:5"]


def problems_at(document: Document) -> list[str]:
    return [str(problem.location) for problem in parse(Section(document), Tree)[1]]


ANY_YAML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Leaf.model_fields, *Tree.model_fields, "x"]), inner, max_size=4)
    ),
)


@given(ANY_YAML)
def test_whatever_is_written_gives_a_value_or_problems(value: Any) -> None:
    for model in (Leaf, Tree, Needy):
        parsed, found = parse(Section(Document("f", value)), model)
        assert (parsed is None) == bool(found)
