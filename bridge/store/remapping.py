"""Replaces the mapping of a stored webhook: events keep their identity, and those sent stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as changed_receipt
from sqlalchemy import Connection, Row, bindparam, false, literal_column, select, update

from bridge.model import Event, EventState, Receipt, WebhookState
from bridge.store import target_states
from bridge.store.order import Key, advance, key_of, to_the_end
from bridge.store.prepared import Prepared
from bridge.store.tables import events, webhooks
from bridge.store.webhooks import EVENT_COLUMNS, Acceptance, event_row, insert_event, its_key, receipts, why_bytes

PORTION = 1_000  # events: others wait for the writer
_KEPT = frozenset({"id", "created_at", "stored_at"})
_PLACES = [place for place, name in enumerate(EVENT_COLUMNS) if name not in _KEPT]
_replaced: dict[str, Any] = {EVENT_COLUMNS[place]: bindparam(f"new_{EVENT_COLUMNS[place]}") for place in _PLACES}
_anew: dict[str, Any] = {"retries": literal_column("0"), "unclear": literal_column("0"), "probe": false()}
_replace = Prepared(
    lambda _: update(events).where(events.c.id == bindparam("event")).values(_replaced | _anew),
    (*(f"new_{EVENT_COLUMNS[place]}" for place in _PLACES), "event"),
)
_looked_at = [events.c[name] for name in ("id", "state", "target", "source", "order_key")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remap:
    """A new mapping of a stored webhook, of whose events those from `start` on are still to be put in place.

    `again`: also in that of events that are held. `discarded` are those that were by now.
    """

    acceptance: Acceptance
    again: bool = False
    start: int = 0
    discarded: tuple[str, ...] = ()


def remap(connection: Connection, remaps: Sequence[Remap]) -> Sequence[Receipt | Remap]:
    """Put today's mapping of a stored webhook in place of the earlier one, `PORTION` events at a time.

    The answer is what is left to be done, while there is something. What became of the webhook is written last: where
    that was cut off, it is mapped again as if nobody had begun.

    An event that is delivered, being sent or discarded stays, and so does a held one unless asked for again; a pending
    or dead one is replaced and starts anew; a pending one that is no longer made is discarded, unless a rule broke.
    """
    return [_remap(connection, one) for one in remaps]


def _remap(connection: Connection, asked: Remap) -> Receipt | Remap:
    a, made = asked.acceptance, asked.acceptance.mapping.events
    query = select(*_looked_at).where(events.c.webhook_id == a.webhook.id).with_for_update()
    found: dict[str, Row[Any]] = {row.id: row for row in connection.execute(query)}
    if asked.start < len(made):
        end = asked.start + PORTION
        advance(connection, _put(connection, a, made[asked.start : end], found, again=asked.again), a.now)
        if end < len(made):
            return replace(asked, start=end)
    discarded = asked.discarded
    # A rule that broke proves nothing about the events that it made before.
    if a.mapping.state in (WebhookState.MAPPED, WebhookState.IGNORED):
        ids = {event.id for event in made}
        gone = [id_ for id_, row in found.items() if row.state == EventState.PENDING and id_ not in ids]
        some = gone[:PORTION]
        update_ = update(events).where(events.c.id.in_(some))
        connection.execute(update_.values(state=EventState.DISCARDED, reason="remapped"))
        advance(connection, [key_of(found[id_]) for id_ in some], a.now)
        discarded += tuple(some)
        if len(some) < len(gone):
            return replace(asked, start=len(made), discarded=discarded)
    known = {
        "state": a.mapping.state,
        "why": why_bytes(a.mapping),
        "bounded": a.mapping.bounded,
        "repaired": a.mapping.repaired,
    }
    connection.execute(update(webhooks).where(webhooks.c.id == a.webhook.id).values(known))
    return changed_receipt(receipts(connection, {a.webhook.id})[a.webhook.id], discarded=discarded)


def _put(
    connection: Connection, a: Acceptance, made: Sequence[Event], found: Mapping[str, Row[Any]], *, again: bool
) -> list[Key | None]:
    """Insert events, or put them in place of those `found`; return the keys whose first may be another one now."""
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    line: list[str] = []  # what comes behind all others of its key, in order
    touched: list[Key | None] = []
    targets = target_states.load(connection)
    for event in made:
        before, key = found.get(event.id), its_key(a, event)
        if before is None:
            new.append(event_row(a, event, set(), targets))
        elif is_replaced(before.state, again=again):
            row = event_row(a, event, set(), targets)
            changed.append((*(row[place] for place in _PLACES), event.id))
            touched.append(key_of(before))
        else:
            continue
        touched.append(key)
        if key and (before is None or before.state != EventState.PENDING or key_of(before) != key):
            line.append(event.id)
    insert_event.insert(connection, new)
    _replace.change(connection, changed)
    if changed:
        to_the_end(connection, line)
    return touched


def is_replaced(state: str, *, again: bool) -> bool:
    """Whether a remap replaces an event that is in this state."""
    return state in (EventState.PENDING, EventState.DEAD) or (again and state == EventState.HELD)
