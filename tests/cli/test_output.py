"""What commands print on a terminal: nothing of what strangers wrote acts on it, whatever command shows it."""

import ast
import asyncio
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from end_to_end.conftest import Command
from running import Superoffice
from store.support import WINDOW, a_webhook, an_attempt

from bridge.cli import output
from bridge.model import Dead, Outcome
from bridge.receiving.processing import process
from bridge.service.rules import build_rules
from bridge.store import reader
from bridge.store.store import Store, owned

EVIL = "hi \x1b[2J\x1b[31mred \x9b31m \u202eabc\nnext :100: \x07"
ESCAPED = "hi \\u001b[2J\\u001b[31mred \\u009b31m \\u202eabc\\nnext :100: \\u0007"
RULES = """
verify: {scheme: none}
dedupe: body.title
rules:
  - {name: all, event: {type: Run, attributes: {title: "{{ body.title }}"}}}
  - {name: never, when: "body.title == 'x'", event: {type: Run}}
  - {name: chosen, target: "{{ body.title }}", event: {type: Run}}
"""
# Every command in turn, in one process that writes to one terminal.
PROGRAM = """
import json, sys
from bridge.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["bridge", *arguments]
    try:
        main()
    except SystemExit:
        pass
    sys.stdout.flush()
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Path:
    root = tmp_path_factory.mktemp("printing")
    config = root / "config"
    (config / "sources").mkdir(parents=True)
    written = {"targets": {"crm": sandbox.target("printing")}, "store": {"url": f"sqlite:///{root}/bridge.db"}}
    (config / "bridge.yaml").write_text(json.dumps(written))
    (config / "sources" / "shop.yaml").write_text(RULES)
    (root / "payload.json").write_text(json.dumps({"title": EVIL}))
    with owned(f"sqlite:///{root}/bridge.db") as engine:
        store = Store(engine)
        asyncio.run(fill(store, config))
        store.close()
    return config


async def fill(store: Store, config: Path) -> None:
    ((_, rules),) = build_rules(config)
    webhook = a_webhook(body=json.dumps({"title": EVIL}).encode(), headers={"content-type": "application/json"})
    await store.accept(webhook, process(rules, webhook), WINDOW)
    (claim,) = (await store.claim("crm", 1, 1000)).claims
    attempt = an_attempt(Outcome.REJECTED, detail=EVIL, result={"Message": EVIL})
    await store.record(claim, attempt, Dead(EVIL))


def commands(config: Path) -> Iterator[list[str]]:
    with reader.reading(f"sqlite:///{config.parent}/bridge.db") as connection:
        (webhook,) = reader.list_webhooks(connection, reader.Filter())
    event = webhook["events"][0]
    for words in (
        ["webhooks", "list"],
        ["webhooks", "show", webhook["id"]],
        ["webhooks", "remap", webhook["id"]],
        ["events", "list"],
        ["events", "show", event],
        ["explain", event],
        ["try", "shop", str(config.parent / "payload.json")],
        ["doctor"],
    ):
        yield ["--config", str(config), *words]
        yield ["--config", str(config), *words, "--json"]
    yield ["--config", str(config), "events", "show", EVIL]


def on_a_terminal(config: Path, *asked: list[str]) -> str:
    """What a terminal gets that the commands are called on."""
    terminal, its_end = pty.openpty()
    command = (sys.executable, "-c", PROGRAM, json.dumps(asked))
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "1000"}  # no bold headings of our own
    got = b""
    try:
        with subprocess.Popen(command, stdin=its_end, stdout=its_end, stderr=its_end, env=environment) as process:
            os.close(its_end)
            with suppress(OSError):  # EIO: nobody holds its other end any more
                while some := os.read(terminal, 65_536):
                    got += some
            assert process.wait() == 0
    finally:
        os.close(terminal)
    return got.decode()


def test_nothing_of_what_a_stranger_wrote_acts_on_a_terminal(config: Path) -> None:
    asked = list(commands(config))
    text = on_a_terminal(config, *asked)
    lines = text.split("\r\n")
    assert {character for line in lines for character in line if not character.isprintable()} == set()
    assert text.count(ESCAPED) > len(asked)
    answers = [json.loads(line) for line in lines if line.startswith(("[", "{"))]
    assert len(answers) == len([one for one in asked if one[-1] == "--json"])
    assert sum(holds(answer, EVIL) for answer in answers) == len(answers) - 1  # what doctor finds is the sandbox's
    assert lines[-2] == f"bridge: there is no event {ESCAPED}, `bridge events list` shows the newest"


def holds(value: Any, text: str) -> bool:
    match value:
        case dict():
            return any(holds(part, text) for part in (*value, *value.values()))
        case list():
            return any(holds(part, text) for part in value)
    return isinstance(value, str) and text in value


def test_json_that_a_script_reads_is_plain(config: Path, command: Command) -> None:
    code, out, _ = command("--config", str(config), "webhooks", "list", "--json")
    assert code == 0
    assert "\u202eabc" in out
    assert "\x9b31m" in out
    assert json.loads(out)[0]["dedupe_key"] == EVIL


def test_tables_that_a_script_reads_are_escaped_all_the_same(config: Path, command: Command) -> None:
    for words in (("webhooks", "list"), ("events", "list")):
        code, out, _ = command("--config", str(config), *words)
        assert code == 0
        assert ESCAPED in out
        assert not set(EVIL) & set(out) - set(ESCAPED) - {"\n"}


def test_all_that_commands_print_goes_through_one_place() -> None:
    for path in (Path(__file__).parents[2] / "bridge" / "cli").glob("*.py"):
        if path.name in ("output.py", "main.py"):  # which says the version, and that is ours
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("print", "typer.echo", "typer.secho", "sys.stdout.write"), f"{path}:{node}"
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith("rich") for name in imported)
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_word_is_folded_on_a_narrow_terminal_and_nothing_of_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Terminal()
    monkeypatch.setattr(sys, "stdout", told)
    monkeypatch.setenv("COLUMNS", "40")
    result = {"Message": "The-event-is-not-valid-and-" + "x" * 80}
    output.print_one({"result": result}, as_json=False)
    lines = told.getvalue().splitlines()
    assert max(map(len, lines)) <= 40
    assert result["Message"] in "".join(line.removeprefix("result").strip() for line in lines)
