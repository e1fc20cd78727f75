"""Runs each source's tests over its rules: differences, rules without a test, new expectations."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from ruamel.yaml import YAML

from bridge import jsontext
from bridge.errors import BridgeError
from bridge.mapping.rules import Rules
from bridge.model import Event, Mapped
from bridge.operations.rules.dry_run import dry_run
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.settings.configuration import Source
from bridge.settings.source_schema import ExpectedEvent, TestSettings
from bridge.settings.yaml_reader import read_yaml

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ID = re.compile(r"(ev|wh)_[0-9a-f]{8}-")
_NO_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """How one test ended: passed where there is nothing different."""

    __test__ = False  # for pytest, which would take it for one of its own

    source: str
    place: str  # file:line:column of the test
    name: str
    different: list[str]
    seconds: float
    mapping: Mapped | None


def run(source: Source, rules: Rules) -> Iterator[TestResult]:
    """Run a source's tests, those whose name is in its file."""
    credentials = credential_filter_of(source)
    for number, test in enumerate(source.settings.tests if source.settings else ()):
        started = perf_counter()
        section = source.section["tests"][number]
        location = section.document.location(section.path)
        payload = source.payload(test)
        mapping: Mapped | None = None
        try:
            content = payload.read_bytes()
        except OSError as error:
            different = [f"the payload {payload} cannot be read: {error.strerror}"]
        else:
            for explain in (False, True):  # the why takes most of the time, and only failures need it
                mapping = dry_run(
                    source.name,
                    rules,
                    content,
                    test.headers,
                    test.query,
                    test.method,
                    explain=explain,
                    credentials=credentials,
                )
                if not (different := list(_differences(test, mapping))):
                    break
        yield TestResult(
            source=source.name,
            place=str(location),
            name=test.name,
            different=different,
            seconds=perf_counter() - started,
            mapping=mapping,
        )


def _differences(test: TestSettings, mapping: Mapped) -> Iterator[str]:
    yield from _broken(mapping)
    for number, wanted, event in _aligned(test, mapping):
        if wanted is not None and event is not None:
            yield from (f"event {number}: {line}" for line in _event_differences(wanted, event))
        elif wanted is not None:
            yield f"event {number}: expected one by rule {wanted.rule}, there is none{_because(wanted, mapping)}"
        elif event is not None:
            yield f"event {number}: not expected: rule {event.rule}, type {event.type}, {_shown(event.attributes)}"


def _broken(mapping: Mapped) -> Iterator[str]:
    if mapping.error:
        yield f"the webhook is {mapping.state}: {mapping.error}"
    for why in mapping.why:
        if why.error:
            yield f"rule {why.rule} broke: {why.error}"


def _aligned(test: TestSettings, mapping: Mapped) -> Iterator[tuple[int, ExpectedEvent | None, Event | None]]:
    """Expected and made events side by side, by rule: one that is missing does not make all later ones differ.

    The number, from 1, is that of the expected event, or of one that is not expected.
    """
    rules = [wanted.rule for wanted in test.expect], [event.rule for event in mapping.events]
    for same, start, end, made_start, made_end in SequenceMatcher(None, *rules, autojunk=False).get_opcodes():
        expected, made = test.expect[start:end], mapping.events[made_start:made_end]
        if same == "equal":
            yield from zip(count(start + 1), expected, made, strict=False)
        else:
            yield from ((number, wanted, None) for number, wanted in enumerate(expected, start + 1))
            yield from ((number, None, event) for number, event in enumerate(made, made_start + 1))


def _because(wanted: ExpectedEvent, mapping: Mapped) -> str:
    why = next((why for why in mapping.why if why.rule == wanted.rule), None)
    if why is None:
        return f"; there is no rule {wanted.rule}"
    if why.matched:
        return f"; it made {len(why.events)} in all"
    if why.clause is None:
        return ""
    return f"; false was {why.clause}" + (f" with {jsontext.as_text(dict(why.values))}" if why.values else "")


