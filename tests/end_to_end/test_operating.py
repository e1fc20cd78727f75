"""What an operator does, by the admin API of a running bridge, by command beside it, and by command alone."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Bridge, Superoffice, by_github, eventually, free_port

from bridge.receiving.senders.catalog import SENDERS

from .conftest import Command
from .test_delivery import BROKEN, ISSUES, issue

HOLDING = ISSUES.replace("    event:", "    on_unknown: hold\n    event:")
ORDERED = ISSUES.replace("    event:", "    order_by: body.customer\n    event:")
CLOSED = ORDERED.replace("== 'opened'", "== 'closed'")
REPAIRED = BROKEN.replace("body.issue.number", "body.number")
MANY = ISSUES.replace("    when: body.action == 'opened'", "    for_each: body.items").replace("body.number", "item")
RUN = "rules:\n  - {name: all, event: {type: Run, attributes: {id: '{{ event.id }}'}}}\n"
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
OPERATED = {
    "replayed": ISSUES,
    "held": HOLDING,
    "paused": ISSUES,
    "failed": BROKEN,
    "erased": ISSUES,
    "ordered": ORDERED,
}
WAYS = ("api", "beside")
ADD_IT = "add admin to bridge.yaml and restart it, or stop it first"
HOURS: dict[str, Any] = {"retry": {"first_wait": "1h", "max_wait": "1h"}}


class Hands:
    """One way to ask for a change."""

    def __init__(self, way: str, bridge: Bridge, command: Command) -> None:
        self.way = way
        self._bridge = bridge
        self._command = command

    def ask(self, path: str, *ids: str, yes: bool = True, **which: str) -> Any:
        """Ask for `path`, such as events/replay, and give the JSON that is answered."""
        if self.way == "api":
            content: dict[str, Any] = {"yes": yes, "filter": which} | ({"ids": ids} if ids else {})
            answer = self._bridge.admin.post(f"/api/{path}", json=content)
            assert answer.status_code == 200, answer.text
            return answer.json()
        arguments = [word for name, value in which.items() for word in (f"--{name}", value)]
        arguments += ["--yes"] * (yes and not path.startswith("targets"))
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
        code, out, err = self._command("--config", str(self._bridge.config), *arguments, "--json")
        answer = json.loads(out)
        is_stuck = arguments[:2] == ("targets", "show") and answer["stuck"] > 0
        assert (code, err) == (int(is_stuck), "")
        return answer


def to(name: str, text: str) -> str:
    """A source whose events go to the target of this name."""
    return f"{text}defaults: {{target: {name}}}\n"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Iterator[Bridge]:
    """A bridge that runs for all tests; a test is kept from the others by a source and a target of its own."""
    single = {"many": MANY, "sequence": ORDERED, "lists": ISSUES, "told": ISSUES, "unsent": ISSUES}
    texts = {f"{name}-{way}": text for name, text in OPERATED.items() for way in WAYS} | single
    more = {f"ordered-{way}": HOURS for way in WAYS} | {"many": {"rate": "5000/s", "max_in_flight": 100}}
    targets = {name: sandbox.target(name, **more.get(name, {})) for name in [*texts, "sent"]}
    sources = {name: to(name, text) for name, text in texts.items()}
    sources |= {name: to("sent", f"verify: {verify}\n{RUN}") for name, verify in SCHEMES.items()}
    bridge = Bridge(tmp_path_factory.mktemp("running"), targets, sources)
    bridge.environment["WHSEC"] = "dGVzdC1zZWNyZXQtb2YtdGhlLXRlc3Rz"
    try:
        yield bridge.start()
    finally:
        bridge.close()


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Iterator[tuple[Bridge, Path]]:
    """A stopped bridge with events in every state that an operator finds, and a copy of its store."""
    targets = {name: sandbox.target(f"alone-{name}", **(HOURS if name == "ordered" else {})) for name in OPERATED}
    bridge = Bridge(tmp_path_factory.mktemp("stopped"), targets, {n: to(n, text) for n, text in OPERATED.items()})
    try:
        bridge.start()
        sandbox.script("alone-replayed", {"fault": "rejected", "times": 3})
        sandbox.script("alone-held", {"fault": "cut-after", "times": 2})
        sandbox.script("alone-ordered", {"fault": "503", "times": 3})
        for name, numbers in (("replayed", (1, 2, 3)), ("held", (1, 2)), ("failed", (1,)), ("erased", (1, 2))):
            post(bridge, name, *numbers)
            settled(bridge, name)
        for customer in (1, 2, 3):
            (head,) = post(bridge, "ordered", customer, customer=customer)
            tried(bridge, head)
            post(bridge, "ordered", 10 + customer, customer=customer)
        assert bridge.stop() == 0
        copy = bridge.root / "copy.db"
        shutil.copy(bridge.store, copy)
        yield bridge, copy
    finally:
        bridge.close()


@pytest.fixture
def stopped(left_behind: tuple[Bridge, Path]) -> Bridge:
    """That bridge, with its record and its rules as it left them."""
    bridge, copy = left_behind
    assert bridge.stop() == 0
    for name, text in OPERATED.items():
        bridge.write_source(name, to(name, text))
    for ending in ("-wal", "-shm"):
        bridge.store.with_name(bridge.store.name + ending).unlink(missing_ok=True)
    shutil.copy(copy, bridge.store)
    return bridge


@pytest.fixture
def secrets(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in bridge.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def both(bridge: Bridge, command: Command, secrets: None) -> list[Hands]:
    """Both ways to ask a bridge that runs."""
    return [Hands(way, bridge, command) for way in WAYS]


@pytest.fixture(params=WAYS)
def hand(request: pytest.FixtureRequest, bridge: Bridge, command: Command, secrets: None) -> Hands:
    return Hands(request.param, bridge, command)


@pytest.fixture
def alone(stopped: Bridge, command: Command, monkeypatch: pytest.MonkeyPatch) -> Hands:
    """Commands where no bridge runs, and without any secret."""
    for name in stopped.environment:
        monkeypatch.delenv(name, raising=False)
    return Hands("alone", stopped, command)


def post(bridge: Bridge, source: str, *numbers: int, **more: Any) -> list[str]:
    """Webhooks, each of one event; the events' ids."""
    made = []
    for number in numbers:
        body = json.dumps({"action": "opened", "number": number, **more}).encode()
        answer = bridge.post(source, body, by_github(body, f"delivery-{number}"))
        assert answer.status_code == 202, answer.text
        made += answer.json()["events"]
    return made


