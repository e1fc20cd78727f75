"""A loaded configuration, with the checks that span several keys or files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from bridge.errors import Problem, Severity
from bridge.settings.document import Section
from bridge.settings.parsing import is_loopback, parse
from bridge.settings.schema import BridgeSettings
from bridge.settings.secrets import Unset
from bridge.settings.source_schema import DefaultsSettings, RuleSettings, SourceSettings, TestSettings
from bridge.settings.target_schema import TargetSettings


@dataclass(frozen=True, slots=True)
class Source:
    """One file of `sources/`; its name is the file's. `settings` is None where something in it is wrong."""

    name: str
    settings: SourceSettings | None
    section: Section

    @property
    def enabled(self) -> bool:
        """Whether it takes webhooks."""
        return not isinstance(self.section.value, dict) or self.section.value.get("enabled") is not False

    def payload(self, test: TestSettings) -> Path:
        """The file of a test's payload."""
        return Path(self.section.document.file).parent / test.payload

    def defaults(self) -> DefaultsSettings | None:
        """What its rules say where they say nothing else; None where that is wrong."""
        if self.settings:
            return self.settings.defaults
        if isinstance(self.section.value, dict) and "defaults" in self.section.value:
            return parse(self.section["defaults"], DefaultsSettings)[0]
        return DefaultsSettings()

    def rule_names(self) -> list[str]:
        """The names of its rules, those among them whose shape is wrong."""
        rules = self.section.value.get("rules") if isinstance(self.section.value, dict) else None
        names = [rule.get("name") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
        return [name for name in names if isinstance(name, str)]

    def rules(self) -> Iterator[tuple[RuleSettings, Section]]:
        """Every rule whose shape is right, with its place."""
        rules = self.section.value.get("rules") if isinstance(self.section.value, dict) else None
        for number in range(len(rules) if isinstance(rules, list) else 0):
            section = self.section["rules"][number]
            rule = self.settings.rules[number] if self.settings else parse(section, RuleSettings)[0]
            if rule:
                yield rule, section


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a configuration calls its sources, rules and targets; not all where a file could not be read at all."""

    source: frozenset[str]
    rule: frozenset[str]
    target: frozenset[str]
    are_all: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """What could be read of the configuration. `section` is the root of `bridge.yaml`, `bridge` None where it is wrong.

    What is wrong is told beside it; what is right is there all the same, so that the rooms can tell their problems too.
    """

    directory: Path
    section: Section | None
    bridge: BridgeSettings | None
    sources: dict[str, Source]
    every_file: bool  # whether each could be read
    bridge_problems: tuple[Problem, ...]  # of `bridge.yaml` as it stands, without what other files make wrong in it

    def targets(self) -> Iterator[tuple[str, TargetSettings | None, Section]]:
        """Every target by name, with its place; None where its shape is wrong."""
        targets = self.section.value.get("targets") if self.section and isinstance(self.section.value, dict) else None
        for name in targets if isinstance(targets, dict) else ():
            section = cast("Section", self.section)["targets"][name]
            yield name, self.bridge.targets[name] if self.bridge else parse(section, TargetSettings)[0], section

    @property
    def names(self) -> Names:
        """What its sources, rules and targets are called, whatever else is wrong with them."""
        return Names(
            source=frozenset(self.sources),
            rule=frozenset(name for source in self.sources.values() for name in source.rule_names()),
            target=frozenset(name for name, _, _ in self.targets()),
            are_all=self.every_file,
        )

    @property
    def default_target(self) -> str | None:
        """The target of rules that name none."""
        root = self.section.value if self.section else None
        if isinstance(root, dict) and isinstance(written := root.get("default_target"), str):
            return written
        names = [name for name, _, _ in self.targets()]
        return names[0] if len(names) == 1 else None


def repeated_rules(source: Section) -> list[Problem]:
    """Rules that carry the name of an earlier one, or its `was`, whatever else is wrong with them.

    Events are told apart by `was`, else by the name: two rules of one identity would make the same event twice.
    """
    rules = source.value.get("rules") if isinstance(source.value, dict) else None
    names: set[str] = set()
    identities: set[str] = set()
    problems = []
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        name, was = (rule.get("name"), rule.get("was")) if isinstance(rule, dict) else (None, None)
        identity = was if isinstance(was, str) else name
        place = source["rules"][number]
        if isinstance(name, str) and name in names:
            problems.append(place["name"].problem("is the name of an earlier rule", "give it its own"))
        elif isinstance(identity, str) and identity in identities:
            message = f"makes the same events as an earlier rule, both are or were `{identity}`"
            problems.append(place["was" if identity == was else "name"].problem(message, "remove was from one of them"))
        names |= {name} if isinstance(name, str) else set()
        identities |= {identity} if isinstance(identity, str) else set()
    return problems


def missing_payloads(source: Source) -> list[Problem]:
    """Warnings about tests whose payload is not there: nothing but `bridge test` needs it."""
    warnings = []
    for number, test in enumerate(source.settings.tests if source.settings else ()):
        place = source.section["tests"][number]["payload"]
        if not isinstance(place.value, Unset) and not (path := source.payload(test)).is_file():
            message = f"there is no file {path}"
            warnings.append(place.problem(message, "paths are relative to this file", Severity.WARNING))
    return warnings


def doubtful_targets(bridge: BridgeSettings, section: Section) -> list[Problem]:
    """Warnings about the URLs of targets: plain http, and paths that SuperOffice's API does not have."""
    warnings = []
    for name, target in bridge.targets.items():
        if target.url is None:
            continue
        url = section["targets"][name]["url"]
        parts = urlsplit(target.url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            message = "is plain http: everybody on the way can read the credentials"
            warnings.append(url.problem(message, "use https", Severity.WARNING))
        if not parts.path.endswith("/api"):
            hint = "write the part before /v1, such as https://crm.example.com/superoffice/api"
            warnings.append(url.problem("does not end in /api", hint, Severity.WARNING))
    return warnings


def forgotten_duplicates(bridge: BridgeSettings, section: Section, source: Source) -> list[Problem]:
    """A window for duplicates that is longer than webhooks are kept: the older ones could not be recognised."""
    if source.settings is None or bridge.store.keep >= source.settings.dedupe_window:
        return []
    if "dedupe_window" in source.settings.model_fields_set:
        hint = "shorten it, or keep webhooks longer"
        return [source.section["dedupe_window"].problem("is longer than store.keep of bridge.yaml", hint)]
    message = f"is shorter than the dedupe_window of source {source.name} (14d where it sets none)"
    return [section["store"]["keep"].problem(message, "keep webhooks longer, or set dedupe_window there")]
