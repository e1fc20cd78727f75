"""Headers that people may add: what would break the request or carry a log-in is refused where it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.document import Document, Section
from bridge.settings.headers import MAX_VALUE, is_value
from bridge.settings.parsing import parse
from bridge.settings.secrets import Secret
from bridge.settings.source_schema import RuleSettings
from bridge.settings.target_schema import TargetSettings

HINT = "remove it, the bridge sets it itself"
SHAPE = "use letters, digits and -, at most 100 characters"
VALUE = "cannot be the value of a header, use plain ASCII text without control characters"


def of_target(**settings: object) -> tuple[TargetSettings | None, list[str]]:
    written = {"url": "https://a.example/api", "authorization": {"scheme": "basic"}, **settings}
    parsed, problems = parse(Section(Document("f", written)), TargetSettings)
    return parsed, [f"{problem.path}: {problem.message}, {problem.hint}" for problem in problems]


def of_rule(headers: object) -> list[str]:
    written = {"name": "a", "event": {"type": "Run"}, "headers": headers}
    problems = parse(Section(Document("f", written)), RuleSettings)[1]
    return [f"{problem.path}: {problem.message}, {problem.hint}" for problem in problems]


def test_a_targets_headers_are_secrets_and_a_rules_are_templates() -> None:
    settings, problems = of_target(headers={"X-Gateway-Key": "hush"}, correlation_header="X-Request-Id")
    assert problems == []
    assert settings is not None
    assert settings.headers["X-Gateway-Key"].reveal() == "hush"
    assert "hush" not in repr(settings)
    assert settings.correlation_header == "X-Request-Id"
    assert of_rule({"X-Shop": "{{ body.shop }}"}) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Host", f"cannot be set as a header, {HINT}"),
        ("content-LENGTH", f"cannot be set as a header, {HINT}"),
        ("Content-Type", f"cannot be set as a header, {HINT}"),
        ("Transfer-Encoding", f"cannot be set as a header, {HINT}"),
        ("Connection", f"cannot be set as a header, {HINT}"),
        ("Accept", f"cannot be set as a header, {HINT}"),
        ("Expect", f"cannot be set as a header, {HINT}"),
        ("X-HTTP-Method-Override", "cannot be set as a header, remove it, SendEvent is a POST"),
        ("Authorization", "cannot be set as a header, put the log-in under the target's authorization"),
        ("cookie", "cannot be set as a header, put the log-in under the target's authorization"),
        ("X-XSRF-TOKEN", "cannot be set as a header, put the log-in under the target's authorization"),
        (
            "Proxy-Authorization",
            "cannot be set as a header, put username and password under the target's proxy",
        ),
        ("SO-AppToken", "cannot be set as a header, use the target's app_token"),
        ("", f"is no name of a header, {SHAPE}"),
        ("X Shop", f"is no name of a header, {SHAPE}"),
        ("X-Shop:", f"is no name of a header, {SHAPE}"),
        ("X-Shop\r\nX-Other", f"is no name of a header, {SHAPE}"),
        ("X-Shop\n", f"is no name of a header, {SHAPE}"),
        ("X-Shöp", f"is no name of a header, {SHAPE}"),
        ("X" * 101, f"is no name of a header, {SHAPE}"),
    ],
)
def test_a_name_that_cannot_be_right_is_refused_everywhere(name: str, problem: str) -> None:
    path = f".{name}" if name else "."
    assert of_target(headers={name: "x"})[1] == [f"headers{path}: {problem}"]
    assert of_rule({name: "x"}) == [f"headers{path}: {problem}"]
    if name:
        assert of_target(correlation_header=name)[1] == [f"correlation_header: {problem}"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("SO-Language", "language"),
        ("Accept-Language", "accept_language"),
        ("so-culture", "culture"),
        ("SO-TimeZone", "time_zone"),
    ],
)
def test_what_a_target_has_a_key_for_is_set_by_that_and_may_differ_in_a_rule(name: str, key: str) -> None:
    assert of_target(headers={name: "en"})[1] == [f"headers.{name}: has a key of its own, use {key}"]
    assert of_rule({name: "{{ body.language }}"}) == []


@pytest.mark.parametrize("value", ["", " a", "a ", "a\r\nX-Other: b", "a\0", "\u00e4", "\x7f"])
def test_a_value_of_a_targets_header_that_cannot_be_sent_is_refused(value: str) -> None:
    (problem,) = of_target(headers={"X-Key": value})[1]
    assert problem.startswith("headers.X-Key: is empty" if value == "" else f"headers.X-Key: {VALUE}")


def test_a_name_may_stand_once_and_names_are_bounded() -> None:
    twice = "headers: names x-shop twice, names of headers are the same in capitals; remove one"
    assert of_target(headers={"X-Shop": "a", "x-shop": "b"})[1] == [twice]
    assert of_rule({"X-Shop": "a", "x-shop": "b"}) == [twice]
    many = {f"X-{number}": "a" for number in range(17)}
    assert of_rule(many) == ["headers: holds 17 headers, at most 16 are allowed"]
    assert of_rule(dict(list(many.items())[:16])) == []


def test_the_correlation_header_is_none_of_the_others() -> None:
    found = of_target(headers={"X-Request-ID": "a"}, correlation_header="X-Request-Id")[1]
    assert found == ["correlation_header: stands among headers too, remove it from one of them"]


def test_a_value_is_plain_ascii_of_some_length() -> None:
    assert is_value("a")
    assert is_value("a b\\;=")
    assert is_value("a" * MAX_VALUE)
    assert not is_value("a" * (MAX_VALUE + 1))
    assert not is_value("")


@given(st.text(max_size=20))
def test_no_value_that_passes_can_end_its_header(text: str) -> None:
    if is_value(text):
        assert text.isascii()
        assert text.isprintable()
        assert text == text.strip()
    if not text.isascii() or not text.isprintable():
        assert not is_value(text)


def test_a_secret_from_a_file_is_told_from_a_constant() -> None:
    assert not Secret("a").follows_a_file
