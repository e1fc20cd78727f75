"""The rules of a configuration, compiled. To try or test them loads nothing that receives, stores or sends."""

from collections.abc import Iterator
from pathlib import Path

from bridge.errors import ConfigError, Problem, Severity
from bridge.mapping.compiling import UNKNOWN_TARGET, compile_rules
from bridge.mapping.rules import Rules, TargetFacts
from bridge.receiving.verification.recipes import RECIPES
from bridge.settings.configuration import Settings, Source
from bridge.settings.loading import load
from bridge.settings.schema import TargetSettings
from bridge.superoffice.event_types import EVENT_TYPES


def build_rules(directory: Path) -> list[tuple[Source, Rules]]:
    """Load and compile the rules. They need no secret, so what is unset or cannot be read stays unset.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    settings, problems = load(directory, strict=False)
    built = list(compiled_rules(settings))
    refuse([*problems, *(problem for _, _, found in built for problem in found)])
    return [(source, rules) for source, rules, _ in built]


def compiled_rules(settings: Settings) -> Iterator[tuple[Source, Rules, list[Problem]]]:
    """The rules of each source, with all that is wrong with them."""
    facts = {name: _facts(target) for name, target, _ in settings.targets()}
    for source in settings.sources.values():
        yield source, *compile_rules(source, facts, settings.default_target, _dedupe_by_scheme(source))


def _dedupe_by_scheme(source: Source) -> str:
    recipe = RECIPES.get(source.settings.verify.scheme) if source.settings else None
    return recipe.dedupe if recipe else ""


def refuse(problems: list[Problem]) -> None:
    """Sort problems by their place.

    Raises:
        ConfigError: one of them is an error.
    """
    problems.sort(key=lambda problem: (problem.location.file, problem.location.line, problem.location.column))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)


def _facts(target: TargetSettings | None) -> TargetFacts:
    if target is None:  # its own problems are told; the rules that name it are still checked for theirs
        return UNKNOWN_TARGET
    known = None if target.allow_unknown_event_types else EVENT_TYPES.get(target.version)
    return TargetFacts(attributes_format=target.attributes_format, event_types=known, max_age=target.retry.max_age)
