"""kill -9 at random moments under load: what got a 2xx is in the store, and every event reaches the target.

Counted, not sampled: each webhook and each event that ever was is looked at in the end.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from running import Bridge, Superoffice, by_github

KILLS = int(os.environ.get("BRIDGE_KILLS", "20"))
SENDERS = 6
IN_FLIGHT = 16
ENDED = "the bridge ended during the attempt"
SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: whole
    event: {type: Run, attributes: {number: "{{ body.number }}", bridge_id: "{{ event.id }}"}}
  - name: each
    for_each: body.items
    key: item
    event: {type: SaleSold, attributes: {item: "{{ item }}", bridge_id: "{{ event.id }}"}}
"""
EVENTS = 3  # of each webhook, which has two items


@dataclass
class Load:
    """Senders that send one webhook after the other, each until it is accepted."""

    url: str
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    ending: bool = False

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=10) as client:
            await asyncio.gather(*(self._send_on(client, sender) for sender in range(SENDERS)))

    async def _send_on(self, client: httpx.AsyncClient, sender: int) -> None:
        number = 0
        while not self.ending:
            number += 1
            await self._send(client, f"{sender}-{number}")
            await asyncio.sleep(0.03)

    async def _send(self, client: httpx.AsyncClient, delivery: str) -> None:
        body = json.dumps({"number": delivery, "items": [1, 2], "padding": "x" * 2000}).encode()
        headers = by_github(body, delivery)
        while delivery not in self.receipts:
            try:
                answer = await client.post("/webhooks/github", content=body, headers=headers)
            except httpx.TransportError:
                self.cut += 1
                await asyncio.sleep(0.02)
                continue
            self.answers[answer.status_code] += 1
            if answer.is_success:
                self.receipts[delivery] = answer.json()


async def kill_again_and_again(bridge: Bridge) -> None:
    """Half of the kills hit a bridge that serves, the others one that starts, settles or serves."""
    for kill in range(KILLS):
        if kill % 2:
            await asyncio.to_thread(bridge.start)
            await asyncio.sleep(random.uniform(0, 0.6))
        else:
            bridge.spawn()
            await asyncio.sleep(random.uniform(0, 2))
        assert bridge.process is not None
        assert bridge.process.poll() is None, (bridge.root / "bridge.err").read_text()
        assert await asyncio.to_thread(bridge.stop, signal.SIGKILL) == -signal.SIGKILL


async def under_load(bridge: Bridge) -> Load:
    load = Load(bridge.url)
    senders = asyncio.create_task(load.run())
    try:
        await kill_again_and_again(bridge)
        await asyncio.to_thread(bridge.start)
    finally:
        load.ending = True
        with suppress(TimeoutError):
            await asyncio.wait_for(senders, 30)
    assert not senders.cancelled(), "a webhook was never accepted"
    return load


@pytest.mark.faults
def test_nothing_is_lost_by_kill_9(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    target = sandbox.target("killed", max_in_flight=IN_FLIGHT)
    bridge = make_bridge({"crm": target}, {"github": SOURCE})
    sandbox.script("killed", {"fault": "slow", "seconds": 0.02, "times": None})

    load = asyncio.run(under_load(bridge))

    bridge.settled()
    assert bridge.stop() == 0
    recorded = Counter(event["attributes"].rpartition("bridge_id=")[2] for event in sandbox.events("killed"))
    with sqlite3.connect(f"file:{bridge.store}?mode=ro", uri=True) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        webhooks = dict(store.execute("SELECT dedupe_key, id FROM webhooks").fetchall())
        count = store.execute("SELECT count(*) FROM webhooks").fetchone()[0]
        events = dict(store.execute("SELECT id, webhook_id FROM events").fetchall())
        states = dict(store.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
        attempts = store.execute("SELECT event_id, outcome, detail, late FROM attempts").fetchall()
    store.close()

    # Every webhook that got a 2xx is in the store, once, and so is each of its events.
    assert set(load.answers) <= {202, 503}, load.answers
    assert {key: receipt["id"] for key, receipt in load.receipts.items()} == webhooks
    assert count == len(webhooks)
    made = {id_: receipt["id"] for receipt in load.receipts.values() for id_ in receipt["events"]}
    assert made == events
    assert len(events) == EVENTS * len(webhooks)

    # Every event reached the target, none is left, and none came from nowhere.
    assert states == {"delivered": len(events)}
    assert recorded.keys() == events.keys()

    # An event arrived again only where an attempt was in flight when the bridge was killed.
    cut_off = Counter(id_ for id_, outcome, detail, _ in attempts if outcome == "unknown" and detail.startswith(ENDED))
    delivered = Counter(id_ for id_, outcome, _, _ in attempts if outcome == "delivered")
    assert sum(cut_off.values()) + sum(delivered.values()) == len(attempts)
    assert delivered == Counter(dict.fromkeys(events, 1))
    assert not any(late for *_, late in attempts)
    repeated = {id_: times - 1 for id_, times in recorded.items() if times > 1}
    assert {id_: times for id_, times in repeated.items() if times > cut_off[id_]} == {}
    assert sum(cut_off.values()) <= KILLS * IN_FLIGHT

    # It was a test: webhooks kept coming, kills cut both connections and attempts.
    assert len(webhooks) >= 5 * KILLS
    assert load.cut > KILLS
    assert cut_off
