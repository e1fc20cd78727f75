"""Which event types exist, by version."""

import pytest

from bridge.sandbox import answers
from bridge.sandbox.versions import known_to
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.event_types import event_types, is_known, is_version
from bridge.superoffice.send_event import compile_target

from .support import BASIC

EARLY = {"None", "Run", "Click"}


def test_the_newest_server_has_these() -> None:
    assert event_types("latest") == event_types("12.4") == answers.EVENT_TYPES
    assert len(answers.EVENT_TYPES) == 15


@pytest.mark.parametrize(
    ("version", "early"),
    [
        ("10.2.7", True),
        ("10.2.8", True),
        ("10.2.8.4711", True),
        ("10.2.9", False),
        ("10.2.10", False),
        ("10.3", False),
        ("10.10", False),
        ("11.0.1", False),
        ("12.4.9.1", False),
    ],
)
def test_before_10_2_9_there_were_three(version: str, early: bool) -> None:
    assert event_types(version) == (EARLY if early else answers.EVENT_TYPES)
    assert event_types(version) == known_to(version)
    assert is_known(version)


@pytest.mark.parametrize("version", ["10.2.6", "10.2", "10", "9.2", "8.1.6431.038", "", "newest", "10.2.8 ", "-11"])
def test_of_older_ones_and_of_what_is_no_version_nothing_is_known(version: str) -> None:
    assert event_types(version) is None
    assert not is_known(version)


def test_a_newer_server_is_taken_to_know_the_newest_names_but_cannot_be_configured() -> None:
    assert event_types("13.0.1") == answers.EVENT_TYPES
    assert not is_known("13.0.1")
    assert not is_known("12.5")


def test_auto_knows_what_some_version_knows() -> None:
    assert event_types("auto") == answers.EVENT_TYPES | EARLY
    assert is_known("auto")
    assert is_known("latest")


@pytest.mark.parametrize("text", ["10.3.5.1234", "8.1.6431.038", "12"])
def test_a_servers_version_is_numbers_and_points(text: str) -> None:
    assert is_version(text)


@pytest.mark.parametrize("text", [None, 12, 12.4, "", "12.", "12.4\n", "12.4-beta", "1" * 50, ["12.4"]])
def test_nothing_else_is_a_servers_version(text: object) -> None:
    assert not is_version(text)


def version_problems(version: str) -> list[str]:
    section = Section(
        Document("bridge.yaml", {"url": "https://a.example/api", "authorization": BASIC, "version": version})
    )
    settings, _ = parse(section, TargetSettings)
    assert settings is not None
    _, problems = compile_target("crm", settings, section)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("version", ["latest", "auto", "10.2.7", "10.2.8", "10.2.9", "10.5.2", "12.4"])
def test_a_known_version_is_no_problem(version: str) -> None:
    assert version_problems(version) == []


@pytest.mark.parametrize("version", ["13.0", "10.2.6", "newest"])
def test_an_unknown_version_is_a_problem_that_names_the_known_ones(version: str) -> None:
    (problem,) = version_problems(version)
    assert f"event types of version `{version}` are not known, use latest, auto, or a version from 10.2.7 to 12.4" in (
        problem
    )
