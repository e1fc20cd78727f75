"""The commands, as a shell calls them: what they print and their exit codes, beside a bridge and without one."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from running import Bridge, Superoffice, by_github, run

from bridge.cli.commands import app

from .conftest import Command
from .test_delivery import ISSUES, issue

TWO_RULES = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: issue
    when: headers['x-github-event'] == 'issues'
    event: {type: CreatedRequest, attributes: {number: "{{ body.number }}", bridge_id: "{{ event.id }}"}}
  - name: noted
    when: headers['x-github-event'] == 'issues' and body.number > 1
    target: notes
    event: {type: AddedMessage, attributes: "number {{ body.number }}"}
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Iterator[Bridge]:
    """A running bridge that has seen an order of things; the commands know none of its secrets."""
    targets = {"crm": sandbox.target("cli-crm"), "notes": sandbox.target("cli-notes", attributes_format="text")}
    sources = {"github": TWO_RULES, "other": ISSUES.replace("issue", "opened")}
    bridge = Bridge(tmp_path_factory.mktemp("cli"), targets, sources, default_target="crm").start()
    sandbox.script("cli-notes", {"fault": "rejected"})
    bridge.post("github", issue(1), by_github(issue(1), "one", "issues"))
    bridge.post("github", issue(2), by_github(issue(2), "two", "issues"))
    bridge.post("github", b"{}", by_github(b"{}", "three", "ping"))
    bridge.post("other", issue(4), by_github(issue(4), "four", "issues"))
    bridge.settled()
    assert not bridge.environment.keys() & os.environ.keys()
    yield bridge
    bridge.close()


def listed(command: Command, bridge: Bridge, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = command("--config", str(bridge.config), *arguments, "--json")
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_lists_and_shows_read_beside_a_running_bridge_and_without_one(bridge: Bridge, command: Command) -> None:
    def shown(*arguments: str) -> Any:
        return listed(command, bridge, *arguments)

    for _ in ("running", "stopped"):
        webhooks = shown("webhooks", "list")
        assert [(one["source"], one["dedupe_key"], one["state"]) for one in webhooks] == [
            ("other", "four", "mapped"),
            ("github", "three", "ignored"),
            ("github", "two", "mapped"),
            ("github", "one", "mapped"),
        ]
        assert set(webhooks[0]) >= {"id", "source", "state", "received_at", "dedupe_key", "size", "events", "why"}
        events = shown("events", "list")
        assert [(one["rule"], one["target"], one["state"], one["attempts"]) for one in events] == [
            ("opened", "crm", "delivered", 1),
            ("noted", "notes", "dead", 1),
            ("issue", "crm", "delivered", 1),
            ("issue", "crm", "delivered", 1),
        ]
        assert set(events[0]) == {
            *("id", "webhook_id", "source", "rule", "target", "type", "attributes", "state", "reason", "attempts"),
            *("next_attempt_at", "created_at", "delivered_at", "result"),
        }
        assert events[0]["result"]["EventType"] == "CreatedRequest"
        event = shown("events", "show", events[1]["id"])
        assert event["reason"] == "rejected"
        assert event["attributes"] == "number 2"
        assert [(one["number"], one["outcome"], one["status"]) for one in event["attempts"]] == [(1, "rejected", 400)]
        webhook = shown("webhooks", "show", webhooks[2]["id"])
        assert webhook["events"] == [events[2]["id"], events[1]["id"]]
        ignored = shown("webhooks", "show", webhooks[1]["id"])
        assert [(why["rule"], why["matched"]) for why in ignored["why"]] == [("issue", False), ("noted", False)]
        assert bridge.stop() == 0
    bridge.start()


def test_filters_leave_what_they_say(bridge: Bridge, command: Command) -> None:
    def keys(*arguments: str) -> list[str]:
        return [one["dedupe_key"] for one in listed(command, bridge, "webhooks", "list", *arguments)]

    def rules(*arguments: str) -> list[str]:
        return [one["rule"] for one in listed(command, bridge, "events", "list", *arguments)]

    assert keys("--state", "ignored") == ["three"]
    assert keys("--source", "github") == ["three", "two", "one"]
    assert keys("--rule", "noted") == ["two"]
    assert keys("--target", "notes") == ["two"]
    assert keys("--limit", "1") == ["four"]
    assert keys("--since", "1h", "--source", "other") == ["four"]
    assert keys("--since", "2999-01-01T00:00Z") == []
    assert rules("--state", "dead") == ["noted"]
    assert rules("--source", "other") == ["opened"]
    assert rules("--rule", "issue") == ["issue", "issue"]
    assert rules("--target", "notes") == ["noted"]
    assert rules("--limit", "2") == ["opened", "noted"]
    assert rules("--since", "1ms") == []


def test_tables_are_for_people(bridge: Bridge, command: Command) -> None:
    (dead,) = bridge.events(state="dead")
    code, out, _ = command("--config", str(bridge.config), "events", "list", "--state", "dead")
    assert code == 0
    heading, row = out.splitlines()
    assert heading.split()[:4] == ["id", "state", "source", "rule"]
    assert row.split()[:4] == [dead["id"], "dead", "github", "noted"]
    code, out, _ = command("--config", str(bridge.config), "events", "show", dead["id"])
    assert code == 0
    assert "outcome=rejected" in out
    code, out, _ = command("--config", str(bridge.config), "webhooks", "show", dead["webhook_id"])
    assert code == 0
    assert dead["id"] in out


def test_an_unknown_id_is_told_with_a_hint(bridge: Bridge, command: Command) -> None:
    for noun, id_ in (("events", "ev_none"), ("webhooks", "wh_none")):
        code, out, err = command("--config", str(bridge.config), noun, "show", id_, "--json")
        assert (code, out) == (1, "")
        assert err == f"bridge: there is no {noun[:-1]} {id_}, `bridge {noun} list` shows the newest\n"


def test_check_tells_every_problem_with_its_place(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = make_bridge({"crm": sandbox.target("checked", attributes_escape="percent")}, {"github": ISSUES})
    for name, value in bridge.environment.items():
        monkeypatch.setenv(name, value)
    config = ("--config", str(bridge.config))
    assert command(*config, "check") == (0, "ok: 1 sources, 1 rules, 1 targets\n", "")
    assert command(*config, "check", "--json") == (0, "[]\n", "")

    bridge.write_source("github", ISSUES.replace("body.action", "boddy.action").replace("CreatedRequest", "Created"))
    bridge.write_source("open", "verify: {scheme: none}\nrules: []\n")

    code, out, err = command(*config, "check")
    assert (code, out) == (1, "")
    first, second, warning = err.splitlines()
    assert first.startswith(f"error: {bridge.config}/sources/github.yaml:5:11: rules[0].when: ")
    assert "did you mean `body`" in first
    assert second.startswith(f"error: {bridge.config}/sources/github.yaml:6:13: rules[0].event.type: ")
    assert warning.startswith(f"warning: {bridge.config}/sources/open.yaml:1:10: verify.scheme: ")
    code, out, err = command(*config, "check", "--json")
    assert (code, err) == (1, "")
    problems = json.loads(out)
    assert [set(problem) for problem in problems] == [
        {"severity", "file", "line", "column", "path", "message", "hint"}
    ] * 3
    assert [(one["severity"], one["line"], one["path"]) for one in problems] == [
        ("error", 5, "rules[0].when"),
        ("error", 6, "rules[0].event.type"),
        ("warning", 1, "verify.scheme"),
    ]

    bridge.write_source("github", ISSUES)
    code, out, err = command(*config, "check")
    assert (code, out, err) == (0, "ok: 2 sources, 1 rules, 1 targets\n", f"{warning}\n")


def test_check_of_no_configuration_says_so(command: Command, tmp_path: Path) -> None:
    code, out, err = command("--config", str(tmp_path), "check")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {tmp_path}/bridge.yaml: there is no such file")


def test_migrate_makes_the_store_and_tells_whether_there_is_something_to_do(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, command: Command
) -> None:
    bridge = make_bridge({"crm": sandbox.target("migrated")}, {"github": ISSUES})
    config = ("--config", str(bridge.config))
    for arguments in (("migrate", "--check"), ("events", "list")):
        code, out, err = command(*config, *arguments)
        assert (code, out) == (1, "")
        assert err.startswith(f"bridge: there is no store at {bridge.store} yet, ")
    code, out, err = command(*config, "migrate")
    assert (code, err) == (0, "")
    assert out.endswith("the store is up to date\n")
    assert command(*config, "migrate", "--check") == (0, "the store is up to date\n", "")
    assert listed(command, bridge, "events", "list") == []

    bridge.store.unlink()
    bridge.store.touch()
    code, out, err = command(*config, "migrate", "--check")
    assert (code, out) == (1, "")
    assert "run `bridge migrate`" in err


def test_the_store_is_readable_by_its_owner_only(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, command: Command
) -> None:
    bridge = make_bridge({"crm": sandbox.target("private")}, {"github": ISSUES})
    command("--config", str(bridge.config), "migrate")
    assert {path.stat().st_mode & 0o077 for path in bridge.store.parent.glob("bridge.db*")} == {0}


def commands(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command and every group of commands, as the words that call it."""
    yield words
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *words, name)


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], command: Command) -> None:
    code, out, err = command(*words, "--help")
    assert (code, err) == (0, "")
    assert out.strip().startswith(" ".join(("Usage: bridge", *words)))
    assert len(out.split()) > 20