def states(bridge: Bridge, source: str) -> list[str]:
    """Of a source's events, oldest first."""
    return [event["state"] for event in bridge.events(source=source)[::-1]]


def settled(bridge: Bridge, source: str) -> list[str]:
    """The same, once none is on its way any more."""
    eventually(lambda: not {"pending", "sending"} & set(states(bridge, source)))
    return states(bridge, source)


def delivered(bridge: Bridge, *ids: str) -> bool:
    return all(bridge.event(id_)["state"] == "delivered" for id_ in ids)


def arrive(bridge: Bridge, *ids: str) -> None:
    """Wait until these are delivered, which is at once."""
    eventually(lambda: delivered(bridge, *ids))


def tried(bridge: Bridge, *ids: str) -> None:
    """Wait until each of these has failed once."""
    eventually(lambda: all(bridge.event(id_)["reason"] == "unavailable" for id_ in ids))


# beside a running bridge


def test_dead_events_are_replayed_and_delivered_at_once(hand: Hands, bridge: Bridge, sandbox: Superoffice) -> None:
    name = f"replayed-{hand.way}"
    sandbox.script(name, {"fault": "rejected", "times": 3})
    first, second, third = post(bridge, name, 1, 2, 3)
    assert settled(bridge, name) == ["dead"] * 3

    preview = hand.ask("events/replay", yes=False, source=name, state="dead")
    assert (preview["count"], preview["already_delivered"], preview["done"]) == (3, 0, 0)
    assert settled(bridge, name) == ["dead"] * 3

    done = hand.ask("events/replay", second)
    assert (done["count"], done["done"], done["ids"]) == (1, 1, [second])
    arrive(bridge, second)
    assert states(bridge, name) == ["dead", "delivered", "dead"]

    assert hand.ask("events/replay", source=name, state="dead")["done"] == 2
    arrive(bridge, first, third)
    assert [tried["outcome"] for tried in bridge.event(first)["attempts"]] == ["rejected", "delivered"]
    assert hand.ask("events/replay", yes=False, source=name)["already_delivered"] == 3
    assert len(sandbox.events(name)) == 3


