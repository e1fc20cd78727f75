"""Compiles a configuration directory, or collects every problem in it. Nothing runs yet; `bridge check` is this."""

from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ConfigError, Problem
from bridge.receiving.handshakes.catalog import compile_handshake
from bridge.receiving.intake import CompiledSource
from bridge.receiving.limits.addresses import Callers
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification import Verifier, compile_max_unverified_body, compile_verifier
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.service.doubtful_secrets import doubtful_secrets
from bridge.service.replays import forgotten_too_early, unsigned_headers
from bridge.service.rules import compiled_rules, in_order, refuse
from bridge.settings.configuration import Names, Source
from bridge.settings.expansion import ReadAgain
from bridge.settings.loading import load
from bridge.settings.schema import BridgeSettings
from bridge.settings.source_schema import SourceSettings
from bridge.store import database
from bridge.superoffice.login.authorization import compile_authorization
from bridge.superoffice.send_event import SuperOffice, compile_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A configuration, compiled; `problems` are warnings."""

    names: Names
    settings: BridgeSettings
    store_url: str
    sources: dict[str, CompiledSource]
    targets: dict[str, SuperOffice]
    problems: list[Problem]


def build(directory: Path, read_again: ReadAgain | None = None) -> Built:
    """Load and compile a configuration. `read_again` is told of files of secrets that change afterwards.

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
    for source, rules, found in compiled_rules(settings):
        verifier, faults = _verifier(source)
        problems += found + faults
        if verifier and source.settings:
            sender = SENDERS.get(verifier.scheme)
            handshake, faults = compile_handshake(sender, source.section, source.settings)
            problems += faults
            max_unverified_body, faults = compile_max_unverified_body(sender, source.section, source.settings)
            problems += faults
            if source.enabled:
                problems += [*forgotten_too_early(source, verifier), *unsigned_headers(source, rules)]
            sources[source.name] = CompiledSource(
                name=source.name,
                settings=source.settings,
                verifier=verifier,
                rules=rules,
                callers=_callers(source.settings, settings.bridge),
                handshake=handshake,
                bodiless=sender is not None and not sender.answer,
                max_unverified_body=max_unverified_body,
            )
    # What could not be read is already told; that a room then finds it empty is no news.
    problems = told + [problem for problem in problems if not any(_covers(one, problem) for one in told)]
    refuse(problems)  # what is doubtful about secrets that are to be used is told then: it would drown what is wrong
    problems = in_order([*problems, *doubtful_secrets(settings)])
    if settings.bridge is None:
        raise ConfigError(problems)
    return Built(
        names=settings.names,
        settings=settings.bridge,
        store_url=database.located(settings.bridge.store.url, directory),
        sources=sources,
        targets=targets,
        problems=problems,
    )


def _verifier(source: Source) -> tuple[Verifier | None, list[Problem]]:
    root = source.section.value
    if not isinstance(root, dict) or not isinstance(root.get("verify"), dict):
        return None, []  # told as a problem of shape
    public_url = root.get("public_url")
    public_url = public_url if isinstance(public_url, str) else ""
    return compile_verifier(source.section["verify"], public_url, credential_filter_of(source))


def _callers(source: SourceSettings, bridge: BridgeSettings | None) -> Callers:
    proxies = bridge.trusted_proxies if source.trusted_proxies is None and bridge else source.trusted_proxies
    allowed = bridge.addresses if source.addresses is None and bridge else source.addresses
    return Callers(proxies or (), allowed)


def _covers(told: Problem, problem: Problem) -> bool:
    """Whether one problem is about the same value as another, or about an item of that list."""
    same_file = told.location.file == problem.location.file
    return same_file and (told.path == problem.path or told.path.startswith(f"{problem.path}["))
