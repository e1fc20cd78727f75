"""`bridge test`: each source's tests, run over its rules: what differs, what no test covers, new expectations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from ruamel.yaml import YAML

from bridge import jsontext
from bridge.errors import BridgeError
from bridge.mapping.rules import Rules
from bridge.model import Event, Mapping
from bridge.operations.dry_run import dry_run
from bridge.settings.configuration import Source
from bridge.settings.source_schema import ExpectedEvent, TestSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """How one test ended: passed where there is nothing different."""

    __test__ = False  # for pytest, which would take it for one of its own

    source: str
    place: str  # file:line:column of the test
    name: str
    different: list[str]
    seconds: float
    mapping: Mapping | None


def run(source: Source, rules: Rules) -> Iterator[TestResult]:
    """Run a source's tests, those whose name is in its file."""
    for number, test in enumerate(source.settings.tests if source.settings else ()):
        started = perf_counter()
        section = source.section["tests"][number]
        location = section.document.location(section.path)
        payload = Path(location.file).parent / test.payload
        mapping: Mapping | None = None
        try:
            content = payload.read_bytes()
        except OSError as error:
            different = [f"the payload {payload} cannot be read: {error.strerror}"]
        else:
            mapping = dry_run(source.name, rules, content, test.headers, test.query, test.method)
            different = list(_differences(test, mapping))
        yield TestResult(
            source=source.name,
            place=str(location),
            name=test.name,
            different=different,
            seconds=perf_counter() - started,
            mapping=mapping,
        )


def _differences(test: TestSettings, mapping: Mapping) -> Iterator[str]:
    if mapping.error:
        yield f"the webhook is {mapping.state}: {mapping.error}"
    for why in mapping.why:
        if why.error:
            yield f"rule {why.rule} broke: {why.error}"
    for number, wanted in enumerate(test.expect):
        if number >= len(mapping.events):
            yield f"event {number + 1}: expected one by rule {wanted.rule}, there is none{_because(wanted, mapping)}"
        else:
            yield from (f"event {number + 1}: {line}" for line in _event_differences(wanted, mapping.events[number]))
    for number, event in enumerate(mapping.events[len(test.expect) :], len(test.expect) + 1):
        yield f"event {number}: not expected: rule {event.rule}, type {event.type}, {_shown(event.attributes)}"


def _because(wanted: ExpectedEvent, mapping: Mapping) -> str:
    why = next((why for why in mapping.why if why.rule == wanted.rule), None)
    if why is None:
        return f"; there is no rule {wanted.rule}"
    if why.clause is None:
        return ""
    return f"; false was {why.clause}" + (f" with {jsontext.as_text(dict(why.values))}" if why.values else "")


def _event_differences(wanted: ExpectedEvent, event: Event) -> Iterator[str]:
    for field, expected, found in (
        ("rule", wanted.rule, event.rule),
        ("type", wanted.type, event.type),
        ("target", wanted.target, event.target),
    ):
        if expected is not None and expected != found:
            yield f"{field}: expected {expected}, got {found}"
    if isinstance(wanted.attributes, dict) and isinstance(event.attributes, dict):
        for name, expected in wanted.attributes.items():
            if name not in event.attributes:
                yield f"attributes.{name}: expected {_shown(expected)}, there is none"
            elif not _same(expected, event.attributes[name]):
                yield f"attributes.{name}: expected {_shown(expected)}, got {_shown(event.attributes[name])}"
    elif wanted.attributes is not None and not _same(wanted.attributes, event.attributes):
        yield f"attributes: expected {_shown(wanted.attributes)}, got {_shown(event.attributes)}"


def _same(expected: Any, found: Any) -> bool:
    """Equal in JSON: 1 is not true, and not "1"."""
    return jsontext.encode(expected) == jsontext.encode(found)


def _shown(value: Any) -> str:
    return jsontext.encode(value).decode()[:200]


def uncovered(source: Source, results: Iterable[TestResult]) -> list[str]:
    """The rules of a source that made no event in any of its tests."""
    covered = {event.rule for result in results if result.mapping for event in result.mapping.events}
    return [rule.name for rule, _ in source.rules() if rule.name not in covered]


def update(source: Source, results: Iterable[TestResult]) -> int:
    """Write what the rules make today into the `expect` of failed tests, keeping the file's comments; return how many.

    Of each event, the fields that the test named are kept; a new event is written whole.

    Raises:
        BridgeError: the file cannot be written.
    """
    assert source.settings is not None  # noqa: S101 - its tests have run
    path = Path(source.section.document.file)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(path.read_text())
    changed = 0
    for number, (test, result) in enumerate(zip(source.settings.tests, results, strict=True)):
        if result.different and result.mapping is not None:
            document["tests"][number]["expect"] = [
                _expected(event, test.expect[index] if index < len(test.expect) else None)
                for index, event in enumerate(result.mapping.events)
            ]
            changed += 1
    if changed:
        try:
            with path.open("w") as file:
                yaml.dump(document, file)
        except OSError as error:
            raise BridgeError(f"{path} cannot be written: {error.strerror}") from error
    return changed


def _expected(event: Event, before: ExpectedEvent | None) -> dict[str, Any]:
    expected: dict[str, Any] = {"rule": event.rule}
    if before is None or before.type is not None:
        expected["type"] = event.type
    if before is not None and before.target is not None:
        expected["target"] = event.target
    named = before.attributes if before is not None and before.rule == event.rule else event.attributes
    if isinstance(named, dict) and isinstance(event.attributes, dict):
        kept = {name: value for name, value in event.attributes.items() if name in named}
        expected["attributes"] = kept
    elif named is not None:
        expected["attributes"] = event.attributes
    return expected