def test_held_events_are_released_or_discarded(hand: Hands, bridge: Bridge, sandbox: Superoffice) -> None:
    name = f"held-{hand.way}"
    sandbox.script(name, {"fault": "cut-after", "times": 2})
    first, second = post(bridge, name, 1, 2)
    assert settled(bridge, name) == ["held", "held"]

    assert hand.ask("events/discard", second)["ids"] == [second]
    assert (bridge.event(second)["state"], bridge.event(second)["reason"]) == ("discarded", "operator")
    assert hand.ask("events/release", source=name)["ids"] == [first]
    arrive(bridge, first)
    assert states(bridge, name) == ["delivered", "discarded"]


def test_an_erased_webhook_leaves_nothing_and_its_delivery_id_is_new_again(hand: Hands, bridge: Bridge) -> None:
    name = f"erased-{hand.way}"
    private = f"what nobody may know any more, {hand.way}"
    post(bridge, name, 1, private=private)
    post(bridge, name, 2)
    settled(bridge, name)
    kept, gone = (webhook["id"] for webhook in bridge.webhooks(source=name))
    assert bridge.post(name, issue(1), by_github(issue(1), "delivery-1")).json()["id"] == gone

    files = [bridge.store.with_name(bridge.store.name + ending) for ending in ("", "-wal", "-shm")]
    assert any(private.encode() in file.read_bytes() for file in files)
    assert hand.ask("webhooks/erase", gone)["done"] == 1
    assert not any(private.encode() in file.read_bytes() for file in files)
    assert [webhook["id"] for webhook in bridge.webhooks(source=name)] == [kept]
    again = bridge.post(name, issue(1), by_github(issue(1), "delivery-1")).json()
    assert (again["duplicate"], again["id"] != gone) == (False, True)


def test_a_target_is_paused_until_it_is_resumed_across_restarts(
    both: list[Hands], bridge: Bridge, sandbox: Superoffice
) -> None:
    paused, made = {}, {}
    for hand in both:
        name = f"paused-{hand.way}"
        paused[name] = hand.ask(f"targets/{name}/pause")
        told = paused[name]
        assert (told["state"], told["reason"], told["next_probe_at"]) == ("paused", "operator", None)
        made[name] = post(bridge, name, 1, 2)
    bridge.stop()
    bridge.start()
    for hand in both:
        name = f"paused-{hand.way}"
        (target,) = [target for target in hand.ask("targets") if target["name"] == name]
        assert target == hand.ask(f"targets/{name}")
        assert (target["state"], target["pending"]) == ("paused", 2)
        assert target["paused_at"] == paused[name]["paused_at"]
        assert states(bridge, name) == ["pending", "pending"]
        assert sandbox.requests(name) == {}

        assert hand.ask(f"targets/{name}/resume")["state"] == "open"
        arrive(bridge, *made[name])


