"""Expands `${VAR}`, `${VAR:-default}` and `${file:PATH}` in configuration values."""

import codecs
import errno
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.settings.secrets import Expanded, FileText, Unset

LARGEST_FILE = 1 << 20

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_BOM = codecs.BOM_UTF8.decode()  # that editors begin a text with: never part of what it says
_NOT_TEXT = "is not UTF-8"
_EMPTY = "is empty"
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


ReadAgain = Callable[[Path, str], None]
"""Is told of a file that was read again since its text changed; or that it cannot be, and why."""


class Expansion:
    """Expands the references of scalars. Relative files are looked up in `directory`, the configuration's own.

    Where not `strict`, a text with something that is not set or cannot be read becomes an Unset, and is no problem.
    """

    def __init__(
        self, environ: Mapping[str, str], directory: Path, *, strict: bool = True, read_again: ReadAgain | None = None
    ) -> None:
        self._environ = environ
        self._directory = directory
        self._strict = strict
        self._read_again = read_again

    def expand(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """The text with its references replaced (`$${` becomes `${`), and what is wrong with them: (message, hint).

        A text with files in it becomes a FileText, one with variables an Expanded; with problems it is empty.
        """
        parts: list[str | _File] = []
        problems: list[tuple[str, str]] = []
        end, literal = 0, True
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            if match[0] == "$${":
                parts.append("${")
                continue
            literal = False
            try:
                parts.append(self._look_up(match[1] or ""))
            except _NotThere as error:
                problems.append((error.message, error.hint))
        if problems:
            return (Expanded(), problems) if self._strict else (Unset(*problems[0]), [])
        parts.append(text[end:])
        if any(isinstance(part, _File) for part in parts):
            return FileText(lambda: _join(parts)), []
        return (_join(parts) if literal else Expanded(_join(parts))), []

    def _look_up(self, reference: str) -> "str | _File":
        if path := reference.removeprefix("file:") if reference.startswith("file:") else "":
            return _File(self._directory / path, self._read_again)
        if not (match := _VARIABLE.fullmatch(reference)):
            message = "`${` must be followed by a variable's name (letters, digits, _) or file:PATH, and by `}`"
            raise _NotThere(message, "write $${ where the text itself holds ${")
        name, default = match.groups()
        value = self._environ.get(name)
        if default is not None:
            value = value or default
        if value is None:
            raise _NotThere(f"the variable `{name}` is not set", f"set it, or give a default with ${{{name}:-...}}")
        if not _is_text(value):
            raise _NotThere(f"the variable `{name}` is not UTF-8", "set it to text")
        return value.removeprefix(_BOM)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file of at most `LARGEST_FILE` bytes.

    Raises:
        OSError: its `strerror` says why it cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would make us wait for ever
        raise OSError(errno.EINVAL, "it is not a file")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, "it is larger than 1 MiB")
    return content


def reason(error: OSError) -> str:
    """Why a file cannot be used, in words."""
    text = error.strerror or "it cannot be opened"
    return f"cannot be read: {text[:1].lower()}{text[1:]}"


def remedy(error: OSError) -> str:
    """What to do about a file that cannot be used."""
    return (
        "let the bridge's user read it"
        if isinstance(error, PermissionError)
        else "make it a text file of at most 1 MiB"
    )


class _NotThere(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _File:
    """The text of a file, read again when the file changes; while it cannot be read, the last good text."""

    def __init__(self, path: Path, read_again: ReadAgain | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._text = ""
        self._read_again = read_again
        try:
            self._refresh()
        except UnicodeDecodeError:
            raise _NotThere(f"the file {path} {_NOT_TEXT}", "save it as UTF-8") from None
        except FileNotFoundError:
            raise _NotThere(f"there is no file {path}", "make it, or correct the path") from None
        except OSError as error:
            raise _NotThere(f"the file {path} {reason(error)}", remedy(error)) from None
        except ValueError:
            raise _NotThere("a file's name holds a NUL character", "remove it") from None
        self._wrong = "" if self._text else _EMPTY

    def read(self) -> str:
        before = self._text
        try:
            self._refresh()
            wrong = "" if self._text else _EMPTY
        except UnicodeDecodeError:
            wrong = _NOT_TEXT
        except OSError as error:
            wrong = reason(error)
        if self._read_again and (before, self._wrong) != (self._text, wrong):
            self._read_again(self._path, wrong)
        self._wrong = wrong
        return self._text

    def _refresh(self) -> None:
        found = self._path.stat()  # before reading: a change in between is seen the next time
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            text = read_bytes(self._path).removeprefix(codecs.BOM_UTF8).decode()
            self._text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
            self._stamp = stamp


def _join(parts: "list[str | _File]") -> str:
    return "".join(part if isinstance(part, str) else part.read() for part in parts)


def _is_text(value: str) -> bool:
    """Whether an environment variable was UTF-8: Python keeps other bytes as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
