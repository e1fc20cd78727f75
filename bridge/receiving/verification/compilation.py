"""Settings and located problems that the schemes' compile functions share."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import Field

from bridge.errors import Problem, Severity
from bridge.receiving.verification.verifier import Proof
from bridge.settings.document import Section
from bridge.settings.parsing import Duration, Secrets, Strict
from bridge.settings.secrets import wrapping, written

Compiled = tuple[Proof | None, list[Problem]]

Compile = Callable[[Section, str], Compiled]
"""From a source's `verify`, and its `public_url` (empty where it has none), to the proof, or to problems."""


class SchemeEntry(NamedTuple):
    """What may stand under `verify`, and what compiles it."""

    model: type[Strict]
    compile: Compile


SecretList = Annotated[
    Secrets, Field(description="what the sender signs with or shows, as a list: several while one replaces another")
]
Tolerance = Annotated[Duration | None, Field(description="how far a signed timestamp may be off, such as 5m")]


def check_secrets(section: Section, good: Callable[[str], bool], message: str) -> list[Problem]:
    """A problem at the place of each secret that is not good."""
    problems = []
    for position, secret in written(section["secrets"].value):
        if secret and not good(text := secret.reveal()):
            copied = f", and {odd}" if (odd := wrapping(text)) else ""
            hint = "paste it again, whole, as the sender shows it"
            problems.append(section["secrets"][position].problem(f"{message}{copied}", hint))
    return problems


def check_url(section: Section, public_url: str) -> list[Problem]:
    """A problem where a scheme signs the URL, and the source does not say which it is."""
    if public_url:
        return []
    message = "signs the URL that the sender calls, which the bridge behind its proxies cannot know"
    return [section["scheme"].problem(message, "say it by public_url, as it is registered at the sender")]


def check_untimed(section: Section, tolerance: int | None) -> list[Problem]:
    """A warning where a scheme that signs no time is told how far that may be off."""
    if tolerance is None:
        return []
    message = f"{section.value['scheme']} signs no timestamp, so there is nothing to tolerate"
    return [section["tolerance"].problem(message, "leave it out", Severity.WARNING)]
