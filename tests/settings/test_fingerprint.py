"""What a configuration says is told by a hash: it changes with what the files say, and with nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.settings.fingerprint import fingerprint

BRIDGE = """
listen: {port: 8080}
admin: {token: "${ADMIN}"}
store: {keep: 90d}
targets:
  crm: {url: https://crm.example.com/api, authorization: {scheme: bearer, token: "${TOKEN}"}}
"""
SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}", "${file:secret}"]}
rules:
  - {name: a, event: {type: Run, attributes: {first: 1, second: 2}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(BRIDGE)
    (tmp_path / "sources" / "shop.yaml").write_text(SOURCE)
    return tmp_path


def rewrite(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(config: Path) -> None:
        text = (config / name).read_text()
        assert before in text
        (config / name).write_text(text.replace(before, after))

    return change


@pytest.mark.parametrize(
    "change",
    [
        rewrite("bridge.yaml", "8080", "8081"),
        rewrite("bridge.yaml", "${ADMIN}", "${OTHER}"),
        rewrite("bridge.yaml", "90d", "30d"),
        rewrite("bridge.yaml", "targets:", "# theirs\ntargets:"),
        rewrite("sources/shop.yaml", "  - {name: a", "\n  -   {name:   'a'"),
        lambda config: (config / "secret").write_text("another"),
        lambda config: (config / "sources" / ".shop.yaml.swp").write_text("rules: ["),
        lambda config: (config / "sources" / "README").write_text("rules: ["),
    ],
)
def test_it_stays_where_what_runs_would_be_the_same(
    change: Callable[[Path], None], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(config)
    monkeypatch.setenv("SECRET", "another")
    change(config)
    assert before is not None
    assert fingerprint(config) == before


@pytest.mark.parametrize(
    "change",
    [
        rewrite("bridge.yaml", "crm.example", "erp.example"),
        rewrite("bridge.yaml", "${TOKEN}", "${OTHER}"),
        rewrite("bridge.yaml", "${TOKEN}", "$${TOKEN}"),
        rewrite("sources/shop.yaml", "first: 1, second: 2", "second: 2, first: 1"),  # the order of pairs
        rewrite("sources/shop.yaml", "first: 1", "first: '1'"),
        rewrite("sources/shop.yaml", "file:secret", "file:other"),
        lambda config: (config / "sources" / "forms.yaml").write_text(SOURCE),
        lambda config: (config / "sources" / "shop.yaml").rename(config / "sources" / "forms.yaml"),
        lambda config: (config / "sources" / "forms.yml").write_text(SOURCE),  # which keeps the bridge from starting
        lambda config: (config / "sources" / "shop.yaml").unlink(),
    ],
)
def test_it_changes_with_what_the_files_say(change: Callable[[Path], None], config: Path) -> None:
    before = fingerprint(config)
    change(config)
    after = fingerprint(config)
    assert after is not None
    assert after != before


@pytest.mark.parametrize(
    "change",
    [
        lambda config: (config / "bridge.yaml").unlink(),
        rewrite("bridge.yaml", "targets:", "targets: ["),
        rewrite("sources/shop.yaml", "rules:", "rules: []\nrules:"),
        lambda config: (config / "sources" / "shop.yaml").write_bytes(b"a: \xff"),
        lambda config: (config / "sources" / "forms.yaml").mkdir(),
    ],
)
def test_there_is_none_of_files_that_cannot_be_read(change: Callable[[Path], None], config: Path) -> None:
    change(config)
    assert fingerprint(config) is None


def test_a_configuration_without_sources_has_one(config: Path) -> None:
    (config / "sources" / "shop.yaml").unlink()
    (config / "sources").rmdir()
    assert fingerprint(config) is not None
