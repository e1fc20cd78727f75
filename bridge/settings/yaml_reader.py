"""Reads a YAML file into a Document: plain data, the place of every key and item, and all YAML problems.

It walks the parser's events instead of a ready tree, so that every duplicate key is found with its place, and so that
deep nesting and bombs of aliases are stopped before they cost anything.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from bridge import jsontext
from bridge.errors import Location, Problem, Severity
from bridge.settings.document import Document, Numeral, Path, dotted
from bridge.settings.secrets import CURLY_QUOTES
from bridge.settings.yaml_errors import CURLY, NO_BLANK, syntax_problem

DEEPEST = 50
MOST_NODES = 100_000
MOST_PROBLEMS = 1_000

Place = tuple[int, int]
Expand = Callable[[str], tuple[str, list[tuple[str, str]]]]

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLS = {text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")}
# A number that would not look the same again stays text: 0123, +47 and 0x1F are codes rather than numbers.
_INT = re.compile(r"-?[1-9][0-9]{0,299}|0")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+)")
_LONGEST_FLOAT = 300
_BLANK_WITH_TABS = re.compile(r"^[ \t]*\t[ \t]*$", re.MULTILINE)
_QUOTES = ("'", '"')


def read_yaml(text: str, file: str, expand: Expand) -> tuple[Document | None, list[Problem]]:
    """Read YAML 1.2: (its Document, problems); the Document is None where the file could not be read to its end.

    `expand` replaces the references in a scalar and says what is wrong with them as (message, hint).
    """
    reading = _Reading(file, expand)
    blank = _BLANK_WITH_TABS.sub(lambda line: " " * len(line[0]), text)  # YAML allows them, its parser does not
    try:
        data = reading.document(yaml.parse(blank, Loader=yaml.CSafeLoader))
    except _Stop as stop:
        return None, [*reading.problems, stop.problem]
    except yaml.YAMLError as error:
        return None, [*reading.problems, syntax_problem(error, text, file, reading.quoted)]
    places: dict[Path, Place] = {(): (1, 1)}
    for path, place in reading.trail:
        places.setdefault(path, place)  # the first of duplicate keys counts
    return Document(file, data, places, text, reading.texts), reading.problems


class _Stop(Exception):
    """Reading on would be pointless or too much."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Anchor:
    value: Any
    path: Path
    start: int  # its descendants' part of the trail
    end: int


@dataclass(frozen=True, slots=True)
class _Merged:
    value: Any
    place: Place
    start: int
    end: int


