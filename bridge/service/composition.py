"""Compiles a configuration directory into a `Generation`, or collects every problem in it; `bridge check` is this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigError, Problem
from bridge.receiving.sources import CompiledSource, compile_source
from bridge.service.doubtful_secrets import doubtful_secrets
from bridge.service.rules import compiled_rules, in_order, refuse
from bridge.settings.configuration import Names
from bridge.settings.expansion import ReadAgain
from bridge.settings.loading import load
from bridge.settings.schema import BridgeSettings
from bridge.store import database
from bridge.superoffice.login.authorization import compile_authorization
from bridge.superoffice.send_event import SuperOffice, compile_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One configuration, compiled: a request, a claim, an operator's action takes it once, and goes by it to its end.

    Nothing of it changes. What goes on from one to the next (buckets, breakers, connections, address limiters) is kept
    elsewhere, by the names of sources and targets. `problems` are warnings; `fingerprint` is that of the files.
    """

    fingerprint: str | None
    names: Names
    settings: BridgeSettings
    store_url: str
    sources: Mapping[str, CompiledSource]
    targets: Mapping[str, SuperOffice]
    problems: Sequence[Problem]


def build(directory: Path, read_again: ReadAgain | None = None, fingerprint: str | None = None) -> Generation:
    """Load and compile a configuration. `read_again` is told of files of secrets that change afterwards.

    `fingerprint` is that of the files, taken before: what changes meanwhile is then found to differ.

    Raises:
        ConfigError: all its problems, warnings included.
    """
    settings, told = load(directory, read_again=read_again)
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
    for known, found in compiled_rules(settings):
        source, faults = compile_source(known, settings.bridge)
        problems += found + faults
        if source:
            sources[source.name] = source
    # What could not be read is already told; that a room then finds it empty is no news.
    problems = told + [problem for problem in problems if not any(_covers(one, problem) for one in told)]
    refuse(problems)  # what is doubtful about secrets that are to be used is told then: it would drown what is wrong
    problems = in_order([*problems, *doubtful_secrets(settings)])
    if settings.bridge is None:
        raise ConfigError(problems)
    return Generation(
        fingerprint=fingerprint,
        names=settings.names,
        settings=settings.bridge,
        store_url=database.located(settings.bridge.store.url, directory),
        sources=sources,
        targets=targets,
        problems=problems,
    )


def _covers(told: Problem, problem: Problem) -> bool:
    """Whether one problem is about the same value as another, or about an item of that list."""
    same_file = told.location.file == problem.location.file
    return same_file and (told.path == problem.path or told.path.startswith(f"{problem.path}["))