def test_a_failed_webhook_is_mapped_and_delivered_by_the_repaired_rule(
    both: list[Hands], bridge: Bridge, sandbox: Superoffice
) -> None:
    names = [f"failed-{hand.way}" for hand in both]
    for name in names:
        sound = post(bridge, name, 1)
        arrive(bridge, *sound)
    bridge.stop()
    for name in names:
        bridge.write_source(name, to(name, REPAIRED))
    bridge.start()
    for hand, name in zip(both, names, strict=True):
        (webhook,) = bridge.webhooks(state="failed", source=name)
        preview = hand.ask("webhooks/remap", yes=False, state="failed", source=name)
        assert (preview["count"], preview["untouched"], preview["already_delivered"]) == (1, 1, 1)
        assert (preview["done"], preview["new_count"]) == (0, 1)
        assert [new["rule"] for new in preview["new"]] == ["issue"]
        assert len(bridge.events(source=name)) == 1

        done = hand.ask("webhooks/remap", webhook["id"])
        assert (done["done"], done["new"], done["failed"]) == (1, preview["new"], [])
        arrive(bridge, preview["new"][0]["id"])
        assert bridge.webhooks(source=name)[0]["state"] == "mapped"
        assert len(sandbox.events(name)) == 2


def test_what_waits_behind_a_discarded_an_erased_or_a_remapped_event_is_delivered_at_once(
    both: list[Hands], bridge: Bridge, sandbox: Superoffice
) -> None:
    lines: dict[str, tuple[list[str], list[str]]] = {}
    for hand in both:
        name = f"ordered-{hand.way}"
        sandbox.script(name, {"fault": "503", "times": 3})
        heads = [post(bridge, name, number, customer=number)[0] for number in (1, 2, 3)]
        tried(bridge, *heads)
        followers = [post(bridge, name, 10 + number, customer=number)[0] for number in (1, 2, 3)]
        assert {bridge.event(id_)["reason"] for id_ in followers} == {"waits for an earlier event of its order_by"}
        lines[name] = heads, followers

        hand.ask("events/discard", heads[0])
        arrive(bridge, followers[0])
        hand.ask("webhooks/erase", bridge.event(heads[1])["webhook_id"])
        arrive(bridge, followers[1])
    bridge.stop()
    for name in lines:
        bridge.write_source(name, to(name, CLOSED))
    bridge.start()
    for hand, (heads, followers) in zip(both, lines.values(), strict=True):
        hand.ask("webhooks/remap", bridge.event(heads[2])["webhook_id"])
        assert bridge.event(heads[2])["reason"] == "remapped"
        arrive(bridge, followers[2])


def test_a_replay_of_many_is_done_in_portions_while_webhooks_come_in(bridge: Bridge, sandbox: Superoffice) -> None:
    sandbox.script("many", {"fault": "rejected", "times": 450})
    body = json.dumps({"items": list(range(450))}).encode()
    assert len(bridge.post("many", body, by_github(body)).json()["events"]) == 450
    assert set(settled(bridge, "many")) == {"dead"}
    content = {"filter": {"state": "dead", "source": "many"}, "yes": True}
    done = bridge.admin.post("/api/events/replay", json=content).json()
    assert (done["count"], done["done"], len(done["ids"])) == (450, 450, 100)
    assert set(settled(bridge, "many")) == {"delivered"}
    assert len(sandbox.events("many")) == 450
    assert [line["action"] for line in bridge.told("operator.changed", events=450)] == ["replay"]


def test_events_of_one_value_arrive_in_order_whatever_the_target_does(bridge: Bridge, sandbox: Superoffice) -> None:
    sandbox.script(
        "sequence",
        *({"fault": fault} for fault in ("503", "200", "cut-before", "500", "200", "429", "503")),
    )
    made = post(bridge, "sequence", *range(20), customer="anna")
    eventually(lambda: delivered(bridge, *made))
    got = [event["attributes"].partition(";")[0] for event in sandbox.events("sequence")]
    assert list(dict.fromkeys(got)) == [f"number={number}" for number in range(20)]


