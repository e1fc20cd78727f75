"""What the tests of this room share: a configuration in a directory, and an operator who owns its store."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clocks import Hand
from sqlalchemy import Engine

from bridge.errors import StoreError
from bridge.mapping.rules import Rules
from bridge.model import (
    Attempt,
    Claim,
    Dead,
    Decision,
    Delivered,
    EventState,
    Held,
    Outcome,
    Receipt,
    Webhook,
    new_webhook_id,
)
from bridge.operations.actions.operator import Operator
from bridge.operations.queries import Queries
from bridge.receiving.processing import process
from bridge.receiving.sources import SourceRules
from bridge.service.rules import build_rules
from bridge.settings.configuration import Names, Source
from bridge.settings.loading import load
from bridge.store import reader
from bridge.store.actions import Action, Changed, Erased
from bridge.store.reader import Reader
from bridge.store.store import Store
from bridge.target_state import TargetTransition

NOW = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 14 * DAY
LEASE = 30_000

TARGETS = {
    name: {"url": f"http://127.0.0.1:1/{name}/api", "authorization": {"scheme": "bearer", "token": "t"}}
    for name in ("crm", "erp")
}
LINES = """
verify: {scheme: none}
rules:
  - name: line
    for_each: body.lines
    key: item.id
    event: {type: SaleSold, attributes: {sku: "{{ item.sku }}"}}
"""


class Configuration:
    """A directory with `bridge.yaml` and sources."""

    def __init__(self, root: Path, **sources: str) -> None:
        self.directory = root / "config"
        (self.directory / "sources").mkdir(parents=True)
        bridge = {"targets": TARGETS, "default_target": "crm"}
        (self.directory / "bridge.yaml").write_text(json.dumps(bridge))
        for name, text in sources.items():
            self.write(text, name)

    def write(self, text: str, name: str = "shop") -> Path:
        path = self.directory / "sources" / f"{name}.yaml"
        path.write_bytes(text.encode())
        return path

    def write_payload(self, name: str, content: Any) -> None:
        path = self.directory / "payloads" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def built(self) -> list[SourceRules]:
        return build_rules(self.directory)

    def names(self) -> Names:
        return load(self.directory, strict=False)[0].names

    def source(self, name: str = "shop") -> tuple[Source, Rules]:
        return next((source, rules) for source, rules in self.built() if source.name == name)


class Watched(Store):
    """A store that tells how many events each change was asked of, and that may fail at the second thing asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[int] = []
        self.fails_with: StoreError | None = None
        self.asked_twice = asyncio.Event()
        self._calls = itertools.count(1)

    async def change(self, action: Action, ids: Sequence[str]) -> Changed:
        self.asked.append(len(ids))
        self._count()
        return await super().change(action, ids)

    async def remap(self, *arguments: Any, **options: Any) -> Receipt:
        self._count()
        return await super().remap(*arguments, **options)

    async def erase(self, webhook_id: str) -> Erased:
        self._count()
        return await super().erase(webhook_id)

    def _count(self) -> None:
        if next(self._calls) == 2:
            self.asked_twice.set()
            if self.fails_with:
                raise self.fails_with


class Office:
    """An operator, the store, a clock to turn, and a note of whom the operator woke."""

    def __init__(self, root: Path, engine: Engine, url: str) -> None:
        self.hand = Hand(NOW)
        self.url = url
        self.engine = engine
        self.store = Watched(engine, self.hand)
        self.woken: list[set[str]] = []
        self.changed: list[TargetTransition] = []
        self.configuration = Configuration(root, shop=LINES)

    @property
    def operator(self) -> Operator:
        """By the rules as they are written now."""
        queries = Queries(
            reader=Reader(self.url),
            rules=self.rules(),
            names=self.configuration.names(),
            target_urls={name: str(target["url"]) for name, target in TARGETS.items()},
        )
        return Operator(store=self.store, queries=queries, wake=self._wake, changed=self.changed.append)

    def _wake(self, targets: Iterable[str]) -> None:
        self.woken.append(set(targets))

    def rules(self) -> dict[str, Rules]:
        return {source.name: rules for source, rules in self.configuration.built()}

    async def receive(self, body: Any, key: str | None = None, source: str = "shop") -> str:
        """A webhook, mapped and stored; its id."""
        webhook = Webhook(
            id=new_webhook_id(self.hand()),
            source=source,
            received_at=self.hand(),
            method="POST",
            query="",
            headers={"content-type": "application/json"},
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            delivery_id=key,
        )
        receipt = await self.store.accept(webhook, process(self.rules()[source], webhook), WINDOW)
        return receipt.webhook_id

    async def receive_lines(self, *skus: str, key: str | None = None) -> str:
        return await self.receive({"lines": [{"id": n, "sku": sku} for n, sku in enumerate(skus)]}, key)

    async def claim(self, count: int = 1000, target: str = "crm") -> list[Claim]:
        return list((await self.store.claim(target, count, LEASE)).claims)

    async def end(self, claims: Iterable[Claim], state: EventState) -> None:
        """Record attempts that bring events into a state."""
        decisions: Mapping[EventState, tuple[Outcome, Decision]] = {
            EventState.DELIVERED: (Outcome.DELIVERED, Delivered()),
            EventState.DEAD: (Outcome.REJECTED, Dead("rejected")),
            EventState.HELD: (Outcome.UNKNOWN, Held("unknown")),
        }
        outcome, decision = decisions[state]
        for claim in claims:
            await self.store.record(claim, Attempt(outcome=outcome, started_at=self.hand(), duration=1), decision)

    async def bring(self, state: EventState) -> None:
        """Bring all pending events into a state, as events come into it."""
        if state is EventState.PENDING:
            return
        if state is EventState.DISCARDED:
            await self.store.change(Action.DISCARD, [event["id"] for event in self.events(state="pending")])
            return
        claims = await self.claim()
        if state is not EventState.SENDING:
            await self.end(claims, state)

    def events(self, **which: Any) -> list[dict[str, Any]]:
        """Events, oldest first."""
        with reader.reading(self.url) as connection:
            return reader.list_events(connection, reader.Filter(**which), 10_000)[::-1]

    def webhook(self, id_: str) -> dict[str, Any]:
        with reader.reading(self.url) as connection:
            return reader.show_webhook(connection, id_)

    def webhooks(self) -> list[str]:
        with reader.reading(self.url) as connection:
            return [webhook["id"] for webhook in reader.list_webhooks(connection, reader.Filter())[::-1]]
