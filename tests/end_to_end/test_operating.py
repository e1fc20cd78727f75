"""What an operator does, by the admin API of a running bridge, by command beside it, and by command alone."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from running import ADMIN_TOKEN, SECRET, Bridge, Superoffice, by_github, eventually, free_port

from .conftest import Command
from .test_delivery import BROKEN, ISSUES, issue

Change = Callable[..., Any]
MakeBridge = Callable[..., Bridge]

HOLDING = ISSUES.replace("    event:", "    on_unknown: hold\n    event:")
ORDERED = ISSUES.replace("    event:", "    order_by: body.customer\n    event:")
REPAIRED = BROKEN.replace("body.issue.number", "body.number")


class Hands:
    """One way to ask for a change."""

    def __init__(self, way: str, bridge: Bridge, command: Command) -> None:
        self.way = way
        self._bridge = bridge
        self._command = command

    def ask(self, path: str, *ids: str, yes: bool = True, again: bool = False, **which: str) -> Any:
        """Ask for `path`, such as events/replay, and give the JSON that is answered."""
        if self.way == "api":
            content: dict[str, Any] = {"yes": yes, "filter": which} | ({"ids": ids} if ids else {})
            answer = self._bridge.admin.post(f"/api/{path}", json=content | ({"again": True} if again else {}))
            assert answer.status_code == 200, answer.text
            return answer.json()
        arguments = [word for name, value in which.items() for word in (f"--{name}", value)]
        arguments += ["--yes"] * (yes and not path.startswith("targets")) + ["--again"] * again
        return self.call(*self.words(path), *ids, *arguments)

    def words(self, path: str) -> list[str]:
        match path.split("/"):
            case ["targets"]:
                return ["targets", "list"]
            case ["targets", name, verb]:
                return ["targets", verb, name]
            case ["targets", name]:
                return ["targets", "show", name]
        return path.split("/")

    def call(self, *arguments: str) -> Any:
        if self.way == "alone":
            assert self._bridge.stop() == 0
        code, out, err = self._command("--config", str(self._bridge.config), *arguments, "--json")
        assert (code, err) == (0, "")
        if self.way == "alone":
            self._bridge.start()
        return json.loads(out)


HandsOf = Callable[[Bridge], Hands]


@pytest.fixture(params=["api", "beside", "alone"])
def hands(request: pytest.FixtureRequest, command: Command, monkeypatch: pytest.MonkeyPatch) -> HandsOf:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN_TOKEN)
    return lambda bridge: Hands(request.param, bridge, command)


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """A tenant of the shared sandbox that only this test has."""
    return re.sub(r"\W", "-", request.node.name)


def post(bridge: Bridge, *numbers: int, **more: Any) -> list[str]:
    """Webhooks, each of one event; the events' ids."""
    made = []
    for number in numbers:
        body = json.dumps({"action": "opened", "number": number, **more}).encode()
        answer = bridge.post("github", body, by_github(body, f"delivery-{number}"))
        assert answer.status_code == 202, answer.text
        made += answer.json()["events"]
    return made


def states(bridge: Bridge) -> list[str]:
    return [event["state"] for event in bridge.events()[::-1]]


def delivered(bridge: Bridge, *ids: str) -> bool:
    return all(bridge.event(id_)["state"] == "delivered" for id_ in ids)


