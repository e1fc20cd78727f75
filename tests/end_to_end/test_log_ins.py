"""Real bridges that log in: to a sandbox that gives tickets and tokens, ends them, and gives another refresh token."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from running import Bridge, Superoffice, by_github, eventually

from bridge.sandbox.logins import LogIns
from bridge.sandbox.superoffice import Sandbox, serving

EACH = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: run
    target: "{{ body.target }}"
    event: {type: Run, attributes: {bridge_id: "{{ event.id }}"}}
"""


def deliver(bridge: Bridge, target: str) -> None:
    body = b'{"target": "%s"}' % target.encode()
    before = len(bridge.events(state="delivered"))
    assert bridge.post("github", body, by_github(body)).status_code == 202
    eventually(lambda: len(bridge.events(state="delivered")) > before)


def told(bridge: Bridge) -> str:
    """All that the bridge wrote or shows."""
    files = [path.read_bytes().decode("latin-1") for path in bridge.root.rglob("*") if path.is_file()]
    shown = [bridge.run(*command).stdout for command in (("targets", "show", "crm"), ("events", "list", "--json"))]
    configuration = (bridge.config / "bridge.yaml").read_text()
    return "".join(shown + [text for text in files if text != configuration])


def test_both_log_ins_deliver_and_go_on_when_what_they_gave_has_ended(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    key = sandbox.client.get("/sandbox/private-key").text
    logins: dict[str, dict[str, Any]] = {
        "user": {
            "scheme": "system_user",
            "tenant": "log-in-user",
            "system_token": "sandbox",
            "app_token": "sandbox",
            "private_key": "${file:key.pem}",
        },
        "oauth": {"scheme": "oauth", "client_id": "sandbox", "client_secret": "sandbox", "refresh_token": "sandbox"},
    }
    targets = {
        name: sandbox.target(f"log-in-{name}", authorization=authorization | {"environment": sandbox.url})
        for name, authorization in logins.items()
    }
    bridge = make_bridge(targets, {"github": EACH})
    (bridge.config / "key.pem").write_text(key)
    bridge.start()
    for _ in range(2):
        for name in logins:
            deliver(bridge, name)
        sandbox.client.delete("/sandbox/logins").raise_for_status()
    for name in logins:
        assert sandbox.requests(f"log-in-{name}") == {"200": 2, "401": 1}
    assert bridge.stop() == 0
    renewed = [line for line in bridge.lines() if line["event"] == "login.renewed"]
    assert {(line["target"], line["scheme"]) for line in renewed} == {("user", "system_user"), ("oauth", "oauth")}
    assert [line for line in bridge.lines() if line["level"] == "error"] == []


@pytest.mark.anyio
async def test_another_refresh_token_outlives_the_bridge_and_nobody_can_read_it(
    make_bridge: Callable[..., Bridge],
) -> None:
    sandbox = Sandbox(log_ins=LogIns(rotates=True))
    given = set()
    async with serving(sandbox) as url:
        authorization = {
            "scheme": "oauth",
            "environment": url,
            "client_id": "sandbox",
            "client_secret": "sandbox",
            "refresh_token": "sandbox",
        }
        targets = {"crm": {"url": f"{url}/crm/api", "authorization": authorization}}
        bridge = make_bridge(targets, {"github": EACH})
        for _ in range(2):
            await asyncio.to_thread(bridge.start)
            await asyncio.to_thread(deliver, bridge, "crm")
            given.add(sandbox.log_ins.refresh_token)
            assert await asyncio.to_thread(bridge.stop) == 0
        text = await asyncio.to_thread(told, bridge)
    assert sandbox.log_ins.count == {"oauth": 2}
    assert sandbox.requests["crm"] == {"200": 2}
    assert len(given) == 2
    assert not [token for token in given if token in text]
    assert "8A:" not in text
