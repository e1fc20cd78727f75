"""A source, compiled: each of its defaults resolved once, for whoever receives, tries, tests or explains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bridge.errors import Problem
from bridge.mapping.compilation import compile_rules
from bridge.mapping.rule import TargetFacts
from bridge.mapping.rules import Rules
from bridge.model import Content
from bridge.receiving import unseen
from bridge.receiving.handshakes.catalog import compile_handshake
from bridge.receiving.handshakes.handshake import Handshake
from bridge.receiving.limits.addresses import Callers
from bridge.receiving.limits.request_limits import Largest
from bridge.receiving.replays import forgotten_too_early, unsigned_headers
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.sender import Sender
from bridge.receiving.verification import Verifier, compile_max_unverified_body, compile_verifier
from bridge.receiving.verification.credential_filter import CredentialFilter
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.settings.configuration import Source
from bridge.settings.schema import BridgeSettings, ListenSettings
from bridge.settings.source_schema import SourceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSource:
    """A source, ready to receive. `largest` is the largest body that is read of it, and the key that says so."""

    name: str
    settings: SourceSettings
    verifier: Verifier
    rules: Rules
    callers: Callers
    largest: Largest
    handshake: Handshake | None = None
    is_answered_empty: bool = False  # its sender wants no body in an answer
    carries_proof: bool = False  # its bodies carry their own proof


class SourceRules(NamedTuple):
    """A source as `try` and `test` need it, without secrets: its settings with its sender's defaults, and its rules."""

    source: Source
    rules: Rules

    @property
    def credentials(self) -> CredentialFilter:
        """What of its requests nothing sees and stores."""
        return credential_filter_of(self.source)

    @property
    def sender(self) -> Sender | None:
        """Who sends to it, where that is one of the catalogue."""
        settings = self.source.settings
        return SENDERS.get(settings.verify.scheme) if settings else None


def compile_source_rules(
    written: Source, targets: Mapping[str, TargetFacts], default_target: str | None, bridge: BridgeSettings | None
) -> tuple[SourceRules, list[Problem]]:
    """A source's rules, and all that is wrong with them. It loads nothing that verifies."""
    source = _with_senders_defaults(written)
    sender = SENDERS.get(source.settings.verify.scheme) if source.settings else None
    rules, problems = compile_rules(source, targets, default_target, sender.dedupe_by_rules if sender else "")
    problems += unseen.check(source, credential_filter_of(source))
    if settings := source.settings:
        rules = replace(
            rules,
            content=Content(settings.content or Content.JSON),
            max_body=_max_body(settings, bridge),
            max_depth=settings.max_depth,
            max_events_size=settings.max_events_size,
        )
    return SourceRules(source, rules), problems


def compile_source(known: SourceRules, bridge: BridgeSettings | None) -> tuple[CompiledSource | None, list[Problem]]:
    """The whole source, from its rules on; None where its settings or its `verify` are wrong."""
    source, rules, sender = known.source, known.rules, known.sender
    verifier, problems = _verifier(source)
    if verifier is None or source.settings is None:
        return None, problems
    settings = source.settings
    handshake, faults = compile_handshake(sender, source.section, settings)
    problems += faults
    max_unverified_body, faults = compile_max_unverified_body(sender, source.section, settings)
    problems += faults
    if source.enabled:
        problems += [*forgotten_too_early(source, verifier), *unsigned_headers(source, rules)]
    most = _max_body(settings, bridge)
    is_less = 0 < max_unverified_body < most
    compiled = CompiledSource(
        name=source.name,
        settings=settings,
        verifier=verifier,
        rules=rules,
        callers=_callers(settings, bridge),
        largest=Largest(max_unverified_body, "max_unverified_body") if is_less else Largest(most),
        handshake=handshake,
        is_answered_empty=sender is not None and not sender.answer,
        carries_proof=max_unverified_body > 0,
    )
    return compiled, problems


def _with_senders_defaults(source: Source) -> Source:
    settings = source.settings
    sender = SENDERS.get(settings.verify.scheme) if settings else None
    if settings is None or sender is None:
        return source
    update: dict[str, Any] = {"methods": sender.methods, "content": sender.content}
    update = {key: value for key, value in update.items() if key not in settings.model_fields_set}
    if "accepted" not in settings.respond.model_fields_set:
        update["respond"] = settings.respond.model_copy(update={"accepted": sender.status})
    return replace(source, settings=settings.model_copy(update=update))


def _max_body(settings: SourceSettings, bridge: BridgeSettings | None) -> int:
    return settings.max_body or (bridge.listen if bridge else ListenSettings()).max_body


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
