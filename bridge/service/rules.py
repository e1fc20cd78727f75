"""Compiles the rules of a configuration. To try or test them loads nothing that receives, stores or sends."""

from collections.abc import Iterator
from pathlib import Path

from bridge.errors import ConfigError, Location, Problem, Severity
from bridge.mapping.attributes import Style
from bridge.mapping.compilation import UNKNOWN_TARGET
from bridge.mapping.pairs import escaping
from bridge.mapping.rule import TargetFacts
from bridge.receiving.sources import SourceRules, compile_source_rules
from bridge.settings.configuration import Settings, Source
from bridge.settings.document import Section
from bridge.settings.loading import load
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.event_types import event_types


def build_rules(directory: Path) -> list[SourceRules]:
    """Load and compile the rules. They need no secret, so what is unset or cannot be read stays unset.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    return rules_of(*load(directory, strict=False))


def rules_of(settings: Settings, problems: list[Problem]) -> list[SourceRules]:
    """Compile the rules of what is loaded already, with its problems.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    built = list(compiled_rules(settings))
    refuse([*problems, *(problem for _, found in built for problem in found)])
    return [known for known, _ in built]


def compiled_rules(settings: Settings) -> Iterator[tuple[SourceRules, list[Problem]]]:
    """The rules of each source, with all that is wrong with them."""
    facts = {name: _facts(target, section) for name, target, section in settings.targets()}
    told: set[tuple[Location, str]] = set()
    for written in settings.sources.values():
        known, found = compile_source_rules(written, facts, settings.default_target, settings.bridge)
        yield known, list(_once(found, known.source, told))


def _once(found: list[Problem], source: Source, told: set[tuple[Location, str]]) -> Iterator[Problem]:
    """What the rules of many sources find at one place of bridge.yaml is told by the first of them."""
    for problem in found:
        if problem.location.file == source.section.document.file:
            yield problem
        elif (place := (problem.location, problem.path)) not in told:
            told.add(place)
            yield problem


def in_order(problems: list[Problem]) -> list[Problem]:
    """Problems sorted by their place."""
    return sorted(problems, key=lambda problem: (problem.location.file, problem.location.line, problem.location.column))


def refuse(problems: list[Problem]) -> None:
    """Go on where nothing is worse than a warning.

    Raises:
        ConfigError: one of them is an error.
    """
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(in_order(problems))


def _facts(target: TargetSettings | None, place: Section) -> TargetFacts:
    if target is None:  # its own problems are told; the rules that name it are still checked for theirs
        return UNKNOWN_TARGET
    known = None if target.allow_unknown_event_types else event_types(target.version)
    style = Style(target.attributes_format, escaping(target.attributes_escape, target.attributes_replacement))
    return TargetFacts(style=style, event_types=known, max_age=target.retry.max_age, place=place)