class _Reading:
    def __init__(self, file: str, expand: Expand) -> None:
        self.problems: list[Problem] = []
        self.trail: list[tuple[Path, Place]] = []
        self.texts: dict[Path, tuple[int, int]] = {}
        self.quoted: Any = None  # the last scalar in quotes
        self._file = file
        self._expand = expand
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0

    def document(self, events: Iterator[Any]) -> Any:
        self._events = events
        data: Any = None
        seen = False
        for event in events:
            if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                continue
            if not isinstance(event, DocumentStartEvent):
                data = self._value(event, (), (1, 1))
            elif seen:
                self._note((), _place(event), "a second document starts here", "write one document in a file")
                break
            seen = True
        return data

    def _value(self, event: Any, path: Path, place: Place) -> Any:
        if isinstance(event, ScalarEvent) and event.style in _QUOTES:
            self.quoted = event
        self._grow(1, path, place)
        if isinstance(event, AliasEvent):
            return self._alias(event, path, place)
        if event.tag is not None:
            self._note(path, place, "has a tag (`!...`), which means nothing here", "remove the tag")
        start = len(self.trail)
        value: Any
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path, place)
        elif isinstance(event, SequenceStartEvent):
            value = []
            while not isinstance(item := next(self._events), SequenceEndEvent):
                inner = (*path, len(value))
                self.trail.append((inner, _place(item)))
                value.append(self._value(item, inner, _place(item)))
        else:
            value = self._mapping(path, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchor(value, path, start, len(self.trail))
        return value

    def _mapping(self, path: Path, place: Place) -> dict[str, Any]:
        value: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: _Merged | None = None
        while not isinstance(event := next(self._events), MappingEndEvent):
            here = _place(event)
            key = self._key(event, path, place)
            inner = (*path, "?" if key is None else key)
            self.trail.append((inner, here))
            start = len(self.trail)
            found = self._value(next(self._events), inner, here)
            if key is None:
                continue
            if key in lines:
                self._note(inner, here, f"`{key}` is already in line {lines[key]}", "remove one of them")
                continue
            lines[key] = here[0]
            if key == "<<" and not event.style:
                merged = _Merged(found, here, start, len(self.trail))
            else:
                value[key] = found
        if merged:
            self._merge(value, merged, path)
        return value

    def _key(self, event: Any, path: Path, place: Place) -> str | None:
        """The text of a key; None, and a problem, where it is something else."""
        here = _place(event)
        if isinstance(event, ScalarEvent) and isinstance(_resolve(event), str):
            if event.value.isprintable():
                return str(event.value)
            if "\N{NO-BREAK SPACE}" in event.value:
                self._note(path, here, *NO_BLANK)
            else:
                self._note(path, here, "has a key that cannot be printed", "use plain text")
        elif isinstance(event, ScalarEvent):
            hint = f'put it in quotes: "{event.value[:60]}"' if event.value else "write the key before the colon"
            self._note(path, here, f"the key `{event.value[:60]}` must be text", hint)
        else:
            if isinstance(event, MappingStartEvent) and event.flow_style:
                self._note(path, place, "`{{ ... }}` is not in quotes", 'write "{{ ... }}"')
            else:
                self._note(path, here, "has a key that is no text", "write keys as plain text")
            self._value(event, (*path, "?"), here)
        return None

    def _scalar(self, event: Any, path: Path, place: Place) -> Any:
        value = _resolve(event)
        if isinstance(value, str):
            self.texts.setdefault(path, (event.start_mark.index, event.end_mark.index))
        if not event.style and len(event.value) > 1 and event.value[0] + event.value[-1] in CURLY_QUOTES:
            self._note(path, place, *CURLY, Severity.WARNING)
        if isinstance(value, str) and "${" in value:
            value, wrongs = self._expand(value)
            for message, hint in wrongs:
                self._note(path, place, message, hint)
        return value

    def _alias(self, event: Any, path: Path, place: Place) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            self._note(
                path, place, f"`*{event.anchor[:60]}` is not defined above", f"define it with &{event.anchor[:60]}"
            )
            return None
        self._grow(anchor.end - anchor.start, path, place)
        for inner, at in self.trail[anchor.start : anchor.end]:
            moved = (*path, *inner[len(anchor.path) :])
            self._grow(0, moved, place)
            self.trail.append((moved, at))
        return anchor.value

    def _merge(self, value: dict[str, Any], merged: _Merged, path: Path) -> None:
        """YAML's `<<`: keys that the mapping does not have itself; of several mappings the earlier wins."""
        depth = len(path) + 1 + isinstance(merged.value, list)
        origins: dict[str, Path] = {}
        for number, mapping in enumerate(merged.value if isinstance(merged.value, list) else [merged.value]):
            if not isinstance(mapping, dict):
                self._note(
                    (*path, "<<"), merged.place, "must be a mapping or a list of mappings", "name one with *alias"
                )
                continue
            for key in mapping.keys() - value.keys():
                value[key] = mapping[key]
                origins[key] = (*path, "<<", number)[:depth]
        for at, place in self.trail[merged.start : merged.end]:
            if len(at) > depth and origins.get(str(at[depth])) == at[:depth]:
                self.trail.append(((*path, *at[depth:]), place))

    def _grow(self, nodes: int, path: Path, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            self._stop(
                place, "the file has too many values", f"keep it below {MOST_NODES}, aliases counted as written out"
            )
        if len(path) > DEEPEST:
            self._stop(place, "the file is nested too deeply", f"keep it within {DEEPEST} levels")

    def _note(self, path: Path, place: Place, message: str, hint: str, severity: Severity = Severity.ERROR) -> None:
        self.problems.append(Problem(Location(self._file, *place), dotted(path), message, hint, severity))
        if len(self.problems) >= MOST_PROBLEMS:
            self._stop(place, "the file has too many problems to go on", "mend these first")

    def _stop(self, place: Place, message: str, hint: str) -> None:
        raise _Stop(Problem(Location(self._file, *place), "", message, hint))


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _resolve(event: Any) -> Any:
    """The value of a scalar by the core schema of YAML 1.2, where it keeps its looks; everything quoted is text."""
    text: str = event.value
    if event.style:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    if len(text) <= _LONGEST_FLOAT and _FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number if jsontext.as_text(number) == text else Numeral(text)
    return text
