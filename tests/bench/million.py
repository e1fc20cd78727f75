"""Databases with few and with very many pending events, and what single operations of the store take on each."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Connection, Engine, text

from bridge.model import (
    Attempt,
    Delivered,
    Event,
    Mapped,
    OnUnknown,
    Outcome,
    Webhook,
    WebhookState,
    event_id,
    new_webhook_id,
)
from bridge.store import attempts, claims, database, webhooks
from bridge.times import now

from . import workload

_BODY = workload.push()
_HEADERS = workload.headers(_BODY)
_COUNTED = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
_EVENTS = f"""
INSERT INTO events (id, webhook_id, source, rule, target, item_key, type, attributes, text, on_unknown, state, attempts,
                    retries, next_attempt_at, probe, created_at, max_age, expires_at)
{_COUNTED}
SELECT 'ev_' || lower(hex(randomblob(16))), 'wh_' || i, 'github', 'push', 'crm', '', 'SaleSold', x'7b7d', x'613d31',
       'retry', 'pending', 0, 0, :at + i % 1000, 0, :at, 1000000000000, :at + 1000000000000 FROM n
"""
_KEYS = f"""
INSERT INTO dedupe (source, key, webhook_id, claimed_at)
{_COUNTED} SELECT 'github', lower(hex(randomblob(16))), 'wh_' || i, :at FROM n
"""


def fill(path: Path, pending: int) -> None:
    """Make a database with so many pending events and known delivery ids."""
    engine = database.writing_engine(f"sqlite:///{path}")
    database.migrate(engine)
    with engine.begin() as connection:
        for statement in (_EVENTS, _KEYS):
            connection.execute(text(statement), {"count": pending, "at": now() - 10_000_000})
    engine.dispose()


def compare(*paths: Path, rounds: int) -> dict[str, tuple[float, ...]]:
    """For each operation: the median seconds of one transaction on each database, taken in turn."""
    engines = [database.writing_engine(f"sqlite:///{path}") for path in paths]
    taken: dict[str, list[list[float]]] = {name: [[] for _ in paths] for name in ("claim", "accept", "record")}
    for _ in range(rounds):
        for number, engine in enumerate(engines):
            times = {name: each[number] for name, each in taken.items()}
            ask = claims.Ask(target="crm", limit=8, now=now(), claimed_at=now(), lease_until=now() + 60_000)
            (claimed,) = _timed(engine, times["claim"], claims.claim, [ask])
            _timed(engine, times["accept"], webhooks.accept, [_acceptance() for _ in range(8)])
            _timed(engine, times["record"], attempts.record, [_result(claim) for claim in claimed.claims])
    for engine in engines:
        engine.dispose()
    return {name: tuple(median(times) for times in each) for name, each in taken.items()}


def _timed(engine: Engine, times: list[float], operation: Callable[[Connection, Any], Any], asked: Any) -> Any:
    began = time.perf_counter()
    with engine.begin() as connection:
        result = operation(connection, asked)
    times.append(time.perf_counter() - began)
    return result


def _acceptance() -> webhooks.Acceptance:
    moment = now()
    id_ = new_webhook_id(moment)
    webhook = Webhook(
        id=id_,
        source="github",
        received_at=moment,
        method="POST",
        query="",
        headers=_HEADERS,
        body=_BODY,
        delivery_id=id_,
    )
    event = Event(
        id=event_id(id_, "push", "crm", "", 0),
        rule="push",
        target="crm",
        item_key="",
        type="SaleSold",
        text="a=1",
        form="pairs",
        rest=b'{"a":1}',
        on_unknown=OnUnknown.RETRY,
        max_age=10**12,
        order_key=None,
        send=True,
    )
    mapping = Mapped(state=WebhookState.MAPPED, events=(event,), dedupe_key=id_)
    return webhooks.Acceptance(webhook=webhook, mapping=mapping, now=moment, created_at=moment, window=1000)


def _result(claim: Any) -> attempts.Result:
    attempt = Attempt(outcome=Outcome.DELIVERED, started_at=now(), duration=5, status=200)
    return attempts.Result(claim=claim, attempt=attempt, decision=Delivered(), now=now(), delivered_at=now())