def test_the_commands_that_scripts_rely_on_are_there(command: Command) -> None:
    nouns = [(noun, verb) for noun in ("events", "webhooks") for verb in ("list", "show")]
    assert {*nouns, *((name,) for name in ("serve", "check", "migrate", "sandbox", "demo"))} <= set(COMMANDS)
    _, out, _ = command("--help")
    assert {words[0] for words in COMMANDS if words} <= set(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("evnts",),
        ("events",),
        ("events", "show"),
        ("events", "list", "--state", "lost"),
        ("webhooks", "list", "--state", "delivered"),
        ("events", "list", "--limit", "0"),
        ("check", "--jsn"),
        ("--config",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], command: Command) -> None:
    assert command(*arguments)[0] == 2


def test_a_time_that_is_none_is_wrong_usage(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, command: Command
) -> None:
    bridge = make_bridge({"crm": sandbox.target("since")}, {"github": ISSUES})
    command("--config", str(bridge.config), "migrate")
    code, _, err = command("--config", str(bridge.config), "events", "list", "--since", "yesterday")
    assert code == 2
    assert "--since" in err


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version") == (0, "0.1.0\n", "")


def test_commands_work_as_processes_without_the_secrets(bridge: Bridge) -> None:
    done = run("--config", str(bridge.config), "events", "list", "--state", "dead", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [event["rule"] for event in json.loads(done.stdout)] == ["noted"]
    done = run("--config", str(bridge.config), "check")
    assert done.returncode == 1
    assert "`SECRET` is not set" in done.stderr
