"""What the tests of this room share: webhooks, mappings, attempts, a clock to turn, and calls made at once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Engine, select

from bridge import jsontext
from bridge.attribute_text import untold
from bridge.model import (
    Attempt,
    Claim,
    Event,
    Mapped,
    OnUnknown,
    Outcome,
    Webhook,
    WebhookState,
    Why,
    event_id,
    new_webhook_id,
)
from bridge.store.store import Store
from bridge.store.tables import attempts, events, webhooks

NOW = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 14 * DAY
LEASE = 30_000


def a_webhook(at: int = NOW, **fields: Any) -> Webhook:
    """A webhook of its own."""
    usual: dict[str, Any] = {
        "id": new_webhook_id(at),
        "source": "shop",
        "received_at": at,
        "method": "POST",
        "query": "",
        "headers": {"content-type": "application/json"},
        "body": b"{}",
    }
    return Webhook(**usual | fields)


def an_event(webhook: Webhook, item: str = "", **fields: Any) -> Event:
    """An event that rule `order` makes of an item of a webhook."""
    rule, target = fields.get("rule", "order"), fields.get("target", "crm")
    attributes = fields.pop("attributes", {"item": item})
    text = jsontext.as_text(attributes)
    form, rest = (None, jsontext.encode(attributes)) if "text" in fields else untold(attributes, text, "json")
    usual: dict[str, Any] = {
        "id": event_id(webhook.id, rule, target, item, 0),
        "rule": rule,
        "target": target,
        "item_key": item,
        "type": "OrderPlaced",
        "text": text,
        "form": form,
        "rest": rest,
        "on_unknown": OnUnknown.RETRY,
        "max_age": 2 * DAY,
    }
    return Event(**usual | fields)


def mapped(*made: Event, key: str | None = None) -> Mapped:
    """A mapping that made these events, or ignored the webhook where there are none."""
    return Mapped(state=WebhookState.MAPPED if made else WebhookState.IGNORED, events=made, dedupe_key=key)


def failed(*made: Event, error: str = "when: there is no `id` in `body.id`") -> Mapped:
    """A mapping in which one rule broke beside those that made these events."""
    why = (Why(rule="broken", matched=False, error=error),)
    return Mapped(state=WebhookState.FAILED, events=made, why=why)


def one(webhook: Webhook | None = None, **fields: Any) -> tuple[Webhook, Mapped]:
    """A webhook and its mapping to one event."""
    webhook = webhook or a_webhook()
    return webhook, mapped(an_event(webhook, **fields))


def an_attempt(outcome: Outcome = Outcome.DELIVERED, **fields: Any) -> Attempt:
    """What one POST showed."""
    usual: dict[str, Any] = {"outcome": outcome, "started_at": NOW, "duration": 12}
    return Attempt(**usual | fields)


def states(engine: Engine) -> list[str]:
    """The states of all events, in order of commit."""
    with engine.connect() as connection:
        return list(connection.execute(select(events.c.state).order_by(events.c.seq)).scalars())


def event_row(engine: Engine, event_id: str) -> Any:
    """One event as it is stored."""
    with engine.connect() as connection:
        return connection.execute(select(events).where(events.c.id == event_id)).one()


def webhook_ids(engine: Engine) -> list[str]:
    """The ids of all webhooks, in order of commit."""
    with engine.connect() as connection:
        return list(connection.execute(select(webhooks.c.id).order_by(webhooks.c.seq)).scalars())


@asynccontextmanager
async def at_once(store: Store) -> AsyncIterator[None]:
    """What is asked of the store meanwhile is committed together, when all have asked."""
    busy, free = threading.Event(), threading.Event()

    def wait(_connection: Connection, asks: Sequence[None]) -> Sequence[None]:
        busy.set()
        free.wait()
        return [None] * len(asks)

    waiting = asyncio.create_task(store._writer.run(wait, None))
    try:
        await asyncio.to_thread(busy.wait)
        yield
    finally:
        free.set()
    await waiting


async def together(store: Store, *calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run calls of a store as one batch of its writer; return what each gave or raised."""
    async with at_once(store):
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)  # a turn for each to get in line
    return await asyncio.gather(*tasks, return_exceptions=True)


def ids(claims: Iterable[Any]) -> list[str]:
    """The events of some claims."""
    return [claim.event_id for claim in claims]


def writing(engine: Engine) -> Any:
    """The driver's connection that a writer is going to use: a writing engine has one only."""
    with engine.connect() as connection:
        return connection.connection.dbapi_connection


async def pending(store: Store, count: int, **fields: object) -> list[str]:
    """Store events of one webhook; return their ids, in order of commit."""
    webhook = a_webhook()
    made = [an_event(webhook, str(n), **fields) for n in range(count)]
    await store.accept(webhook, mapped(*made), WINDOW)
    return [event.id for event in made]


async def claim_one(store: Store) -> Claim:
    (claimed,) = (await store.claim("crm", 1, LEASE)).claims
    return claimed


def attempt_rows(engine: Engine) -> list[Any]:
    columns = [column for column in attempts.c if column.name != "seq"]
    with engine.connect() as connection:
        return list(connection.execute(select(*columns).order_by(attempts.c.seq)).all())
