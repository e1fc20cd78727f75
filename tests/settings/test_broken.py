"""Broken configurations and what `bridge check` says of them, word for word: broken/NN-name.txt.

A case is a line that says what is wrong, `--- FILE` with each file's content, and `--- expect` with what is printed.
Where a case has no `bridge.yaml` or no source of its own, a sound one stands there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.service import composition

CASES = sorted((Path(__file__).parent / "broken").glob("*.txt"))
ENVIRONMENT = {"SECRET": "hush-hush", "EMPTY": ""}
BRIDGE = "targets: {crm: {url: https://crm.example.com/api, authorization: {scheme: bearer, token: t}}}\n"
SOURCE = "verify: {scheme: github, secrets: [a-secret-of-the-tests]}\nrules: []\n"


@dataclass(frozen=True, slots=True)
class Case:
    """Files by name, and the lines expected."""

    title: str
    files: Mapping[str, str]
    expected: list[str]

    @classmethod
    def read(cls, path: Path) -> "Case":
        title, *parts = re.split(r"^--- (.+)\n", path.read_text(), flags=re.MULTILINE)
        files = dict(zip(parts[::2], parts[1::2], strict=True))
        return cls(title.strip(), files, files.pop("expect").splitlines())


def told(case: Case, directory: Path) -> list[str]:
    """What `bridge check` prints of the case's files, written into an empty directory, which is not named."""
    (directory / "sources").mkdir()
    if not any(name.startswith("bridge.") for name in case.files):
        (directory / "bridge.yaml").write_text(BRIDGE)
    if not any(name.startswith("sources/") for name in case.files):
        (directory / "sources" / "shop.yaml").write_text(SOURCE)
    for name, text in case.files.items():
        (directory / name).write_text(text)
    try:
        problems = composition.build(directory).problems
    except ConfigError as error:
        problems = error.problems
    lines = [f"{problem.severity}: {problem}" for problem in problems]
    return [line.replace(f"{directory}/", "").replace(str(directory), ".") for line in lines]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_is_said_of_a_broken_configuration(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    case = Case.read(path)
    assert told(case, tmp_path) == case.expected


def test_there_are_enough_cases_each_with_a_title_and_something_to_say() -> None:
    cases = [Case.read(path) for path in CASES]
    assert len(cases) >= 60
    assert all(case.title and case.files and case.expected for case in cases)


def test_no_message_shows_a_secret() -> None:
    assert all("hush" not in line for path in CASES for line in Case.read(path).expected)
