"""From a signed webhook to a recorded event: once, whatever the sender repeats, the target does or the rules say."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from running import HANG, Bridge, Superoffice, by_github, eventually, free_port, superoffice

ISSUES = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: issue
    when: body.action == 'opened'
    event: {type: CreatedRequest, attributes: {number: "{{ body.number }}", bridge_id: "{{ event.id }}"}}
"""
BROKEN = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: sound
    event: {type: Run, attributes: {bridge_id: "{{ event.id }}"}}
  - name: issue
    event: {type: CreatedRequest, attributes: {number: "{{ body.issue.number }}", bridge_id: "{{ event.id }}"}}
"""


def issue(number: int) -> bytes:
    return json.dumps({"action": "opened", "number": number}).encode()


def got(sandbox: Superoffice, tenant: str) -> Counter[str]:
    """How often the sandbox got each event, by the event's id."""
    return Counter(event["attributes"].rpartition("bridge_id=")[2] for event in sandbox.events(tenant))


async def at_once(url: str, count: int, body: bytes, headers: dict[str, str]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=HANG) as client:
        return await asyncio.gather(
            *(client.post("/webhooks/github", content=body, headers=headers) for _ in range(count))
        )


def test_the_same_webhook_50_times_at_once_is_accepted_once(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("at-once")}, {"github": ISSUES}).start()
    body = issue(1)

    answers = asyncio.run(at_once(bridge.url, 50, body, by_github(body, "the-only-one")))

    assert {answer.status_code for answer in answers} == {202}
    receipts: list[dict[str, Any]] = [answer.json() for answer in answers]
    assert sorted(receipt["duplicate"] for receipt in receipts) == [False] + [True] * 49
    assert len({receipt["id"] for receipt in receipts}) == 1
    assert {answer.headers["x-webhook-id"] for answer in answers} == {receipts[0]["id"]}
    assert {tuple(receipt["events"]) for receipt in receipts} == {tuple(receipts[0]["events"])}
    assert [event["state"] for event in bridge.settled()] == ["delivered"]
    assert got(sandbox, "at-once") == {receipts[0]["events"][0]: 1}
    assert len(bridge.webhooks()) == 1


UNCLEAR = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: once
    when: body.number < 10
    on_unknown: hold
    event: {type: CreatedRequest, attributes: {number: "{{ body.number }}", bridge_id: "{{ event.id }}"}}
  - name: again
    when: body.number >= 10
    event: {type: CreatedRequest, attributes: {number: "{{ body.number }}", bridge_id: "{{ event.id }}"}}
"""


@pytest.mark.timing
def test_a_2xx_that_cannot_be_read_is_no_reason_to_send_again(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("unclear")}, {"github": UNCLEAR}).start()

    def sent(number: int) -> str:
        answer = bridge.post("github", issue(number), by_github(issue(number), f"unclear-{number}"))
        (event,) = answer.json()["events"]
        return str(event)

    sandbox.script("unclear", *({"fault": name} for name in ("gzip", "latin-1", "utf-16", "202")))
    read = [sent(number) for number in range(4)]
    assert {event["state"] for event in bridge.settled()} == {"delivered"}
    sandbox.script("unclear", {"fault": "204", "times": None})
    held = sent(5)
    eventually(lambda: bridge.event(held)["state"] == "held")
    eventually(lambda: bridge.admin.get("/api/targets").json()[0]["state"] == "paused")  # which is stored after it
    assert bridge.admin.get("/api/targets").json()[0]["reason"] == "misconfigured"
    dead = sent(11)
    eventually(lambda: bridge.event(dead)["attempts"])
    bridge.stop()
    bridge.start()
    eventually(lambda: bridge.event(dead)["state"] == "dead")

    assert bridge.event(dead)["reason"] == "answer_not_understood"
    assert bridge.event(held)["state"] == "held"
    assert got(sandbox, "unclear") == dict.fromkeys([*read, held], 1) | {dead: 3}


def test_nothing_is_lost_while_the_target_is_down_for_the_whole_intake(make_bridge: Callable[..., Bridge]) -> None:
    port = free_port()
    target = {
        "url": f"http://127.0.0.1:{port}/down/api",
        "authorization": {"scheme": "bearer", "token": "8A:sandbox"},
        "rate": "2000/s",
        "retry": {"first_wait": "100ms", "max_wait": "1s"},
        "breaker": {"after": "none"},  # a pause would keep those from an attempt that come after it
    }
    bridge = make_bridge({"crm": target}, {"github": ISSUES}).start()

    answers = [bridge.post("github", issue(number), by_github(issue(number), f"n-{number}")) for number in range(30)]

    assert {answer.status_code for answer in answers} == {202}
    accepted = [id_ for answer in answers for id_ in answer.json()["events"]]
    eventually(lambda: all(event["attempts"] for event in bridge.events()))
    assert {event["state"] for event in bridge.events()} <= {"pending", "sending"}
    with superoffice(port) as sandbox:
        events = bridge.settled()
        recorded = got(sandbox, "down")
    assert {event["id"]: event["state"] for event in events} == dict.fromkeys(accepted, "delivered")
    assert recorded == dict.fromkeys(accepted, 1)
    outcomes = Counter(attempt["outcome"] for id_ in accepted for attempt in bridge.event(id_)["attempts"])
    assert set(outcomes) == {"unavailable", "delivered"}
    assert outcomes["delivered"] == 30
    assert outcomes["unavailable"] >= 30


def test_a_broken_rule_is_accepted_and_mended_by_sending_the_same_webhook_again(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("mended")}, {"github": BROKEN}).start()
    headers = by_github(issue(7), "redelivered")

    first = bridge.post("github", issue(7), headers)

    assert first.status_code == 202
    sound = first.json()["events"]
    assert len(sound) == 1
    (failed,) = bridge.webhooks()
    assert failed["state"] == "failed"
    assert [(why["rule"], bool(why["error"])) for why in failed["why"]] == [("sound", False), ("issue", True)]
    assert "body.issue.number" in failed["why"][1]["error"]
    assert "attributes.number" in failed["why"][1]["error"]
    bridge.settled()
    assert bridge.stop() == 0
    bridge.write_source("github", BROKEN.replace("body.issue.number", "body.number"))
    bridge.start()

    again = bridge.post("github", issue(7), headers)

    assert again.status_code == 202
    receipt = again.json()
    assert receipt == {"id": first.json()["id"], "events": [*sound, receipt["events"][1]], "duplicate": True}
    events = bridge.settled()
    assert {event["rule"]: event["state"] for event in events} == {"sound": "delivered", "issue": "delivered"}
    assert bridge.webhooks()[0]["state"] == "mapped"
    assert got(sandbox, "mended") == dict.fromkeys(receipt["events"], 1)
    third = bridge.post("github", issue(7), headers)
    assert third.json() == receipt
    assert got(sandbox, "mended") == dict.fromkeys(receipt["events"], 1)
