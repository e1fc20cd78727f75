"""Which event types exist, by version."""

import pytest

from bridge.sandbox import answers
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.schema import TargetSettings
from bridge.superoffice.event_types import EVENT_TYPES
from bridge.superoffice.send_event import compile_target

from .support import BASIC


def test_the_newest_server_has_these() -> None:
    assert EVENT_TYPES["latest"] == EVENT_TYPES["12.4"] == answers.EVENT_TYPES
    assert len(EVENT_TYPES["latest"]) == 15


def test_before_10_2_9_there_were_three() -> None:
    assert EVENT_TYPES["10.2.8"] == EVENT_TYPES["10.2.7"] == {"None", "Run", "Click"}
    assert "Click" not in EVENT_TYPES["10.2.9"]


def version_problems(version: str) -> list[str]:
    section = Section(
        Document("bridge.yaml", {"url": "https://a.example/api", "authorization": BASIC, "version": version})
    )
    settings, _ = parse(section, TargetSettings)
    assert settings is not None
    _, problems = compile_target("crm", settings, section)
    return [str(problem) for problem in problems]


@pytest.mark.parametrize("version", EVENT_TYPES)
def test_a_known_version_is_no_problem(version: str) -> None:
    assert version_problems(version) == []


def test_an_unknown_version_is_a_problem_that_names_the_known_ones() -> None:
    (problem,) = version_problems("13.0")
    assert "event types of version `13.0` are not known, use one of latest, 12.4, 10.2.9, 10.2.8, 10.2.7" in problem