def test_what_is_shown_first_is_by_the_rules_that_run_and_says_where_the_files_differ(
    hand: Hands, bridge: Bridge, command: Command
) -> None:
    def told() -> list[tuple[Any, str | None]]:
        preview = hand.ask("webhooks/remap", webhook, yes=False)
        answers = [(preview["untouched"], preview["note"])]
        for path in (f"explain/{made}", f"webhooks/{webhook}"):
            if hand.way == "api":
                answer = bridge.admin.get(f"/api/{path}").json()
            else:
                answer = hand.call(
                    *{"explain": ["explain"], "webhooks": ["webhooks", "show"]}[path.split("/")[0]], path.split("/")[1]
                )
            answers.append((answer["why"][0]["matched"], answer["note"]))
        return answers

    (made,) = post(bridge, "unsent", 5)
    arrive(bridge, made)
    webhook = bridge.event(made)["webhook_id"]
    by_the_rules_that_run = [1, True, True]
    assert told() == [(answer, None) for answer in by_the_rules_that_run]
    try:
        for text in (to("unsent", CLOSED), "rules: ["):
            bridge.write_source("unsent", text)
            assert [answer for answer, _ in told()] == by_the_rules_that_run
            assert {note and note.partition(",")[0] for _, note in told()} == {"the files differ from what runs"}
        assert hand.ask("webhooks/remap", webhook)["note"].startswith("the files differ")
        out = command("--config", str(bridge.config), "explain", made)[1]
        assert "Note: the files differ from what runs, whose rules these are; restart the bridge" in out
    finally:
        bridge.write_source("unsent", to("unsent", ISSUES))
    assert told() == [(answer, None) for answer in by_the_rules_that_run]


def test_who_asks_and_why_is_in_the_bridges_log(bridge: Bridge, command: Command, secrets: None) -> None:
    who = ("--as", "Åse", "--note", "moving house")
    for verb in ("pause", "resume"):
        assert command("--config", str(bridge.config), "targets", verb, "unsent", *who)[0] == 0
    (made,) = post(bridge, "unsent", 77)
    arrive(bridge, made)
    assert command("--config", str(bridge.config), "events", "discard", made, "--yes", *who)[0] == 0
    changed = {"filter": {"source": "unsent", "state": "delivered"}, "yes": True, "note": "again"}
    headers = {"X-Operator": "Bo"}
    assert bridge.admin.post("/api/events/replay", json=changed, headers=headers).json()["done"] >= 1

    def told() -> list[dict[str, Any]]:
        return [line for line in bridge.lines() if line.get("by") in ("Åse", "Bo")]

    eventually(lambda: len(told()) == 4)
    assert [(line["action"], line["by"], line["note"]) for line in told()] == [
        ("pause", "Åse", "moving house"),
        ("resume", "Åse", "moving house"),
        ("discard", "Åse", "moving house"),
        ("replay", "Bo", "again"),
    ]
    assert told()[3]["filter"] == {"source": "unsent", "state": "delivered"}
    assert made in told()[3]["ids"]


def test_lists_of_the_api_are_those_of_the_commands(
    bridge: Bridge, sandbox: Superoffice, command: Command, secrets: None
) -> None:
    sandbox.script("lists", {"fault": "rejected"})
    made = post(bridge, "lists", 1, 2, 3)
    body = b'{"action": "closed"}'
    ignored = bridge.post("lists", body, by_github(body)).json()["id"]
    settled(bridge, "lists")
    mapped = bridge.event(made[0])["webhook_id"]
    for arguments, path in (
        (("events", "list"), "events"),
        (("events", "list", "--state", "dead"), "events?state=dead"),
        (("events", "list", "--limit", "2"), "events?limit=2"),
        (("events", "show", made[0]), f"events/{made[0]}"),
        (("webhooks", "list", "--source", "lists"), "webhooks?source=lists"),
        (("webhooks", "show", mapped), f"webhooks/{mapped}"),
        (("webhooks", "show", ignored), f"webhooks/{ignored}"),
    ):
        code, out, _ = command("--config", str(bridge.config), *arguments, "--json")
        assert code == 0
        assert json.loads(out) == bridge.admin.get(f"/api/{path}").json()