def _event_differences(wanted: ExpectedEvent, event: Event) -> Iterator[str]:
    for field, expected, found in (("type", wanted.type, event.type), ("target", wanted.target, event.target)):
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
    """Write what the rules make today into the `expect` of tests that differ, and nothing else; return how many.

    Of each event, the fields that the test named are kept; a new event is written whole, except for ids. Left alone
    are tests that show a broken rule, for it makes nothing to expect, and those that share `expect` with others.

    Raises:
        BridgeError: the file cannot be read or written, or YAML cannot say what the rules make.
    """
    results = list(results)
    if source.settings is None or not any(result.different for result in results):
        return 0
    path = Path(source.section.document.file)
    edits = []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        tests = _value(YAML().compose(text), "tests").value
        for test, node, result in zip(source.settings.tests, tests, results, strict=True):
            place = _value(node, "expect")
            is_own = place is not None and not place.anchor and place.start_mark.index > node.start_mark.index
            if result.different and is_own and result.mapping is not None and not any(_broken(result.mapping)):
                edits.append((place.start_mark.index, _end(place), _written(place, test, result.mapping)))
        line_end = "\r\n" if "\r\n" in text else "\n"
        for start, end, expected in reversed(edits):
            old = text[start:end].rstrip()
            text = text[:start] + expected.replace("\n", line_end) + text[start + len(old) :]
        if problems := read_yaml(text, str(path), lambda scalar: (scalar, []))[1]:
            raise BridgeError(f"what the rules make cannot be expected, the file is left as it was: {problems[0]}")
        if edits:
            path.write_bytes(text.encode())
    except OSError as error:
        raise BridgeError(f"{path} cannot be updated: {error.strerror}") from error
    return len(edits)


def _value(mapping: Any, key: str) -> Any:
    """The node of a key's value; None where the key is merged into the mapping from elsewhere."""
    return next((value for name, value in mapping.value if name.value == key), None)


def _end(node: Any) -> int:
    """Where a node's text ends; a block's own mark would be after the comments that follow it."""
    if isinstance(node.value, list) and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


def _written(place: Any, test: TestSettings, mapping: Mapped) -> str:
    """The events in YAML, one a line, in the style of the list in whose place they come."""
    events = [_flow(_expected(event, before)) for _, before, event in _aligned(test, mapping) if event is not None]
    if place.flow_style or not events:
        return "[" + f",\n{' ' * (place.start_mark.column + 1)}".join(events) + "]"
    return f"\n{' ' * place.start_mark.column}".join(f"- {event}" for event in events)


def _expected(event: Event, before: ExpectedEvent | None) -> dict[str, Any]:
    expected: dict[str, Any] = {"rule": event.rule}
    if before is None or before.type is not None:
        expected["type"] = event.type
    if before is not None and before.target is not None:
        expected["target"] = event.target
    if before is not None and before.attributes is None:
        return expected
    named = before.attributes if before is not None else None
    if isinstance(event.attributes, dict):
        names = named if isinstance(named, dict) else [n for n, value in event.attributes.items() if _lasts(value)]
        expected["attributes"] = {name: value for name, value in event.attributes.items() if name in names}
    elif named is not None or _lasts(event.attributes):
        expected["attributes"] = event.attributes
    return expected


def _lasts(value: Any) -> bool:
    """Whether it may be the same in the next run: ids are made anew."""
    return not _ID.search(jsontext.as_text(value))


def _flow(value: Any) -> str:
    """A value as YAML on one line: words as they are, all other text in quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(name)}: {_flow(its)}" for name, its in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if not isinstance(value, str):
        return jsontext.encode(value).decode()
    return _text(value.replace("${", "$${"))


def _text(value: str) -> str:
    """A text as YAML has it. In keys, `${` is no reference and stays."""
    if _WORD.fullmatch(value) and value.lower() not in _NO_TEXT:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)
