"""References to variables and files."""

import os
from pathlib import Path

import pytest

from bridge.settings.expansion import Expansion
from bridge.settings.secrets import Expanded, FileText, Secret

ENVIRON = {"A": "1", "EMPTY": "", "LATIN": "\udce9"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${A:-d}", "1"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} {{ body.a }}", "$A $ {A} {{ body.a }}"),
    ],
)
def test_references_are_replaced(text: str, expanded: str) -> None:
    assert Expansion(ENVIRON, Path()).expand(text) == (expanded, [])


def test_what_came_from_a_variable_is_marked_and_what_did_not_is_not() -> None:
    expansion = Expansion(ENVIRON, Path())
    assert isinstance(expansion.expand("${A}")[0], Expanded)
    assert not isinstance(expansion.expand("$${A}")[0], Expanded)


SHAPE = "`${` must be followed by a variable's name (letters, digits, _) or file:PATH, and by `}`"
ESCAPE = "write $${ where the text itself holds ${"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("${NONE}", [("the variable `NONE` is not set", "set it, or give a default with ${NONE:-...}")]),
        (
            "${NONE}${ALSO}",
            [
                ("the variable `NONE` is not set", "set it, or give a default with ${NONE:-...}"),
                ("the variable `ALSO` is not set", "set it, or give a default with ${ALSO:-...}"),
            ],
        ),
        ("${LATIN}", [("the variable `LATIN` is not UTF-8", "set it to text")]),
        ("${A", [(SHAPE, ESCAPE)]),
        ("${}", [(SHAPE, ESCAPE)]),
        ("^a${2,3}", [(SHAPE, ESCAPE)]),
        ("${A-d}", [(SHAPE, ESCAPE)]),
        ("${NONE:-${A}}", [(SHAPE, ESCAPE)]),
        (
            "${file:no/such}",
            [("there is no file base/no/such", "make it, or correct the path")],
        ),
        ("${file:}", [(SHAPE, ESCAPE)]),
        ("${file:a\0}", [("a file's name holds a NUL character", "remove it")]),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_problem(text: str, problems: list[tuple[str, str]]) -> None:
    assert Expansion(ENVIRON, Path("base")).expand(text) == ("", problems)


@pytest.mark.parametrize(
    ("content", "text"), [(b"s\n", "s"), (b"s\r\n", "s"), (b"s\n\n", "s\n"), (b"s \r", "s \r"), (b"\n", ""), (b"", "")]
)
def test_a_file_loses_one_trailing_newline(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert Expansion({}, tmp_path).expand("${file:f}") == (text, [])


def test_an_absolute_file_is_not_looked_up_in_the_directory(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("s")
    assert Expansion({}, Path("elsewhere")).expand(f"${{file:{tmp_path}/f}}") == ("s", [])


def test_files_that_would_hang_or_flood_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "latin").write_bytes(b"\xe9hush")
    expand = Expansion({}, tmp_path).expand
    for name, reason in [
        ("pipe", f"the file {tmp_path}/pipe cannot be read: it is not a file"),
        ("large", f"the file {tmp_path}/large cannot be read: it is larger than 1 MiB"),
        ("latin", f"the file {tmp_path}/latin is not UTF-8"),
        (".", f"the file {tmp_path} cannot be read: it is not a file"),
    ]:
        text, [(message, _)] = expand(f"${{file:{name}}}")
        assert (text, message) == ("", reason)


def test_a_secret_follows_its_file_and_keeps_the_last_good_text(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("first\n")
    text, _ = Expansion({"A": "1"}, tmp_path).expand("${A}-${file:f}")
    assert isinstance(text, FileText)
    secret = Secret(text)
    assert secret.reveal() == "1-first"

    replacement = tmp_path / "new"
    replacement.write_text("other\n")
    replacement.replace(file)
    assert secret.reveal() == "1-other"

    file.unlink()
    assert secret.reveal() == "1-other"

    file.write_bytes(b"\xff")
    assert secret.reveal() == "1-other"

    file.write_text("third")
    assert secret.reveal() == "1-third"


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("aaa")
    before = file.stat()
    text, _ = Expansion({}, tmp_path).expand("${file:f}")
    assert isinstance(text, FileText)
    file.write_text("bbb")  # the same inode and size; with the same time it counts as the same
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert text.read() == "aaa"
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert text.read() == "bbb"


def test_a_secret_whose_file_becomes_empty_keeps_its_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("s")
    secret = Secret(Expansion({}, tmp_path).expand("${file:f}")[0])
    (tmp_path / "f").write_text("\n")
    assert secret.reveal() == "s"


@pytest.mark.parametrize("text", ["s3cret", ""])
def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n")
    expansion = Expansion({"A": f"\ufeff{text}"}, tmp_path)
    assert expansion.expand("${file:f}") == (text, [])
    assert expansion.expand("${A}") == (text, [])


def test_a_file_that_was_read_again_is_told_once_with_what_is_wrong_with_it(tmp_path: Path) -> None:
    told: list[tuple[Path, str]] = []
    file = tmp_path / "f"
    file.write_text("")
    secret = Secret(Expansion({}, tmp_path, read_again=lambda *of: told.append(of)).expand("${file:f}")[0])

    def after(text: str) -> tuple[str, list[tuple[Path, str]]]:
        file.write_text(text)
        told.clear()
        return secret.reveal() and secret.reveal(), told

    assert after("") == ("", []), "a file yet to fill is no news"
    assert after("first\n") == ("first", [(file, "")])
    assert after("first") == ("first", []), "it says the same"
    assert after("other") == ("other", [(file, "")])
    assert after("") == ("other", [(file, "is empty")])
    assert after("other") == ("other", [(file, "")])
    file.unlink()
    told.clear()
    assert [secret.reveal(), secret.reveal()] == ["other", "other"]
    assert told == [(file, "cannot be read: no such file or directory")]
    assert after("third") == ("third", [(file, "")])
