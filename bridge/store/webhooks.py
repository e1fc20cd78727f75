"""Accepting webhooks: the webhook, its claim on its dedupe key and its events, in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, select, tuple_
from sqlalchemy.sql.elements import ClauseElement

from bridge import jsontext
from bridge.errors import StoreError
from bridge.model import Event, EventState, Mapped, Receipt, Webhook, WebhookState
from bridge.store import duplicates, target_states
from bridge.store.dialects import Dialect
from bridge.store.duplicates import Duplicate
from bridge.store.order import WAITING, Key, free
from bridge.store.prepared import Insertion, Prepared
from bridge.store.tables import dedupe, events, webhooks
from bridge.target_state import TargetState


def _claim_of(dialect: Dialect) -> ClauseElement:
    """Take a key that is free, or whose holder's window is over."""
    insert = dialect.insert(dedupe)
    claim: ClauseElement = insert.on_conflict_do_update(
        index_elements=[dedupe.c.source, dedupe.c.key],
        set_={"webhook_id": insert.excluded.webhook_id, "claimed_at": insert.excluded.claimed_at},
        where=dedupe.c.claimed_at <= bindparam("expired"),
    )
    return claim


_claim = Prepared(_claim_of, ("source", "key", "webhook_id", "claimed_at", "expired"))
_WEBHOOK_COLUMNS = (
    *("id", "source", "state", "received_at", "dedupe_key", "head", "body", "why", "bounded", "repaired"),
    "stored_at",
)
_insert_webhook = Insertion(webhooks, _WEBHOOK_COLUMNS)
EVENT_COLUMNS = (
    *("id", "webhook_id", "source", "rule", "target", "item_key", "type", "attributes", "text", "on_unknown", "state"),
    *("reason", "next_attempt_at", "created_at", "max_age", "expires_at", "order_key", "headers", "form", "stored_at"),
    "traceparent",
)
_PENDING, _DISCARDED = EventState.PENDING.value, EventState.DISCARDED.value
insert_event = Insertion(events, EVENT_COLUMNS, {"attempts": 0, "retries": 0, "probe": False})


class Acceptance(Struct, frozen=True):
    """A verified, mapped webhook on its way into the store. `now` is by the running, `created_at` by the wall clock."""

    webhook: Webhook
    mapping: Mapped
    now: int
    created_at: int
    window: int


def accept(connection: Connection, acceptances: Sequence[Acceptance]) -> Sequence[Receipt]:
    """Store each webhook with its events, or tell which earlier one it repeats."""
    repeats = _claim_keys(connection, acceptances)
    new = [a for a in acceptances if a.webhook.id not in repeats] if repeats else acceptances
    if new:
        _insert_webhook.insert(connection, [_webhook_row(a) for a in new])
    first = free(connection, {key for a in new for event in a.mapping.events if (key := its_key(a, event))})
    made = [(a, event) for a in new for event in a.mapping.events]
    if made:
        targets = target_states.load(connection)
        insert_event.insert(connection, [event_row(a, event, first, targets) for a, event in made])
    repeated = _repeated(connection, acceptances, repeats) if repeats else {}
    return [
        repeated[a.webhook.id]
        if a.webhook.id in repeats
        else Receipt(
            webhook_id=a.webhook.id,
            event_ids=tuple([event.id for event in a.mapping.events]),
            state=a.mapping.state,
            duplicate=False,
            bounded=a.mapping.bounded,
        )
        for a in acceptances
    ]


def _claim_keys(connection: Connection, acceptances: Sequence[Acceptance]) -> dict[str, str]:
    """The webhooks whose dedupe key an earlier one holds, by their ids: the id of that one."""
    rows = [
        (a.webhook.source, a.mapping.dedupe_key, a.webhook.id, a.now, a.now - a.window)
        for a in acceptances
        if a.mapping.dedupe_key is not None
    ]
    if not rows or _claim.change(connection, rows) == len(rows):
        return {}
    identity = tuple_(dedupe.c.source, dedupe.c.key)
    keys = [(source, key) for source, key, *_ in rows]
    held = connection.execute(select(dedupe.c.source, dedupe.c.key, dedupe.c.webhook_id).where(identity.in_(keys)))
    holders = {(source, key): webhook_id for source, key, webhook_id in held}
    firsts = {id_: holders[source, key] for source, key, id_, *_ in rows}
    return {id_: first for id_, first in firsts.items() if id_ != first}


def _repeated(
    connection: Connection, acceptances: Sequence[Acceptance], repeats: Mapping[str, str]
) -> dict[str, Receipt]:
    """The receipts of webhooks that repeat others, by their ids."""
    came = {
        a.webhook.id: Duplicate(repeats[a.webhook.id], a.webhook.body, a.created_at)
        for a in acceptances
        if a.webhook.id in repeats
    }
    firsts = receipts(connection, set(repeats.values()))
    differ = duplicates.note(connection, list(came.values()))
    return {
        id_: replace(firsts[one.first], differs=True) if differs else firsts[one.first]
        for (id_, one), differs in zip(came.items(), differ, strict=True)
    }


