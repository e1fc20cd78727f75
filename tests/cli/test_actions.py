"""Commands that change the record, without a bridge that runs: what they print, and what they refuse."""

import asyncio
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from end_to_end.conftest import Command
from store.support import one
from store.test_purging import reading_process

from bridge.store import purging
from bridge.store.store import Store, owned

BRIDGE = """
store: {url: "sqlite:///bridge.db"}
admin: {token: "${UNSET_TOKEN}"}
targets:
  crm: {url: http://127.0.0.1:1/api, authorization: {scheme: bearer, token: "${UNSET}"}}
  erp: {url: http://127.0.0.1:1/api, authorization: {scheme: bearer, token: "${UNSET}"}}
default_target: crm
"""
CHANGES = [("events", verb) for verb in ("replay", "discard", "release")] + [
    ("webhooks", verb) for verb in ("remap", "erase")
]


@pytest.fixture
def config(tmp_path: Path, sqlite_url: str) -> Path:
    assert sqlite_url.endswith(f"{tmp_path}/bridge.db")
    directory = tmp_path / "config"
    (directory / "sources").mkdir(parents=True)
    (directory / "bridge.yaml").write_text(BRIDGE)
    (directory / "sources" / "shop.yaml").write_text('verify: {scheme: github, secrets: ["${UNSET}"]}\nrules: []\n')
    return directory


