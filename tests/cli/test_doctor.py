"""`bridge doctor`: what it prints, how it ends, and that it needs no bridge and disturbs none."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.conftest import Command
from running import Bridge, Superoffice
from store.support import an_attempt, one

from bridge.model import Held, Outcome
from bridge.store.store import Store, owned

RULE = "verify: {scheme: none}\nrules:\n  - {name: sold, target: crm, event: {type: SaleSold}}\n"


def configuration(root: Path, **targets: dict[str, Any]) -> str:
    directory = root / "config"
    (directory / "sources").mkdir(parents=True)
    (directory / "bridge.yaml").write_text(json.dumps({"targets": targets}))
    (directory / "sources" / "shop.yaml").write_text(RULE)
    return str(directory)


def test_each_check_is_a_line_and_all_well_ends_with_0(tmp_path: Path, sandbox: Superoffice, command: Command) -> None:
    config = configuration(tmp_path, crm=sandbox.target("well", version="auto"))
    code, out, err = command("--config", config, "doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["crm", "ok", f"{check}:"] for check in ("dns", "connection", "api", "version", "clock", "login", "send_event")
    ]
    assert lines[3].endswith("version: the server is 12.4")
    assert sandbox.events("well") == []
    assert sandbox.requests("well") == {}


def test_what_is_wrong_says_what_to_do_and_ends_with_1(tmp_path: Path, sandbox: Superoffice, command: Command) -> None:
    wrong = {"scheme": "basic", "username": "sandbox", "password": "hush-hush"}
    config = configuration(tmp_path, crm=sandbox.target("ill", authorization=wrong), erp=sandbox.target("well"))
    code, out, err = command("--config", config, "doctor")
    assert (code, err) == (1, "")
    refused = (
        "crm  wrong     login: SuperOffice refused the log-in (401), "
        "check the target's authorization, and what its user may do"
    )
    assert refused in out.splitlines()
    assert "hush" not in out
    assert command("--config", config, "doctor", "erp")[0] == 0
    code, out, _ = command("--config", config, "doctor", "crm", "--json")
    assert code == 1
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert found["login"] == {
        "target": "crm",
        "check": "login",
        "state": "wrong",
        "message": "SuperOffice refused the log-in (401)",
        "hint": "check the target's authorization, and what its user may do",
    }
    assert {finding["target"] for finding in found.values()} == {"crm"}


def test_what_is_only_doubtful_ends_with_0(tmp_path: Path, sandbox: Superoffice, command: Command) -> None:
    url = f"{sandbox.url}/old/api"
    config = configuration(tmp_path, crm=sandbox.target("old", url=url))
    path = Path(config) / "sources" / "shop.yaml"
    path.write_text(RULE.replace("SaleSold", "Click"))
    bridge = Path(config) / "bridge.yaml"
    bridge.write_text(bridge.read_text().replace('"rate"', '"version": "auto", "rate"'))
    code, out, err = command("--config", config, "doctor", "--json")
    assert (code, err) == (0, "")
    (version,) = [finding for finding in json.loads(out) if finding["check"] == "version"]
    assert (version["state"], version["message"]) == ("doubtful", "the server is 12.4, which does not list Click")


def test_what_waits_is_told_with_why_and_ends_with_1_where_it_is_stuck(
    tmp_path: Path, sandbox: Superoffice, command: Command
) -> None:
    config = configuration(tmp_path, crm=sandbox.target("well"), erp=sandbox.target("well"))

    def told(*arguments: str) -> tuple[int, list[str]]:
        code, out, _ = command("--config", config, "doctor", *arguments)
        return code, [line for line in out.splitlines() if " events: " in line]

    assert told() == (0, [])  # there is no store yet
    assert command("--config", config, "migrate")[0] == 0
    assert told("crm") == (0, ["crm  ok        events: none waits"])
    url = f"sqlite:///{tmp_path}/var/bridge.db"
    with owned(url) as engine:
        store = Store(engine)

        async def fill() -> None:
            await store.accept(*one(), 0)
            await store.accept(*one(target="gone"), 0)
            (claim,) = (await store.claim("crm", 1, 1000)).claims
            await store.record(claim, an_attempt(Outcome.UNKNOWN), Held("unknown"))
            await store.accept(*one(target="erp"), 0)

        asyncio.run(fill())
        store.close()
    assert command("--config", config, "targets", "pause", "erp")[0] == 0
    code, lines = told()
    assert code == 1
    held, paused, gone = lines
    assert held == (
        "crm  wrong     events: 1 are held: nobody can tell whether SuperOffice took them, look in SuperOffice, then "
        "release or discard those that are held (`bridge events list --state held --target crm`)"
    )
    assert paused.startswith("erp  wrong     events: paused since 20")
    assert ", an operator paused it; 1 wait to be sent, the oldest since 20" in paused
    assert paused.endswith(", `bridge targets resume` sends to it again")
    assert gone.startswith("gone  wrong     events: it is not in the configuration any more; 1 wait to be sent")
    code, out, _ = command("--config", config, "doctor", "erp", "--json")
    assert code == 1
    assert [finding["check"] for finding in json.loads(out)][-2:] == ["send_event", "events"]
    assert command("--config", config, "targets", "resume", "erp")[0] == 0
    (waits,) = told("erp")[1]
    assert waits.startswith("erp  ok        events: 1 wait to be sent, the oldest since 20")


def test_an_unknown_target_is_told_with_the_known_ones(tmp_path: Path, sandbox: Superoffice, command: Command) -> None:
    config = configuration(tmp_path, crm=sandbox.target("a"), erp=sandbox.target("b"))
    code, out, err = command("--config", config, "doctor", "cmr")
    assert (code, out) == (1, "")
    assert err.strip() == "bridge: there is no target cmr, did you mean crm? the targets are crm, erp"


def test_a_configuration_that_cannot_be_built_is_told_first(tmp_path: Path, command: Command) -> None:
    config = configuration(tmp_path, crm={"url": "ftp://x", "authorization": {"scheme": "bearer", "token": "t"}})
    code, out, err = command("--config", config, "doctor")
    assert (code, out) == (1, "")
    assert "targets.crm.url: is not an http:// or https:// URL" in err


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_it_works_beside_a_running_bridge(
    option: tuple[str, ...], make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("beside")}, {"shop": RULE}).start()
    done = bridge.run("doctor", *option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SuperOffice takes the log-in (basic)" in done.stdout
    assert bridge.stop() == 0
    assert sandbox.requests("beside") == {}