class Look(Struct, frozen=True):
    """A webhook with its dedupe key; a claim made at `expired` or before is over. `at` is by the wall clock."""

    webhook: Webhook
    key: str
    expired: int
    at: int


def look(connection: Connection, looks: Sequence[Look]) -> Sequence[Receipt | None]:
    """Which stored webhook each one repeats; None where it would be the first."""
    return [_first(connection, one) for one in looks]


def _first(connection: Connection, look: Look) -> Receipt | None:
    claimed = (dedupe.c.source == look.webhook.source, dedupe.c.key == look.key)
    holder = select(dedupe.c.webhook_id).where(*claimed, dedupe.c.claimed_at > look.expired)
    first = connection.execute(holder).scalar()
    if first is None:
        return None
    (differs,) = duplicates.note(connection, [Duplicate(first, look.webhook.body, look.at)])
    return replace(receipts(connection, {first})[first], differs=differs)


def receipts(connection: Connection, ids: set[str]) -> dict[str, Receipt]:
    """What is told of stored webhooks to whoever sends them again, by their ids."""
    if not ids:
        return {}
    columns = select(webhooks.c.id, webhooks.c.state, webhooks.c.bounded)
    found = connection.execute(columns.where(webhooks.c.id.in_(ids))).all()
    made: dict[str, list[str]] = {id_: [] for id_ in ids}
    its_events = select(events.c.webhook_id, events.c.id).where(events.c.webhook_id.in_(ids)).order_by(events.c.seq)
    for webhook_id, event_id in connection.execute(its_events):
        made[webhook_id].append(event_id)
    return {
        id_: Receipt(
            webhook_id=id_, event_ids=tuple(made[id_]), state=WebhookState(state), duplicate=True, bounded=bounded
        )
        for id_, state, bounded in found
    }


def its_key(a: Acceptance, event: Event) -> Key | None:
    """Which events wait for an event, and it for them."""
    return None if event.order_key is None else Key(event.target, a.webhook.source, event.order_key)


def load(connection: Connection, ids: Sequence[str]) -> Sequence[Webhook]:
    """Stored webhooks, as they were verified.

    Raises:
        StoreError: one is not there.
    """
    found = {webhook.id: webhook for webhook in find(connection, ids)}
    if missing := [id_ for id_ in ids if id_ not in found]:
        raise StoreError(f"there is no webhook {missing[0]}")
    return [found[id_] for id_ in ids]


def find(connection: Connection, ids: Sequence[str]) -> list[Webhook]:
    """Those of some webhooks that are stored, as they were verified, in order of commit."""
    query = select(webhooks).where(webhooks.c.id.in_(ids)).order_by(webhooks.c.seq)
    return [_webhook(row) for row in connection.execute(query)]


def _webhook(row: Any) -> Webhook:
    head = jsontext.decode(row.head)
    return Webhook(
        id=row.id,
        source=row.source,
        received_at=row.received_at,
        method=head["method"],
        query=head["query"],
        headers=head["headers"],
        body=row.body,
        delivery_id=head["delivery_id"],
    )


def _webhook_row(a: Acceptance) -> tuple[Any, ...]:
    webhook, mapping = a.webhook, a.mapping
    head = {
        "method": webhook.method,
        "query": webhook.query,
        "headers": dict(webhook.headers),
        "delivery_id": webhook.delivery_id,
    }
    return (
        webhook.id,
        webhook.source,
        mapping.state._value_,
        webhook.received_at,
        mapping.dedupe_key,
        jsontext.encode(head),
        webhook.body,
        why_bytes(mapping),
        mapping.bounded,
        mapping.repaired,
        a.now,
    )


def event_row(a: Acceptance, event: Event, first: set[Key], targets: Mapping[str, TargetState]) -> tuple[Any, ...]:
    """The values of `EVENT_COLUMNS`. An event is due at once where it has no key, or is the `first` of it.

    max_age goes by the clock of its target, one of `targets`.
    """
    target = target_states.of(targets, event.target)
    due = a.now
    if event.order_key is not None and event.send:
        key = Key(event.target, a.webhook.source, event.order_key)
        due = a.now if key in first else WAITING
        first.discard(key)
    return (
        event.id,
        a.webhook.id,
        a.webhook.source,
        event.rule,
        event.target,
        event.item_key,
        event.type,
        event.rest,
        event.text.encode(),
        event.on_unknown._value_,
        _PENDING if event.send else _DISCARDED,
        None if event.send else "shadow",
        due,
        a.created_at,
        event.max_age,
        target.clock(a.now) + event.max_age,
        event.order_key,
        None if event.headers is None else jsontext.encode(dict(event.headers)),
        event.form,
        a.now,
        event.traceparent,
    )


def why_bytes(mapping: Mapped) -> bytes | None:
    """What is stored of why."""
    if mapping.state is WebhookState.MAPPED:
        return None
    return jsontext.encode({"error": mapping.error, "rules": [why.as_json() for why in mapping.why]})