# where no bridge runs


def test_alone_dead_events_are_replayed(alone: Hands, stopped: Bridge) -> None:
    first, second, third = (event["id"] for event in stopped.events(source="replayed")[::-1])
    preview = alone.ask("events/replay", yes=False, source="replayed", state="dead")
    assert (preview["count"], preview["already_delivered"], preview["done"]) == (3, 0, 0)
    assert states(stopped, "replayed") == ["dead"] * 3
    done = alone.ask("events/replay", second)
    assert (done["count"], done["done"], done["ids"]) == (1, 1, [second])
    assert states(stopped, "replayed") == ["dead", "pending", "dead"]
    assert alone.ask("events/replay", source="replayed", state="dead")["ids"] == [first, third]
    assert states(stopped, "replayed") == ["pending"] * 3


def test_alone_held_events_are_released_or_discarded(alone: Hands, stopped: Bridge) -> None:
    first, second = (event["id"] for event in stopped.events(source="held")[::-1])
    assert alone.ask("events/discard", second)["ids"] == [second]
    assert stopped.event(second)["reason"] == "operator"
    assert alone.ask("events/release", source="held")["ids"] == [first]
    assert states(stopped, "held") == ["pending", "discarded"]


def test_alone_a_target_is_paused_and_resumed(alone: Hands) -> None:
    paused = alone.ask("targets/paused/pause")
    assert (paused["state"], paused["reason"], paused["next_probe_at"]) == ("paused", "operator", None)
    assert paused in alone.ask("targets")
    assert alone.ask("targets/paused") == paused
    assert alone.ask("targets/paused/resume")["state"] == "open"


def test_alone_a_failed_webhook_is_mapped_by_the_repaired_rule(alone: Hands, stopped: Bridge) -> None:
    stopped.write_source("failed", to("failed", REPAIRED))
    preview = alone.ask("webhooks/remap", yes=False, state="failed")
    assert (preview["count"], preview["untouched"], preview["already_delivered"], preview["done"]) == (1, 1, 1, 0)
    assert [new["rule"] for new in preview["new"]] == ["issue"]
    assert states(stopped, "failed") == ["delivered"]
    done = alone.ask("webhooks/remap", state="failed")
    assert (done["done"], done["new"], done["failed"]) == (1, preview["new"], [])
    assert states(stopped, "failed") == ["delivered", "pending"]
    assert stopped.webhooks(source="failed")[0]["state"] == "mapped"


def test_alone_an_erased_webhook_leaves_nothing(alone: Hands, stopped: Bridge) -> None:
    kept, gone = (webhook["id"] for webhook in stopped.webhooks(source="erased"))
    assert alone.ask("webhooks/erase", yes=False, source="erased")["count"] == 2
    assert alone.ask("webhooks/erase", gone)["done"] == 1
    assert [webhook["id"] for webhook in stopped.webhooks(source="erased")] == [kept]
    assert [event["webhook_id"] for event in stopped.events(source="erased")] == [kept]


