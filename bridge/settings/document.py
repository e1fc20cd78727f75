"""A parsed configuration file in which every value has a line and column, for problems reported by path."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import Location, Problem, Severity
from bridge.settings.scalars import index_of

Path = tuple[str | int, ...]


class Numeral(str):
    """A plain scalar such as `1.10` or `12E4`: a number to YAML that would look otherwise when written again.

    It is a version or an article's number as often as an amount, so it stays text, but where a number is wanted.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain data (dict, list, str, int, float, bool, None) and the place of every key and item.

    `source` is its text, `texts` where in it each scalar that is text begins and ends.
    """

    file: str
    data: Any = field(repr=False)  # it holds secrets
    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict, repr=False)
    source: str = field(default="", repr=False)
    texts: Mapping[Path, tuple[int, int]] = field(default_factory=dict, repr=False)

    def location(self, path: Path, at: int | None = None) -> Location:
        """The place of the value at `path`, or of the nearest thing around it that exists.

        `at`: of that character of its text, where the file has it.
        """
        if at is not None and (span := self.texts.get(path)):
            index = span[0] + index_of(self.source[slice(*span)], Section(self, path).value, at)
            before = self.source[:index]
            return Location(self.file, before.count("\n") + 1, index - before.rfind("\n"))
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return Location(self.file, *place)
        return Location(self.file)


@dataclass(frozen=True, slots=True)
class Section:
    """One value of a document, with the way to it: what a room gets to compile."""

    document: Document
    path: Path = ()

    @property
    def value(self) -> Any:
        value = self.document.data
        for key in self.path:
            value = value[key]
        return value

    @property
    def exists(self) -> bool:
        """Whether the document has this value."""
        try:
            _ = self.value
        except (KeyError, IndexError, TypeError):
            return False
        return True

    def __getitem__(self, key: str | int) -> "Section":
        return Section(self.document, (*self.path, key))

    @property
    def place(self) -> Location:
        """Where it stands in its file."""
        return self.document.location(self.path)

    def problem(
        self, message: str, hint: str = "", severity: Severity = Severity.ERROR, at: int | None = None
    ) -> Problem:
        """A finding about this value: `message` says what is wrong, `hint` what to do about it.

        `at`: about that character of its text.
        """
        return Problem(self.document.location(self.path, at), dotted(self.path), message, hint, severity)


def dotted(path: Path) -> str:
    """`("rules", 0, "when")` as people write it: `rules[0].when`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
