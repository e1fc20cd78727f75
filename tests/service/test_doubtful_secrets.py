"""What `check` warns of about secrets, each at its place, and none of it ever shown."""

from pathlib import Path

import pytest

from bridge.errors import Severity
from bridge.service import composition
from service.test_composition import write

BRIDGE = """\
admin: {port: 0, token: "${ADMIN}"}
targets:
  crm:
    url: https://crm.example.com/api
    authorization: {scheme: basic, username: u, password: "${PASSWORD}"}
    headers: {X-Gateway-Key: "${KEY}"}
"""
GOOD = "a-secret-of-16-or-more"


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADMIN", "PASSWORD", "KEY"):
        monkeypatch.setenv(name, f"{GOOD}-{name}")


def source(*secrets: str, scheme: str = "github", more: str = "") -> str:
    listed = ", ".join(f'"{one}"' for one in secrets)
    return f"verify: {{scheme: {scheme}, secrets: [{listed}]}}\nrules: []\n{more}"


def warnings(directory: Path, **files: str) -> list[str]:
    """The warnings, each as its place and what it says, without what to do."""
    problems = composition.build(write(directory, bridge=BRIDGE, **files)).problems
    assert {problem.severity for problem in problems} <= {Severity.WARNING}
    assert all(problem.hint for problem in problems)
    return [f"{Path(problem.location.file).stem} {problem.path} {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'"{GOOD}"', "stands in quotes"),
        (f"'{GOOD}'", "stands in quotes"),
        (f"“{GOOD}”", "stands in quotes"),
        (f" '{GOOD}'", "stands in quotes"),
        (f" {GOOD}", "holds a blank"),
        (f"{GOOD}\t", "holds a blank"),
        (f"{GOOD} {GOOD}", "holds a blank"),
        (f"{GOOD}\u00a0", "holds a blank"),
        (f"{GOOD}\n{GOOD}", "holds a line break"),
        (f"{GOOD}\r{GOOD}", "holds a line break"),
        (f"\ufeff{GOOD}", ""),
        (f"\ufeff'{GOOD}'", "stands in quotes"),
        (GOOD, ""),
        (f"{GOOD}'s", ""),
        (f"Bearer {GOOD}", ""),
        (f"-----BEGIN KEY-----\n{GOOD}\n-----END KEY-----", ""),
    ],
)
@pytest.mark.parametrize("by", ["environment", "file"])
def test_what_a_secret_brought_along_is_told(
    text: str, said: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITTEN", text)
    (tmp_path / "written").write_bytes(f"{text}\n".encode())
    written = "${WRITTEN}" if by == "environment" else "${file:written}"
    found = warnings(tmp_path, shop=source(GOOD, written))
    assert found == ([f"shop verify.secrets[1] {said}"] if said else [])


def test_so_is_that_of_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "'pass'")
    monkeypatch.setenv("KEY", "a key")
    assert warnings(tmp_path, shop=source(GOOD)) == [
        "bridge targets.crm.authorization.password stands in quotes",
        "bridge targets.crm.headers.X-Gateway-Key holds a blank",
    ]


def test_one_that_can_be_guessed_is_told_where_strangers_may_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN", "x" * 15)
    monkeypatch.setenv("PASSWORD", "short")
    guessed = "has less than 16 characters: it can be guessed"
    assert warnings(tmp_path, shop=source("x" * 16, "y" * 15)) == [
        f"bridge admin.token {guessed}",
        f"shop verify.secrets[1] {guessed}",
    ]


def test_one_of_two_sources_is_told_at_the_later_with_the_place_of_the_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARED", f"{GOOD}-shared")
    (tmp_path / "file").write_text(f"{GOOD}-shared\n")
    found = warnings(
        tmp_path,
        forms=source("${SHARED}"),
        shop=source(GOOD, "${file:file}"),
        unused=source(GOOD, more="enabled: false\n"),
    )
    (told,) = found
    assert told.startswith("shop verify.secrets[1] is a secret of source forms too (")
    assert "/sources/forms.yaml:1:36)" in told
    assert "shared" not in told.partition(")")[2]


def test_no_value_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN", "'hush-1'")
    monkeypatch.setenv("PASSWORD", "hush-2 ")
    problems = composition.build(
        write(tmp_path, bridge=BRIDGE, a=source("hush-3"), b=source("hush-3", "hush 4"))
    ).problems
    assert len(problems) == 8
    assert not any("hush" in str(problem.as_json()) for problem in problems)


def test_a_file_that_is_empty_yet_is_no_secret_to_warn_of(tmp_path: Path) -> None:
    (tmp_path / "later").write_text("")
    shared = source(GOOD, "${file:later}")
    assert warnings(tmp_path, a=shared, b=shared.replace(GOOD, f"{GOOD}-b")) == []
