"""Secret values: never printed, and read again when their file changes."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Expanded(str):
    """A scalar with `${...}` in it: it may be a secret whatever its key is, so no problem ever quotes it."""

    __slots__ = ()


class Unset(Expanded):
    """A scalar whose `${...}` is not there, where that is allowed; what a problem about it would say."""

    __slots__ = ("hint", "message")
    message: str
    hint: str

    def __new__(cls, message: str, hint: str) -> "Unset":
        text = super().__new__(cls, "unset")
        text.message, text.hint = message, hint
        return text


class FileText(Expanded):
    """A scalar with `${file:...}` in it, as it was read at load; `read` gives it as the files are now."""

    __slots__ = ("read",)
    read: Callable[[], str]

    def __new__(cls, read: Callable[[], str]) -> "FileText":
        text = super().__new__(cls, read())
        text.read = read
        return text


class Secret:
    """A password, token or key. `reveal()` is the only way to its text; it never appears in a repr or a log."""

    __slots__ = ("_read", "_text")

    def __init__(self, text: str) -> None:
        self._text = str(text)
        self._read = text.read if isinstance(text, FileText) else None

    def reveal(self) -> str:
        """The secret as it is now. A file that cannot be read, or is empty meanwhile, leaves the last good text."""
        if self._read is not None:
            self._text = self._read() or self._text
        return self._text

    @property
    def follows_a_file(self) -> bool:
        """Whether it may change while the bridge runs."""
        return self._read is not None

    @property
    def expected(self) -> bool:
        """Whether there is one, or a file that is empty may bring one."""
        return bool(self._text) or self.follows_a_file

    def __bool__(self) -> bool:
        """Whether there is one, as far as it was last looked at."""
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_not_empty)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "password"}

    @classmethod
    def from_settings(cls, value: Any) -> "Secret":
        """A secret as it stands in YAML: text, or a number that nobody put in quotes.

        Raises:
            PydanticCustomError: it is neither.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise PydanticCustomError("wrong", "{message}", {"message": "must be text", "hint": ""})
        if isinstance(value, str) and not isinstance(value, Expanded) and (name := _NAMED.fullmatch(value.strip())):
            # Taken as it stands, it would be a secret that anybody can guess.
            what = {"message": "is the name of a variable, not its value", "hint": f"write ${{{name[1] or name[2]}}}"}
            raise PydanticCustomError("wrong", "{message}", what)
        return cls(value if isinstance(value, str) else str(value))


def written(entries: Sequence[Any]) -> Iterator[tuple[int, Secret]]:
    """The secrets of a list as it stands in YAML, with their positions in it.

    An empty entry is none, so that `${OLD_SECRET:-}` may be unset; but a file that is empty may be filled later.
    """
    for position, entry in enumerate(entries):
        secret = Secret("") if entry is None else Secret.from_settings(entry)
        if secret.expected:
            yield position, secret


def wrapping(text: str) -> str:
    """What a secret may have brought along from where it was copied, in words; empty where it looks whole.

    Keys and certificates have lines, as PEM or XML, and what a header shows may begin with the name of a scheme.
    """
    text = _SCHEME.sub("", text)
    if text.lstrip().startswith(("-----BEGIN", "<")):
        return ""
    if len(text) > 1 and text.strip()[:1] + text.strip()[-1:] in _QUOTES:
        return "stands in quotes"
    if any(character in text for character in "\r\n"):
        return "holds a line break"
    return "holds a blank" if any(map(str.isspace, text)) else ""


CURLY_QUOTES = ("“”", "„“", "””", "‘’", "’’", "«»")
_QUOTES = ('""', "''", "``", *CURLY_QUOTES)
_SCHEME = re.compile(r"(Bearer|Basic|Token|ApiKey) (?=\S)", re.IGNORECASE)
_NAMED = re.compile(r"\$([A-Z_][A-Z0-9_]*)|\{\{\s*(\w+)\s*\}\}")  # as shells and templates write it


def _not_empty(value: Any) -> Secret:
    if value in (None, ""):
        hint = "give it its value: an empty secret protects nothing"
        raise PydanticCustomError("wrong", "{message}", {"message": "is empty", "hint": hint})
    return Secret.from_settings(value)
