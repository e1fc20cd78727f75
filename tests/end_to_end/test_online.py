"""A tenant of SuperOffice Online that moves and goes away, under a real bridge, and what its operator sees of it."""

import json
from collections.abc import Callable
from typing import Any

from running import Bridge, Superoffice, by_github, eventually

from .test_delivery import ISSUES, issue

ID = "Cust20251"


def picked(target: dict[str, Any]) -> list[Any]:
    return [target[key] for key in ("url", "tenant", "tenant_state", "state", "reason")]


def test_a_tenant_is_found_followed_and_waited_for(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    target: dict[str, Any] = sandbox.target(ID, online={"environment": sandbox.url, "tenant": ID})
    del target["url"]
    bridge = make_bridge(
        {"crm": target | {"authorization": {"scheme": "bearer", "token": "8A:sandbox"}}}, {"shop": ISSUES}
    ).start()

    def tell(**state: Any) -> None:
        sandbox.client.post("/sandbox/tenants", json={"tenant": ID} | state).raise_for_status()

    def send(number: int) -> None:
        body = issue(number)
        assert bridge.post("shop", body, by_github(body)).status_code == 202

    def shown() -> list[Any]:
        return picked(bridge.admin.get("/api/targets/crm").json())

    assert shown() == [None, None, None, "open", None]
    send(1)
    bridge.settled()
    eventually(lambda: shown() == [f"{sandbox.url}/online1/{ID}/api", ID, "Running", "open", None])

    tell(host="online2", left_behind=404)
    send(2)
    bridge.settled()
    moved = f"{sandbox.url}/online2/{ID}/api"
    eventually(lambda: shown() == [moved, ID, "Running", "open", None])
    assert picked(json.loads(bridge.run("targets", "show", "crm", "--json", secrets=False).stdout)) == shown()

    tell(state="OfflineMaintenance")
    send(3)
    eventually(lambda: shown() == [None, ID, "OfflineMaintenance", "paused", "tenant"])
    assert "OfflineMaintenance" in bridge.run("targets", "list").stdout
    tell(state="Running")
    assert [event["state"] for event in bridge.settled()] == ["delivered"] * 3
    eventually(lambda: shown() == [moved, ID, "Running", "open", None])

    assert bridge.stop() == 0
    lines = [line for line in bridge.lines() if line["event"].startswith(("target.", "bridge.started"))]
    assert lines[0]["targets"] == [{"name": "crm", "url": f"{ID} at {sandbox.url}"}]
    assert [line["event"] for line in lines[1:]] == [
        *("target.located", "target.located", "target.paused", "target.resumed"),
    ]
    assert (lines[3]["reason"], lines[3]["level"]) == ("tenant", "warning")
    assert [len(sandbox.events(f"{host}/{ID}")) for host in ("online1", "online2")] == [1, 2]
