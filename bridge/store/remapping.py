"""Today's mapping of a stored webhook in place of the earlier one: events keep their identity, and those sent stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, bindparam, false, literal_column, select, update

from bridge.model import EventState, Receipt, WebhookState
from bridge.store.order import advance, key_of, to_the_end
from bridge.store.prepared import Prepared
from bridge.store.tables import events, webhooks
from bridge.store.webhooks import EVENT_COLUMNS, Acceptance, event_row, insert_event, its_key, receipts, why_bytes

_KEPT = frozenset({"id", "created_at", "stored_at"})
_PLACES = [place for place, name in enumerate(EVENT_COLUMNS) if name not in _KEPT]
_replaced: dict[str, Any] = {EVENT_COLUMNS[place]: bindparam(f"new_{EVENT_COLUMNS[place]}") for place in _PLACES}
_anew: dict[str, Any] = {"retries": literal_column("0"), "unclear": literal_column("0"), "probe": false()}
_replace = Prepared(
    lambda _: update(events).where(events.c.id == bindparam("event")).values(_replaced | _anew),
    (*(f"new_{EVENT_COLUMNS[place]}" for place in _PLACES), "event"),
)
_discard = Prepared(
    lambda _: (
        update(events)
        .where(events.c.id == bindparam("event"))
        .values(state=literal_column("'discarded'"), reason=literal_column("'remapped'"))
    ),
    ("event",),
)
_looked_at = [events.c[name] for name in ("id", "state", "target", "source", "order_key")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remap:
    """A new mapping of a stored webhook. `again`: also of events that are held."""

    acceptance: Acceptance
    again: bool = False


def remap(connection: Connection, remaps: Sequence[Remap]) -> Sequence[Receipt]:
    """Put today's mapping of a stored webhook in place of the earlier one.

    An event that is delivered, being sent or discarded stays, and so does a held one unless asked for again; a pending
    or dead one is replaced and starts anew; a pending one that is no longer made is discarded, unless a rule broke.
    """
    return [_remap(connection, one.acceptance, again=one.again) for one in remaps]


def _remap(connection: Connection, a: Acceptance, *, again: bool) -> Receipt:
    query = select(*_looked_at).where(events.c.webhook_id == a.webhook.id).with_for_update()
    found: dict[str, Row[Any]] = {row.id: row for row in connection.execute(query)}
    touched = [key_of(row) for row in found.values()]
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    line: list[str] = []  # what comes behind all others of its key, in order
    for event in a.mapping.events:
        before, key = found.get(event.id), its_key(a, event)
        row = event_row(a, event)
        if before is None:
            new.append(row)
        elif is_replaced(before.state, again=again):
            changed.append((*(row[place] for place in _PLACES), event.id))
        else:
            continue
        touched.append(key)
        if key and (before is None or before.state != EventState.PENDING or key_of(before) != key):
            line.append(event.id)
    insert_event.insert(connection, new)
    _replace.change(connection, changed)
    if changed:
        to_the_end(connection, line)
    gone: list[str] = []
    # A rule that broke proves nothing about the events that it made before.
    if a.mapping.state in (WebhookState.MAPPED, WebhookState.IGNORED):
        made = {event.id for event in a.mapping.events}
        gone = [id_ for id_, row in found.items() if row.state == EventState.PENDING and id_ not in made]
        _discard.change(connection, [(id_,) for id_ in gone])
    advance(connection, touched, a.now)
    known = {
        "state": a.mapping.state,
        "why": why_bytes(a.mapping),
        "bounded": a.mapping.bounded,
        "repaired": a.mapping.repaired,
    }
    connection.execute(update(webhooks).where(webhooks.c.id == a.webhook.id).values(known))
    return replace(receipts(connection, {a.webhook.id})[a.webhook.id], discarded=tuple(gone))


def is_replaced(state: str, *, again: bool) -> bool:
    """Whether a remap replaces an event that is in this state."""
    return state in (EventState.PENDING, EventState.DEAD) or (again and state == EventState.HELD)
