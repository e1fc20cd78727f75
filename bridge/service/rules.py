"""Compiles the rules of a configuration. To try or test them loads nothing that receives, stores or sends."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.errors import ConfigError, Location, Problem, Severity
from bridge.mapping.attributes import Style
from bridge.mapping.compilation import UNKNOWN_TARGET, compile_rules
from bridge.mapping.pairs import escaping
from bridge.mapping.rules import Rules, TargetFacts
from bridge.model import Content
from bridge.receiving import unseen
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.settings.configuration import Settings, Source
from bridge.settings.document import Section
from bridge.settings.loading import load
from bridge.settings.schema import ListenSettings, TargetSettings
from bridge.superoffice.event_types import event_types


def build_rules(directory: Path) -> list[tuple[Source, Rules]]:
    """Load and compile the rules. They need no secret, so what is unset or cannot be read stays unset.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    return rules_of(*load(directory, strict=False))


def rules_of(settings: Settings, problems: list[Problem]) -> list[tuple[Source, Rules]]:
    """Compile the rules of what is loaded already, with its problems.

    Raises:
        ConfigError: the configuration's shape or a rule is wrong.
    """
    built = list(compiled_rules(settings))
    refuse([*problems, *(problem for _, _, found in built for problem in found)])
    return [(source, rules) for source, rules, _ in built]


def compiled_rules(settings: Settings) -> Iterator[tuple[Source, Rules, list[Problem]]]:
    """The rules of each source, with all that is wrong with them."""
    facts = {name: _facts(target, section) for name, target, section in settings.targets()}
    told: set[tuple[Location, str]] = set()
    for written in settings.sources.values():
        source = _as_its_sender_wants(written)
        sender = SENDERS.get(source.settings.verify.scheme) if source.settings else None
        rules, found = compile_rules(source, facts, settings.default_target, sender.dedupe_by_rules if sender else "")
        found += unseen.check(source, credential_filter_of(source))
        yield source, _for_its_bodies(rules, source, settings), list(_once(found, source, told))


def _once(found: list[Problem], source: Source, told: set[tuple[Location, str]]) -> Iterator[Problem]:
    """What the rules of many sources find at one place of bridge.yaml is told by the first of them."""
    for problem in found:
        if problem.location.file == source.section.document.file:
            yield problem
        elif (place := (problem.location, problem.path)) not in told:
            told.add(place)
            yield problem


def _for_its_bodies(rules: Rules, source: Source, settings: Settings) -> Rules:
    if source.settings is None:
        return rules
    listen = settings.bridge.listen if settings.bridge else ListenSettings()
    content = Content(source.settings.content or Content.JSON)
    max_body = source.settings.max_body or listen.max_body
    return replace(
        rules,
        content=content,
        max_body=max_body,
        max_depth=source.settings.max_depth,
        max_events_size=source.settings.max_events_size,
    )


def _as_its_sender_wants(source: Source) -> Source:
    """A source with its sender's own defaults, where it says nothing else."""
    settings = source.settings
    sender = SENDERS.get(settings.verify.scheme) if settings else None
    if settings is None or sender is None:
        return source
    update: dict[str, Any] = {"methods": sender.methods, "content": sender.content}
    update = {key: value for key, value in update.items() if key not in settings.model_fields_set}
    if "accepted" not in settings.respond.model_fields_set:
        update["respond"] = settings.respond.model_copy(update={"accepted": sender.status})
    return replace(source, settings=settings.model_copy(update=update))


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