def answered(command: Command, config: Path, *arguments: str) -> Any:
    code, out, err = command("--config", str(config), *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("words", CHANGES, ids="-".join)
def test_a_change_needs_no_secret_and_tells_what_it_would_do(
    words: tuple[str, str], command: Command, config: Path
) -> None:
    answer = answered(command, config, *words, "--source", "shop")
    assert (answer["count"], answer["done"], answer["oldest"]) == (0, 0, None)
    code, out, err = command("--config", str(config), *words, "--source", "shop", "--since", "1h")
    assert (code, err) == (0, "")
    assert "count" in out
    assert "--yes" not in out  # there is nothing to do


@pytest.mark.parametrize("words", CHANGES, ids="-".join)
@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_a_change_of_everything_is_refused_as_wrong_usage(
    words: tuple[str, str], yes: tuple[str, ...], command: Command, config: Path
) -> None:
    code, out, err = command("--config", str(config), *words, *yes)
    assert (code, out) == (2, "")
    assert "name ids" in err


@pytest.mark.parametrize("words", CHANGES, ids="-".join)
def test_an_id_that_is_not_there_is_named(words: tuple[str, str], command: Command, config: Path) -> None:
    code, out, err = command("--config", str(config), *words, "gone", "--yes")
    assert (code, out) == (1, "")
    assert err == f"bridge: there is no {words[0][:-1]} gone, `bridge {words[0]} list` shows the newest\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "replay", "--state", "lost"),
        ("events", "release", "--state", "held"),
        ("webhooks", "erase", "--state", "delivered"),
        ("events", "replay", "--since", "yesterday"),
        ("events", "replay", "--since", "99999999d"),
        ("events", "replay", "--again", "--source", "shop"),
        ("events", "replay", "--source", "shop", "--as", "x" * 65),
        ("events", "replay", "--source", "shop", "--note", "a\nb"),
        ("targets", "pause", "crm", "--as", "\x1b[2J"),
        ("targets", "pause"),
        ("targets", "show"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], command: Command, config: Path) -> None:
    assert command("--config", str(config), *arguments)[0] == 2


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--source", "shpo"), "there is no source shpo, did you mean shop? the sources are shop"),
        (("--rule", "nope"), "there is no rule nope, nor any other"),
        (("--target", "cmr"), "there is no target cmr, did you mean crm? the targets are crm, erp"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_filter_by_what_there_is_none_of_is_told_with_the_nearest(
    option: tuple[str, str], told: str, command: Command, config: Path
) -> None:
    for words in (*CHANGES, ("events", "list"), ("webhooks", "list")):
        for yes in ((), ("--yes",)) if words[1] != "list" else ((),):
            assert command("--config", str(config), *words, *option, *yes) == (1, "", f"bridge: {told}\n")


@pytest.mark.timing
def test_who_holds_what_is_to_be_erased_is_told_and_nothing_is_erased(
    command: Command, config: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_PATIENCE", 0.3)
    path = config.parent / "bridge.db"
    row = "INSERT INTO webhooks(id, source, state, received_at, head, body) VALUES ('wh_1', 'shop', 'ignored', 1, ?, ?)"
    with sqlite3.connect(path) as connection:
        head = '{"method": "POST", "query": "", "headers": {}, "delivery_id": null}'
        connection.execute(row, (head.encode(), b"private"))
    connection.close()
    erase = ("--config", str(config), "webhooks", "erase", "wh_1", "--yes")
    with reading_process(path) as process:
        code, out, err = command(*erase)
        assert (code, out) == (1, "")
        assert err.startswith(f"bridge: nothing is erased, since process {process.pid} (python")
        assert err.endswith(f" is reading {path}: end that, and try again\n")
        assert b"private" in path.read_bytes()
    assert command(*erase)[0] == 0
    assert b"private" not in path.read_bytes()


def test_targets_are_listed_paused_and_resumed_where_no_bridge_runs(command: Command, config: Path) -> None:
    assert [target["name"] for target in answered(command, config, "targets", "list")] == ["crm", "erp"]
    paused = answered(command, config, "targets", "pause", "erp")
    assert (paused["state"], paused["reason"]) == ("paused", "operator")
    assert answered(command, config, "targets", "show", "erp") == paused
    code, out, _ = command("--config", str(config), "targets", "list")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["name", "state"], ["crm", "open"], ["erp", "paused"]]
    assert answered(command, config, "targets", "resume", "erp")["state"] == "open"
    for verb in ("show", "pause", "resume"):
        code, out, err = command("--config", str(config), "targets", verb, "crn")
        assert (code, out, err) == (
            1,
            "",
            "bridge: there is no target crn, did you mean crm? the targets are crm, erp\n",
        )


def test_a_target_whose_events_are_stuck_is_shown_with_why_and_ends_with_1(
    command: Command, config: Path, sqlite_url: str
) -> None:
    show = ("--config", str(config), "targets", "show", "erp")
    pause = ("--config", str(config), "targets", "pause", "erp")
    assert command(*pause)[0] == 0
    assert command(*show)[0] == 0  # nothing waits
    with owned(sqlite_url) as engine:
        store = Store(engine)
        asyncio.run(store.accept(*one(target="erp"), 0))
        store.close()
    code, out, err = command(*show)
    assert (code, err) == (1, "")
    for told in (
        "detail +an operator paused it",
        "hint +`bridge targets resume` sends to it",
        "(?m)pending +1$",
        "(?m)stuck +1$",
    ):
        assert re.search(told, out)
    assert command("--config", str(config), "targets", "list")[0] == 0
    assert command("--config", str(config), "targets", "show", "crm")[0] == 0


def test_a_configuration_whose_rules_are_wrong_refuses_only_to_remap(command: Command, config: Path) -> None:
    (config / "sources" / "shop.yaml").write_text("verify: {scheme: none}\nrules: [{name: a, when: boddy}]\n")
    assert answered(command, config, "events", "replay", "--source", "shop")["count"] == 0
    for yes in ((), ("--yes",)):
        code, out, err = command("--config", str(config), "webhooks", "remap", "--source", "shop", *yes)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {config}/sources/shop.yaml:2:")


@pytest.mark.parametrize("target", ["{url: nowhere, authorization: {scheme: bearer, token: t}}", "{}"])
def test_a_remap_is_refused_where_a_targets_settings_cannot_be_read(
    target: str, command: Command, config: Path
) -> None:
    (config / "bridge.yaml").write_text(re.sub(r"erp: .*", f"erp: {target}", BRIDGE))
    for yes in ((), ("--yes",)):
        code, out, err = command("--config", str(config), "webhooks", "remap", "--source", "shop", *yes)
        assert (code, out) == (1, "")
        assert re.search(rf"^error: {config}/bridge\.yaml:\d+:\d+: targets\.erp", err, re.MULTILINE)
        assert answered(command, config, "events", "replay", "--source", "shop", *yes)["count"] == 0


def test_a_preview_of_no_store_says_so_and_makes_none(command: Command, config: Path) -> None:
    (config.parent / "bridge.db").unlink()
    for words in (*CHANGES, ("targets", "list")):
        chosen = () if words[0] == "targets" else ("--source", "shop")
        code, out, err = command("--config", str(config), *words, *chosen)
        assert (code, out) == (1, "")
        assert err.startswith("bridge: there is no store ")
    assert not (config.parent / "bridge.db").exists()


def test_a_configuration_that_is_not_there_is_told(command: Command, tmp_path: Path) -> None:
    code, out, err = command("--config", str(tmp_path), "targets", "list")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {tmp_path}/bridge.yaml: there is no such file")