def test_all_that_was_changed_while_no_bridge_ran_is_delivered_once_it_starts(
    alone: Hands, stopped: Bridge, sandbox: Superoffice
) -> None:
    ordered = [event["id"] for event in stopped.events(source="ordered")[::-1]]
    heads, followers = ordered[::2], ordered[1::2]
    assert {stopped.event(id_)["reason"] for id_ in followers} == {"waits for an earlier event of its order_by"}
    alone.ask("events/discard", heads[0])
    alone.ask("webhooks/erase", stopped.event(heads[1])["webhook_id"])
    stopped.write_source("ordered", to("ordered", CLOSED))
    alone.ask("webhooks/remap", stopped.event(heads[2])["webhook_id"])
    assert stopped.event(heads[2])["reason"] == "remapped"
    alone.ask("events/replay", source="replayed")
    alone.ask("events/release", source="held")
    stopped.write_source("failed", to("failed", REPAIRED))
    alone.ask("webhooks/remap", state="failed")
    gone = stopped.webhooks(source="erased")[1]["id"]
    alone.ask("webhooks/erase", gone)
    alone.ask("targets/paused/pause")

    stopped.start()
    again = stopped.post("erased", issue(1), by_github(issue(1), "delivery-1")).json()
    assert (again["duplicate"], again["id"] != gone) == (False, True)
    made = post(stopped, "paused", 1)
    arrive(stopped, *followers)
    for name, expected in (("replayed", 3), ("held", 2), ("failed", 2), ("erased", 2)):
        assert settled(stopped, name) == ["delivered"] * expected
    assert len(sandbox.events("alone-replayed")) == 3
    assert (states(stopped, "paused"), sandbox.requests("alone-paused")) == (["pending"], {})
    stopped.stop()
    alone.ask("targets/paused/resume")
    assert states(stopped, "paused") == ["pending"]
    assert stopped.event(made[0])["attempts"] == []


# what cannot be asked


def test_what_a_running_bridge_refuses_is_told_in_a_line(
    bridge: Bridge, command: Command, secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: str) -> str:
        code, out, err = command("--config", str(bridge.config), *arguments)
        assert (code, out) == (1, "")
        assert len(err.splitlines()) == 1
        return err

    gone = "bridge: there is no event ev_gone, `bridge events list` shows the newest\n"
    assert refused("events", "replay", "ev_gone", "--yes") == refused("events", "replay", "ev_gone") == gone
    assert refused("targets", "pause", "nope").startswith("bridge: there is no target nope, the targets are erased-")
    changes = (("targets", "pause", "lists"), ("events", "discard", "--state", "dead", "--yes"))
    monkeypatch.setenv("ADMIN_TOKEN", "wrong")
    for arguments in changes:
        assert refused(*arguments) == (
            "bridge: the running bridge refuses the admin token, give this command the same one\n"
        )
    monkeypatch.delenv("ADMIN_TOKEN")
    for arguments in changes:
        assert "`ADMIN_TOKEN` is not set" in refused(*arguments)


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ("nobody", "bridge: the running bridge does not answer at http://127.0.0.1:PORT/api/PATH (ConnectError)\n"),
        ("webhooks", "bridge: there is nothing at this path\n"),
        ("none", f"bridge: the store belongs to a running bridge that has no admin port, {ADD_IT}\n"),
    ],
    ids=["nobody", "webhooks", "none"],
)
def test_where_a_running_bridge_cannot_be_asked_a_change_says_so_and_looking_goes_on(
    admin: str, told: str, bridge: Bridge, command: Command, secrets: None
) -> None:
    copy = bridge.root / f"config-{admin}"  # of the same store
    shutil.copytree(bridge.config, copy)
    settings = json.loads((copy / "bridge.yaml").read_text())
    settings["admin"]["port"] = port = free_port() if admin == "nobody" else bridge.port
    if admin == "none":
        del settings["admin"]
    (copy / "bridge.yaml").write_text(json.dumps(settings))
    for path, *arguments in (
        ("events/replay", "events", "replay", "--state", "dead", "--yes"),
        ("webhooks/remap", "webhooks", "remap", "--source", "lists", "--yes"),
        ("targets/lists/pause", "targets", "pause", "lists"),
    ):
        code, out, err = command("--config", str(copy), *arguments)
        assert (code, out) == (1, "")
        assert err.startswith(told.replace("PORT", str(port)).replace("PATH", path))
        assert len(err.splitlines()) == 1
    if admin != "none":
        return
    for arguments in (
        ["events", "replay", "--source", "lists"],
        ["webhooks", "remap", "--source", "lists"],
        ["webhooks", "erase", "--source", "lists"],
        ["targets", "list"],
        ["targets", "show", "lists"],
    ):
        seen, asked = (command("--config", str(path), *arguments, "--json") for path in (copy, bridge.config))
        assert (seen[0], seen[2]) == (0, "")
        answers = [json.loads(out) for _, out, _ in (seen, asked)]
        if "remap" in arguments:
            notes = [answer.pop("note") for answer in answers]
            assert notes[0].startswith(told.removeprefix("bridge: ").rstrip())
            assert notes[1] is None
        assert answers[0] == answers[1]


