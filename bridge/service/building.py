"""Settings into everything compiled, or into every room's problems. Nothing of it runs yet; `bridge check` is this."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigError, Problem, Severity
from bridge.mapping.compiling import UNKNOWN_TARGET, compile_rules
from bridge.mapping.rules import Rules, TargetFacts
from bridge.receiving.intake import CompiledSource
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.receiving.verification.recipes import RECIPES
from bridge.settings.configuration import Settings, Source
from bridge.settings.loading import load
from bridge.settings.schema import BridgeSettings, StoreSettings, TargetSettings
from bridge.store import database
from bridge.superoffice.authorization import compile_authorization
from bridge.superoffice.event_types import EVENT_TYPES
from bridge.superoffice.send_event import SuperOffice, compile_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A configuration, compiled; `problems` are warnings."""

    settings: BridgeSettings
    store_url: str
    sources: dict[str, CompiledSource]
    targets: dict[str, SuperOffice]
    problems: list[Problem]


def build(directory: Path) -> Built:
    """Load and compile a configuration.

    Raises:
        ConfigError: all its problems, warnings included.
    """
    settings, told = load(directory)
    problems: list[Problem] = []
    targets: dict[str, SuperOffice] = {}
    for name, target, section in settings.targets():
        if target:
            compiled, found = compile_target(name, target, section)
            problems += found
            if compiled:
                targets[name] = compiled
        elif isinstance(section.value, dict) and isinstance(section.value.get("authorization"), dict):
            problems += compile_authorization(section["authorization"])[1]
    sources = {}
    for source, rules, found in _rules(settings):
        verifier, faults = _verifier(source)
        problems += found + faults
        if verifier and source.settings:
            sources[source.name] = CompiledSource(
                name=source.name, settings=source.settings, verifier=verifier, rules=rules
            )
    # What could not be read is already told; that a room then finds it empty is no news.
    problems = told + [problem for problem in problems if not any(_covers(one, problem) for one in told)]
    _refuse(problems)
    if settings.bridge is None:
        raise ConfigError(problems)
    return Built(
        settings=settings.bridge,
        store_url=store_url(directory, settings.bridge.store),
        sources=sources,
        targets=targets,
        problems=problems,
    )


def build_rules(directory: Path) -> list[tuple[Source, Rules]]:
    """Only the rules: what tries and tests them needs no secret, so what is unset or cannot be read stays unset.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    settings, problems = load(directory, strict=False)
    built = list(_rules(settings))
    _refuse([*problems, *(problem for _, _, found in built for problem in found)])
    return [(source, rules) for source, rules, _ in built]


def store_url(directory: Path, settings: StoreSettings) -> str:
    """The store's URL; a relative file is relative to the parent of the configuration's directory."""
    path = database.sqlite_path(settings.url)
    return settings.url if path is None else database.sqlite_url(directory.resolve().parent / path)


def _rules(settings: Settings) -> Iterator[tuple[Source, Rules, list[Problem]]]:
    facts = {name: _facts(target) for name, target, _ in settings.targets()}
    for source in settings.sources.values():
        yield source, *compile_rules(source, facts, settings.default_target, _dedupe_by_scheme(source))


def _dedupe_by_scheme(source: Source) -> str:
    recipe = RECIPES.get(source.settings.verify.scheme) if source.settings else None
    return recipe.dedupe if recipe else ""


def _verifier(source: Source) -> tuple[Verifier | None, list[Problem]]:
    root = source.section.value
    if not isinstance(root, dict) or not isinstance(root.get("verify"), dict):
        return None, []  # told as a problem of shape
    return compile_verifier(source.section["verify"])


def _facts(target: TargetSettings | None) -> TargetFacts:
    if target is None:  # its own problems are told; the rules that name it are still checked for theirs
        return UNKNOWN_TARGET
    known = None if target.allow_unknown_event_types else EVENT_TYPES.get(target.version)
    return TargetFacts(attributes_format=target.attributes_format, event_types=known, max_age=target.retry.max_age)


def _covers(told: Problem, problem: Problem) -> bool:
    """Whether one problem is about the same value as another, or about an item of that list."""
    same_file = told.location.file == problem.location.file
    return same_file and (told.path == problem.path or told.path.startswith(f"{problem.path}["))


def _refuse(problems: list[Problem]) -> None:
    problems.sort(key=lambda problem: (problem.location.file, problem.location.line, problem.location.column))
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(problems)
