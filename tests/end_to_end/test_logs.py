"""docs/logs.md tells every log name with all its fields, and no line ever tells a secret or what is in a body."""

import ast
import base64
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from running import ADMIN_TOKEN, SECRET, Bridge, Superoffice, by_github, eventually, run

from bridge.mapping.expressions.expression import HIDDEN
from bridge.observing import logs
from bridge.receiving.verification.reasons import Reason

from .conftest import Command

_ROOT = Path(__file__).parents[2]
_SAMPLES = _ROOT / "bridge" / "sandbox" / "samples"
_ALWAYS = {"event", "level", "timestamp"}
_CONSTANTS = {name: value for name, value in vars(logs).items() if name.isupper() and isinstance(value, str)}
_MADE_UP = ("GITHUB_SECRET", "SHOP_SECRET", "BRIDGE_ADMIN_TOKEN", "CRM_PASSWORD", "SUPPORT_TICKET", "SUPPORT_APP_TOKEN")


def documented() -> dict[str, set[str]]:
    """Each name in docs/logs.md with its fields."""
    page = (_ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    sections = re.split(r"^### `(.+)`$", page, flags=re.MULTILINE)[1:]
    names, texts = sections[::2], sections[1::2]
    assert len(set(names)) == len(names)
    return {
        name: set(re.findall(r"^\| `(\w+)` \| ", text.partition("| reason | means |")[0], flags=re.MULTILINE))
        for name, text in zip(names, texts, strict=True)
    }


def constants(node: ast.AST) -> set[str]:
    """The log names that an expression mentions."""
    return {
        _CONSTANTS[name]
        for part in ast.walk(node)
        if (name := getattr(part, "attr", getattr(part, "id", ""))) in _CONSTANTS
    }


def assigned(name: str, function: ast.AST) -> Iterator[ast.expr]:
    """What a function assigns to a name."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            yield node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            assert node.value is not None
            yield node.value


def is_logging(node: ast.Call, function: ast.AST) -> bool:
    """Whether a call writes a line: `log.info(...)`, or what a variable or a conditional chose of `log`'s methods."""
    called: list[ast.AST] = [node.func]
    if isinstance(node.func, ast.Name):
        called = list(assigned(node.func.id, function))
    methods = {"debug", "info", "warning", "error", "critical", "exception", "log"}
    return any(
        isinstance(part, ast.Attribute)
        and part.attr in methods
        and isinstance(part.value, ast.Name)
        and part.value.id == "log"
        for one in called
        for part in ast.walk(one)
    )


def fields(keyword: ast.keyword, function: ast.AST, modules: list[ast.Module]) -> set[str]:
    """The fields that a keyword argument adds; for `**x`, those of the dictionaries that x may be."""
    if keyword.arg is not None:
        return {keyword.arg}
    values: list[ast.expr] = [keyword.value]
    if isinstance(keyword.value, ast.Name):
        values = list(assigned(keyword.value.id, function))
    dictionaries: list[ast.Dict] = []
    for value in values:
        dictionaries += [part for part in ast.walk(value) if isinstance(part, ast.Dict)]
        for call in (part for part in ast.walk(value) if isinstance(part, ast.Call)):
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            dictionaries += [
                answer.value
                for module in modules
                for definition in ast.walk(module)
                if isinstance(definition, ast.FunctionDef) and definition.name == called
                for answer in ast.walk(definition)
                if isinstance(answer, ast.Return) and isinstance(answer.value, ast.Dict)
            ]
    assert dictionaries, f"the fields of {ast.unparse(keyword)} cannot be read here"
    return {str(key.value) for one in dictionaries for key in one.keys if isinstance(key, ast.Constant)}


def written() -> dict[str, set[str]]:
    """Each name that the code logs, with all fields that any of its calls adds."""
    found: dict[str, set[str]] = {}
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((_ROOT / "bridge").rglob("*.py"))]
    functions = [
        node for tree in modules for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    for function in functions:
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if not is_logging(call, function):
                continue
            names = {name for argument in call.args for name in constants(argument)}
            for argument in call.args:
                if isinstance(argument, ast.Name):
                    names |= {name for value in assigned(argument.id, function) for name in constants(value)}
            assert names, f"{ast.unparse(call)} logs no name of bridge.observing.logs"
            for name in names:
                found.setdefault(name, set()).update(
                    field for keyword in call.keywords for field in fields(keyword, function, modules)
                )
    for made in (node for tree in modules for node in ast.walk(tree) if isinstance(node, ast.Dict)):  # without `log`
        values = {
            key.value: value for key, value in zip(made.keys, made.values, strict=True) if isinstance(key, ast.Constant)
        }
        for name in constants(values["event"]) if "event" in values else ():
            found.setdefault(name, set()).update(map(str, values.keys() - {"event"}))
    return found


def test_every_name_and_field_that_the_code_logs_is_documented_and_no_other() -> None:
    found = written()
    assert found == documented()
    assert set(found) == set(_CONSTANTS.values())


def test_every_reason_of_a_refusal_is_documented() -> None:
    page = (_ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    paths = [path for room in ("web", "receiving") for path in (_ROOT / "bridge" / room).rglob("*.py")]
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    reasons = {
        str(part.value)
        for call in (node for module in modules for node in ast.walk(module))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", getattr(call.func, "attr", "")).lower() in ("refused", "_refuse")
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and re.fullmatch(r"[a-z]{3,}(_[a-z]+)*", str(part.value))
    }
    assert reasons >= {
        "unknown_source",
        "method",
        "headers_too_large",
        "body_too_large",
        "body_too_slow",
        "bad_request",
    }
    assert reasons >= {"head_too_slow", "too_many_connections", "too_many_bodies", "too_many_failures", "source_busy"}
    assert [reason for reason in {*reasons, *map(str, Reason)} if f"`{reason}`" not in page] == []


def texts(value: Any) -> Iterator[str]:
    """All text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from texts(child)


def test_the_demo_logs_what_is_documented_and_nothing_that_is_private(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _MADE_UP}
    done = run("--config", str(_ROOT / "config"), "demo", "--dir", str(tmp_path), environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all as expected" in done.stdout
    log = (tmp_path / "bridge.log").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines()]
    known = documented()
    for line in lines:
        assert set(line) - _ALWAYS <= known[line["event"]], line
        assert set(line) >= _ALWAYS
    assert {line["event"] for line in lines} >= {
        *("bridge.started", "webhook.accepted", "webhook.refused", "attempt.finished", "event.delivered"),
        *("bridge.draining", "bridge.stopped", "store.migrated"),
    }
    config = [path.read_text(encoding="utf-8") for path in (_ROOT / "config" / "sources").glob("*.yaml")]
    names = re.findall(r"- name: (\S+)", "".join(config))
    words = {
        text
        for sample in _SAMPLES.glob("*.json")
        for text in texts(json.loads(sample.read_text(encoding="utf-8")))
        if len(text.strip()) >= 6 and not any(text in name for name in names)
    }
    assert len(words) >= 6
    assert [word for word in words if word.strip() in log] == []
    ids = r"(?:wh|ev)_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.findall(r"[\w+-]{32,}", re.sub(ids, "", log)) == [], "the demo's secrets and signatures are as long"


def test_no_line_tells_a_secret_a_signature_or_a_body_whatever_goes_wrong(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    source = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: broken
    when: body.private_word | int > 1
    event: {type: Run, attributes: {word: "{{ body.private_word }}"}}
  - name: sound
    event: {type: Run, attributes: {word: "{{ body.private_word | default('') }}"}}
"""
    password = "the password of the target"
    target = sandbox.target("private")
    target["authorization"]["password"] = "${file:password}"
    hushed = (
        "verify: {scheme: github, secrets: ['${SECRET}']}\nrules:\n  - name: hushed\n    when: body.t == '${SECRET}'\n"
    )
    hushed += "    event: {type: Run}\n"
    bridge = make_bridge({"crm": target}, {"github": source, "hushed": hushed}, log={"level": "debug"})
    (bridge.config / "password").write_text(password)
    bridge.start()
    body = b'{"private_word": "confidential", "private_key": [1e2]}'
    signed = by_github(body, "the-first")
    cookies = {"Authorization": "Bearer confidential", "Cookie": "session=confidential"}
    for headers in (signed | cookies, signed, by_github(body, secret="a forger's guess"), {}):
        bridge.post("github", body, headers)
    for unreadable in (b'{"private_word": "confidential"', b"confidential", b"\xffconfidential"):
        bridge.post("github", unreadable, by_github(unreadable))
    bridge.post("nobody", body, signed)
    ignored = bridge.post("hushed", b'{"t": "x"}', by_github(b'{"t": "x"}')).json()["id"]
    bridge.client.get("/webhooks/github", params={"token": "confidential"})
    bridge.admin.get("/readyz", headers={"Authorization": "Bearer confidential"})
    with socket.create_connection(("127.0.0.1", bridge.port)) as connection:
        connection.sendall(b"confidential\r\n\r\n")
        connection.recv(1000)
    eventually(lambda: any(line["event"] == "target.paused" for line in bridge.lines()))
    (bridge.config / "password").write_text("sandbox")
    sandbox.script("private", {"fault": "503"}, {"fault": "cut-after"}, {"fault": "error"}, {"fault": "html404"})
    bridge.settled()
    assert bridge.stop() == 0

    log = bridge.log.read_text(encoding="utf-8") + (bridge.root / "bridge.err").read_text(encoding="utf-8")
    lines = bridge.lines()
    assert {line["event"] for line in lines} >= {"webhook.refused", "webhook.accepted", "target.paused"}
    assert {line.get("state") for line in lines} >= {"failed", "unreadable"}
    for line in lines:
        assert set(line) - _ALWAYS <= documented()[line["event"]], line
    (hidden,) = [line["why"] for line in lines if line.get("webhook_id") == ignored]
    assert HIDDEN in hidden
    shown = bridge.run("webhooks", "show", ignored, "--json").stdout + bridge.run("webhooks", "list", "--json").stdout
    assert HIDDEN in shown
    assert SECRET not in shown + bridge.run("explain", ignored).stdout
    signature = signed["X-Hub-Signature-256"].removeprefix("sha256=")
    basic = base64.b64encode(f"sandbox:{password}".encode()).decode()
    private = ("confidential", "private_key", SECRET, signature, ADMIN_TOKEN, password, basic, "forger")
    assert [word for word in private if word in log] == []


def test_a_demo_that_cannot_run_ends_with_1_and_the_reason(tmp_path: Path, command: Command) -> None:
    (tmp_path / "config").mkdir()
    text = (_ROOT / "config" / "bridge.yaml").read_text(encoding="utf-8")
    (tmp_path / "config" / "bridge.yaml").write_text(f"{text}\nunheard_of: 1\n", encoding="utf-8")
    code, _, err = command("--config", str(tmp_path / "config"), "demo", "--dir", str(tmp_path / "demo"))
    assert code == 1
    assert err.startswith("bridge: the bridge did not start:\n")
    assert "unheard_of" in err
    assert "Traceback" not in err