def test_dead_events_are_replayed_and_delivered_at_once(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": ISSUES}).start()
    hand = hands(bridge)
    sandbox.script(tenant, {"fault": "rejected", "times": 3})
    first, second, third = post(bridge, 1, 2, 3)
    assert {event["state"] for event in bridge.settled()} == {"dead"}

    preview = hand.ask("events/replay", yes=False, state="dead")
    assert (preview["count"], preview["already_delivered"], preview["done"]) == (3, 0, 0)
    assert {event["state"] for event in bridge.settled()} == {"dead"}

    done = hand.ask("events/replay", second)
    assert (done["count"], done["done"], done["ids"]) == (1, 1, [second])
    eventually(lambda: delivered(bridge, second), 10)
    assert sorted(states(bridge)) == ["dead", "dead", "delivered"]

    assert hand.ask("events/replay", state="dead")["done"] == 2
    eventually(lambda: delivered(bridge, first, third), 10)
    assert [tried["outcome"] for tried in bridge.event(first)["attempts"]] == ["rejected", "delivered"]
    assert hand.ask("events/replay", yes=False, source="github")["already_delivered"] == 3
    assert len(sandbox.events(tenant)) == 3


def test_held_events_are_released_or_discarded(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": HOLDING}).start()
    hand = hands(bridge)
    sandbox.script(tenant, {"fault": "cut-after", "times": 2})
    first, second = post(bridge, 1, 2)
    eventually(lambda: states(bridge) == ["held", "held"])

    assert hand.ask("events/discard", second)["ids"] == [second]
    assert (bridge.event(second)["state"], bridge.event(second)["reason"]) == ("discarded", "operator")
    assert hand.ask("events/release", source="github")["ids"] == [first]
    eventually(lambda: delivered(bridge, first), 10)
    assert states(bridge) == ["delivered", "discarded"]


def test_a_target_is_paused_until_it_is_resumed_across_restarts(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": ISSUES}).start()
    hand = hands(bridge)
    paused = hand.ask("targets/crm/pause")
    assert (paused["state"], paused["reason"], paused["next_probe_at"]) == ("paused", "operator", None)
    made = post(bridge, 1, 2)
    bridge.stop()
    bridge.start()
    (target,) = hand.ask("targets")
    assert target == hand.ask("targets/crm")
    assert (target["state"], target["pending"], target["paused_at"]) == ("paused", 2, paused["paused_at"])
    assert states(bridge) == ["pending", "pending"]
    assert sandbox.requests(tenant) == {}

    assert hand.ask("targets/crm/resume")["state"] == "open"
    eventually(lambda: delivered(bridge, *made), 10)


def test_a_failed_webhook_is_mapped_and_delivered_by_the_repaired_rule(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": BROKEN}).start()
    hand = hands(bridge)
    sound = post(bridge, 1)
    eventually(lambda: delivered(bridge, *sound))
    (webhook,) = bridge.webhooks(state="failed")
    bridge.stop()
    bridge.write_source("github", REPAIRED)
    bridge.start()

    preview = hand.ask("webhooks/remap", yes=False, state="failed")
    assert (preview["count"], preview["untouched"], preview["already_delivered"], preview["done"]) == (1, 1, 1, 0)
    assert [new["rule"] for new in preview["new"]] == ["issue"]
    assert len(bridge.events()) == 1

    done = hand.ask("webhooks/remap", webhook["id"])
    assert (done["done"], done["new"], done["failed"]) == (1, preview["new"], [])
    eventually(lambda: delivered(bridge, preview["new"][0]["id"]), 10)
    assert bridge.webhooks()[0]["state"] == "mapped"
    assert len(sandbox.events(tenant)) == 2


def test_an_erased_webhook_leaves_nothing_and_its_delivery_id_is_new_again(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": ISSUES}).start()
    hand = hands(bridge)
    post(bridge, 1, 2)
    bridge.settled()
    kept, gone = bridge.webhooks()[0]["id"], bridge.webhooks()[1]["id"]
    assert bridge.post("github", issue(1), by_github(issue(1), "delivery-1")).json()["id"] == gone

    assert hand.ask("webhooks/erase", gone)["done"] == 1
    assert [webhook["id"] for webhook in bridge.webhooks()] == [kept]
    again = bridge.post("github", issue(1), by_github(issue(1), "delivery-1")).json()
    assert (again["duplicate"], again["id"] != gone) == (False, True)


def test_what_waits_behind_a_discarded_an_erased_or_a_remapped_event_is_delivered_at_once(
    hands: HandsOf, make_bridge: MakeBridge, sandbox: Superoffice, tenant: str
) -> None:
    target = sandbox.target(tenant, retry={"first_wait": "1h", "max_wait": "1h"})
    bridge = make_bridge({"crm": target}, {"github": ORDERED}).start()
    hand = hands(bridge)
    sandbox.script(tenant, {"fault": "503", "times": 3})
    heads = [post(bridge, number, customer=number)[0] for number in (1, 2, 3)]
    eventually(lambda: all(event["attempts"] == 1 for event in bridge.events()))
    followers = [post(bridge, 10 + number, customer=number)[0] for number in (1, 2, 3)]
    assert {bridge.event(id_)["reason"] for id_ in followers} == {"waits for an earlier event of its order_by"}

    hand.ask("events/discard", heads[0])
    eventually(lambda: delivered(bridge, followers[0]), 10)
    hand.ask("webhooks/erase", bridge.event(heads[1])["webhook_id"])
    eventually(lambda: delivered(bridge, followers[1]), 10)
    bridge.stop()
    bridge.write_source("github", ORDERED.replace("== 'opened'", "== 'closed'"))
    bridge.start()
    hand.ask("webhooks/remap", bridge.event(heads[2])["webhook_id"])
    assert bridge.event(heads[2])["reason"] == "remapped"
    eventually(lambda: delivered(bridge, followers[2]), 10)


def test_a_replay_of_many_is_done_in_portions_while_webhooks_come_in(
    make_bridge: MakeBridge, sandbox: Superoffice
) -> None:
    source = ISSUES.replace("    when: body.action == 'opened'", "    for_each: body.items")
    source = source.replace("body.number", "item")
    target = sandbox.target("many", rate="5000/s", max_in_flight=100)
    bridge = make_bridge({"crm": target}, {"github": source}).start()
    sandbox.script("many", {"fault": "rejected", "times": 450})
    body = json.dumps({"items": list(range(450))}).encode()
    assert len(bridge.post("github", body, by_github(body)).json()["events"]) == 450
    assert {event["state"] for event in bridge.settled()} == {"dead"}
    done = bridge.admin.post("/api/events/replay", json={"filter": {"state": "dead"}, "yes": True}).json()
    assert (done["count"], done["done"], len(done["ids"])) == (450, 450, 100)
    assert {event["state"] for event in bridge.settled()} == {"delivered"}
    assert len(sandbox.events("many")) == 450
    (line,) = [line for line in bridge.lines() if line["event"] == "operator.changed"]
    assert (line["action"], line["events"]) == ("replay", 450)


def test_events_of_one_value_arrive_in_order_whatever_the_target_does(
    make_bridge: MakeBridge, sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("sequence")}, {"github": ORDERED}).start()
    sandbox.script(
        "sequence",
        *({"fault": fault} for fault in ("503", "200", "cut-before", "500", "200", "429", "503")),
    )
    made = post(bridge, *range(20), customer="anna")
    eventually(lambda: delivered(bridge, *made))
    got = [event["attributes"].partition(";")[0] for event in sandbox.events("sequence")]
    assert list(dict.fromkeys(got)) == [f"number={number}" for number in range(20)]


# what cannot be asked


@pytest.fixture
def as_configured(command: Command, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Runs a command with a bridge's secrets; a clear line is expected, and exit code 1."""

    def refused(bridge: Bridge, *arguments: str, token: str | None = ADMIN_TOKEN) -> str:
        monkeypatch.setenv("SECRET", SECRET)
        monkeypatch.delenv("ADMIN_TOKEN", raising=False)
        if token is not None:
            monkeypatch.setenv("ADMIN_TOKEN", token)
        code, out, err = command("--config", str(bridge.config), *arguments)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        return str(err)

    return refused


def test_what_a_running_bridge_refuses_is_told_in_a_line(
    as_configured: Change, make_bridge: MakeBridge, sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("refusing")}, {"github": ISSUES}).start()
    assert as_configured(bridge, "events", "replay", "ev_gone", "--yes") == (
        "bridge: there is no event ev_gone, `bridge events list` shows the newest\n"
    )
    assert as_configured(bridge, "targets", "pause", "nope") == (
        "bridge: there is no target nope, the targets are crm\n"
    )
    for arguments in (("targets", "list"), ("events", "discard", "--state", "dead", "--yes")):
        assert as_configured(bridge, *arguments, token="wrong") == (
            "bridge: the running bridge refuses the admin token, give this command the same one\n"
        )
        assert "`ADMIN_TOKEN` is not set" in as_configured(bridge, *arguments, token=None)


def test_a_running_bridge_that_cannot_be_asked_is_told_in_a_line(
    as_configured: Change, make_bridge: MakeBridge, sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("deaf")}, {"github": ISSUES}).start()
    settings = json.loads((bridge.config / "bridge.yaml").read_text())
    port = free_port()
    settings["admin"]["port"] = port
    (bridge.config / "bridge.yaml").write_text(json.dumps(settings))
    assert as_configured(bridge, "targets", "list") == (
        f"bridge: the running bridge does not answer at http://127.0.0.1:{port}/api/targets (ConnectError)\n"
    )
    settings["admin"]["port"] = bridge.port  # where webhooks come in
    (bridge.config / "bridge.yaml").write_text(json.dumps(settings))
    assert as_configured(bridge, "targets", "list").startswith("bridge: ")
    del settings["admin"]
    (bridge.config / "bridge.yaml").write_text(json.dumps(settings))
    bridge.stop()
    bridge.start()
    assert as_configured(bridge, "events", "replay", "--state", "dead") == (
        "bridge: the store belongs to a running bridge that has no admin port, "
        "add admin to bridge.yaml and restart it, or stop it first\n"
    )


def test_lists_of_the_api_are_those_of_the_commands(
    make_bridge: MakeBridge, sandbox: Superoffice, command: Command
) -> None:
    bridge = make_bridge({"crm": sandbox.target("lists")}, {"github": ISSUES}).start()
    sandbox.script("lists", {"fault": "rejected"})
    made = post(bridge, 1, 2, 3)
    bridge.settled()
    for arguments, path in (
        (("events", "list"), "events"),
        (("events", "list", "--state", "dead"), "events?state=dead"),
        (("events", "list", "--limit", "2"), "events?limit=2"),
        (("events", "show", made[0]), f"events/{made[0]}"),
        (("webhooks", "list", "--source", "github"), "webhooks?source=github"),
        (("webhooks", "show", bridge.webhooks()[0]["id"]), f"webhooks/{bridge.webhooks()[0]['id']}"),
    ):
        code, out, _ = command("--config", str(bridge.config), *arguments, "--json")
        assert code == 0
        assert json.loads(out) == bridge.admin.get(f"/api/{path}").json()


# send, explain

SCHEMES = {
    "github": '{scheme: github, secrets: ["${SECRET}"]}',
    "standard": '{scheme: standard-webhooks, secrets: ["whsec_${WHSEC}"]}',
    "stripe": '{scheme: stripe, secrets: ["${SECRET}"]}',
    "slack": '{scheme: slack, secrets: ["${SECRET}"]}',
    "shopify": '{scheme: shopify, secrets: ["${SECRET}"]}',
    "hmac": '{scheme: hmac, secrets: ["${SECRET}"], header: X-Sig, encoding: base64, algorithm: sha512, prefix: "v=", '
    'timestamp: "header:X-Time", timestamp_unit: ms, delivery_id: "header:X-Id", '
    'signed: [method, "lit:.", "header:X-Time", "header:X-Id", body]}',
    "token": '{scheme: token, header: X-Token, secrets: ["${SECRET}"]}',
    "basic": '{scheme: basic, username: jürgen, secrets: ["${SECRET}", "old"]}',
    "open": "{scheme: none}",
}


def test_send_signs_like_each_sender_so_that_a_running_bridge_accepts_it(
    make_bridge: MakeBridge, sandbox: Superoffice, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "rules:\n  - {name: all, event: {type: Run, attributes: {id: '{{ event.id }}'}}}\n"
    sources = {name: f"verify: {verify}\n{rule}" for name, verify in SCHEMES.items()}
    bridge = make_bridge({"crm": sandbox.target("sent")}, sources)
    bridge.environment["WHSEC"] = "dGVzdC1zZWNyZXQtb2YtdGhlLXRlc3Rz"
    bridge.start()
    for name, value in bridge.environment.items():
        monkeypatch.setenv(name, value)
    payload = bridge.root / "payload.json"
    payload.write_text('{"id": "evt_1", "event_id": "Ev1",\n "ü": 1.10}')
    for name in SCHEMES:
        code, out, err = command("--config", str(bridge.config), "send", name, str(payload), "-H", "X-More: ü")
        assert (code, err) == (0, ""), (name, out)
        status, answer = out.split(" ", 1)
        assert (status, json.loads(answer)["duplicate"]) == ("202", False)
    assert {webhook["source"] for webhook in bridge.webhooks(state="mapped")} == set(SCHEMES)
    bridge.settled()
    assert len(sandbox.events("sent")) == len(SCHEMES)

    code, out, _ = command("--config", str(bridge.config), "send", "stripe", str(payload), "--url", bridge.url)
    assert (code, '"duplicate":true' in out) == (0, True)  # the id is in the body
    bridge.stop()
    code, out, err = command("--config", str(bridge.config), "send", "github", str(payload))
    assert (code, out) == (1, "")
    assert err.startswith(f"bridge: no bridge answers at {bridge.url} (ConnectError), start it")


def test_send_of_what_the_bridge_refuses_is_exit_code_1(
    make_bridge: MakeBridge, sandbox: Superoffice, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = make_bridge({"crm": sandbox.target("unsent")}, {"github": ISSUES}).start()
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN_TOKEN)
    monkeypatch.setenv("SECRET", "another")
    payload = bridge.root / "payload.json"
    payload.write_bytes(issue(1))
    code, out, _ = command("--config", str(bridge.config), "send", "github", str(payload))
    assert (code, out.split(" ", 1)[0]) == (1, "401")


def test_the_whole_story_is_told_beside_a_running_bridge_without_secrets(
    make_bridge: MakeBridge, sandbox: Superoffice, command: Command
) -> None:
    bridge = make_bridge({"crm": sandbox.target("told")}, {"github": ISSUES}).start()
    sandbox.script("told", {"fault": "503"})
    (made,) = post(bridge, 1)
    eventually(lambda: delivered(bridge, made))
    body = b'{"action": "closed"}'
    ignored = bridge.post("github", body, by_github(body)).json()["id"]

    code, out, err = command("--config", str(bridge.config), "explain", made)
    assert (code, err) == (0, "")
    webhook = bridge.event(made)["webhook_id"]
    for told in (webhook, "issue: matched, 1 event(s)", "outcome=unavailable", "outcome=delivered"):
        assert told in out
    code, out, _ = command("--config", str(bridge.config), "explain", ignored)
    assert "issue: did not match, false was body.action == 'opened'\n      body.action: \"closed\"" in out
    code, out, _ = command("--config", str(bridge.config), "explain", made, "--json")
    story = json.loads(out)
    assert set(story) == {"webhook", "why", "error", "events"}
    assert [tried["outcome"] for tried in story["events"][0]["attempts"]] == ["unavailable", "delivered"]
    assert command("--config", str(bridge.config), "explain", "wh_none")[::2] == (
        1,
        "bridge: there is no webhook wh_none, `bridge webhooks list` shows the newest\n",
    )
