"""Warnings of `check` about secrets: odd characters, ones that can be guessed, one in two sources. None is shown."""

from collections.abc import Iterator

from bridge.errors import Problem, Severity
from bridge.receiving.verification.schemes import SCHEMES
from bridge.settings.configuration import Settings
from bridge.settings.document import Section
from bridge.settings.parsing import secrets_in
from bridge.settings.schema import BridgeSettings
from bridge.settings.secrets import wrapping
from bridge.superoffice.login.authorization import SCHEMES as LOG_INS

SHORTEST = 16  # characters of what strangers may try to guess


def doubtful_secrets(settings: Settings) -> Iterator[Problem]:
    """Secrets that brought something along, that can be guessed, or that prove the requests of two sources."""
    of_sources = list(_of_sources(settings))
    for place in (*_of_bridge(settings), *(place for _, place in of_sources)):
        if isinstance(place.value, str) and (odd := wrapping(place.value)):
            yield place.problem(odd, "remove that, unless it is part of the secret", Severity.WARNING)
        if _asked_for(place) and len(str(place.value)) < SHORTEST:
            message = f"has less than {SHORTEST} characters: it can be guessed"
            yield place.problem(message, "take a longer one, such as openssl rand -hex 32 makes", Severity.WARNING)
    seen: dict[str, tuple[str, Section]] = {}
    for name, place in of_sources:
        first, there = seen.setdefault(str(place.value), (name, place))
        if first != name:
            message = f"is a secret of source {first} too ({there.place}): what is genuine to one is so to the other"
            yield place.problem(message, "give each its own, where the sender can", Severity.WARNING)


def _of_bridge(settings: Settings) -> Iterator[Section]:
    if settings.section:
        yield from secrets_in(settings.section, BridgeSettings)
    for _, _, target in settings.targets():
        log_in = target["authorization"]
        if log_in.exists and isinstance(log_in.value, dict) and (model := LOG_INS.get(str(log_in.value.get("scheme")))):
            yield from secrets_in(log_in, model)


def _of_sources(settings: Settings) -> Iterator[tuple[str, Section]]:
    for source in settings.sources.values():
        verify = source.section["verify"]
        scheme = verify.value.get("scheme") if verify.exists and isinstance(verify.value, dict) else None
        if source.enabled and isinstance(scheme, str) and scheme in SCHEMES:
            yield from ((source.name, place) for place in secrets_in(verify, SCHEMES[scheme].model))


def _asked_for(place: Section) -> bool:
    """Whether it is what a caller of the bridge must know, which anybody may try."""
    return place.path[:1] == ("verify",) or place.path == ("admin", "token")