# send, explain


def test_send_signs_like_each_sender_so_that_a_running_bridge_accepts_it(
    bridge: Bridge, sandbox: Superoffice, command: Command, secrets: None
) -> None:
    payload = bridge.root / "payload.json"
    payload.write_text('{"id": "evt_1", "event_id": "Ev1",\n "ü": 1.10}')
    for name, verify in SCHEMES.items():
        sender = SENDERS[verify.split("scheme: ")[1].rstrip("}").split(",")[0]]
        code, out, err = command("--config", str(bridge.config), "send", name, str(payload), "-H", "X-More: ü")
        assert (code, err) == (0, ""), (name, out)
        status, answer = out.split(" ", 1)
        assert (status, json.loads(answer)["duplicate"]) == (str(sender.status), False)
        assert settled(bridge, name) == ["delivered"]
    assert len(sandbox.events("sent")) == len(SCHEMES)

    code, out, _ = command("--config", str(bridge.config), "send", "stripe", str(payload), "--url", bridge.url)
    assert (code, '"duplicate":true' in out) == (0, True)  # the id is in the body


def test_send_where_no_bridge_runs_says_so(stopped: Bridge, command: Command, secrets: None) -> None:
    payload = stopped.root / "payload.json"
    payload.write_bytes(issue(1))
    code, out, err = command("--config", str(stopped.config), "send", "replayed", str(payload))
    assert (code, out) == (1, "")
    assert err.startswith(f"bridge: no bridge answers at {stopped.url} (ConnectError), start it")


def test_send_of_what_the_bridge_refuses_is_exit_code_1(
    bridge: Bridge, command: Command, secrets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "another")
    payload = bridge.root / "unsent.json"
    payload.write_bytes(issue(1))
    code, out, _ = command("--config", str(bridge.config), "send", "unsent", str(payload))
    assert (code, out.split(" ", 1)[0]) == (1, "401")
    assert "Note: the running bridge has another secret for this source" in out


def test_the_whole_story_is_told_beside_a_running_bridge_without_secrets(
    bridge: Bridge, sandbox: Superoffice, command: Command
) -> None:
    sandbox.script("told", {"fault": "503"})
    (made,) = post(bridge, "told", 1)
    eventually(lambda: delivered(bridge, made))
    body = b'{"action": "closed"}'
    ignored = bridge.post("told", body, by_github(body)).json()["id"]

    code, out, err = command("--config", str(bridge.config), "explain", made)
    assert (code, err) == (0, "")
    webhook = bridge.event(made)["webhook_id"]
    for told in (webhook, "issue: matched, 1 event(s)", "outcome=unavailable", "outcome=delivered"):
        assert told in out
    code, out, _ = command("--config", str(bridge.config), "explain", ignored)
    assert "issue: did not match, false was body.action == 'opened'\n      body.action: \"closed\"" in out
    code, out, _ = command("--config", str(bridge.config), "explain", made, "--json")
    story = json.loads(out)
    assert set(story) == {"webhook", "why", "error", "events", "note"}
    assert "`ADMIN_TOKEN` is not set" in story["note"]
    assert story["note"].endswith("; so these are the rules of the files")
    assert [tried["outcome"] for tried in story["events"][0]["attempts"]] == ["unavailable", "delivered"]
    assert command("--config", str(bridge.config), "explain", "wh_none")[::2] == (
        1,
        "bridge: there is no webhook wh_none, `bridge webhooks list` shows the newest\n",
    )
