"""Operator actions in SQL: replay, discard, release and erase, with their previews."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select, update

from bridge.errors import StoreError
from bridge.model import EventState
from bridge.store import target_states
from bridge.store.batches import batch, size_of
from bridge.store.deleting import delete_some
from bridge.store.order import advance, key_of, to_the_end
from bridge.store.reader import Filter, filtered_events, filtered_webhooks
from bridge.store.tables import attempts, events, is_delivered_in_order, webhooks
from bridge.target_state import TargetState
from bridge.times import iso_or_none


class Action(StrEnum):
    """What may be done to an event."""

    REPLAY = "replay"  # send it again, whatever became of it
    DISCARD = "discard"  # never send it
    RELEASE = "release"  # send a held one again


_MOVED = [events.c[name] for name in ("id", "seq", "target", "source", "order_key", "max_age")]

FROM: dict[Action, tuple[EventState, ...]] = {
    Action.REPLAY: (EventState.DEAD, EventState.HELD, EventState.DELIVERED, EventState.DISCARDED),
    Action.DISCARD: (EventState.PENDING, EventState.DEAD, EventState.HELD),
    Action.RELEASE: (EventState.HELD,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Events or webhooks, by id or by filter."""

    ids: tuple[str, ...] | None = None
    filter: Filter = field(default_factory=Filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An action on some events."""

    action: Action
    ids: tuple[str, ...]
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The events that were changed, and those that overtake a later one of their key by it."""

    ids: tuple[str, ...]
    targets: frozenset[str]
    out_of_order: tuple[str, ...] = ()


def change(connection: Connection, changes: Sequence[Change]) -> Sequence[Changed]:
    """Move events; one whose state meanwhile does not allow it is left alone."""
    return [_change(connection, one) for one in changes]


def _change(connection: Connection, asked: Change) -> Changed:
    query = select(*_MOVED).where(events.c.id.in_(asked.ids), events.c.state.in_(FROM[asked.action]))
    rows = connection.execute(query.order_by(events.c.seq).with_for_update()).all()
    ordered = [row.id for row in rows if row.order_key is not None] if asked.action is Action.REPLAY else []
    late = _overtaking(connection, query) if ordered else []
    targets = target_states.load(connection)
    for row in rows:
        values = _values(asked, row, target_states.of(targets, row.target))
        connection.execute(update(events).where(events.c.id == row.id).values(**values))
    to_the_end(connection, ordered)
    advance(connection, map(key_of, rows), asked.now)
    return Changed(
        ids=tuple(row.id for row in rows), targets=frozenset(row.target for row in rows), out_of_order=tuple(late)
    )


def _values(asked: Change, row: Any, target: TargetState) -> dict[str, Any]:
    if asked.action is Action.DISCARD:
        return {"state": EventState.DISCARDED, "reason": "operator"}
    return {
        "state": EventState.PENDING,
        "reason": asked.action,
        "retries": 0,
        "unclear": 0,
        "next_attempt_at": asked.now,
        "delivered_at": None,
        "expires_at": target.clock(asked.now) + row.max_age,
    }


def _overtaking(connection: Connection, query: Select[Any], limit: int | None = None) -> list[str]:
    """Those of some events of whose key a later one was delivered, in order of commit."""
    chosen = query.subquery()
    same = [events.c[name] == chosen.c[name] for name in ("target", "source", "order_key")]
    later = exists().where(*same, is_delivered_in_order, events.c.seq > chosen.c.seq)
    return list(connection.execute(select(chosen.c.id).where(later).order_by(chosen.c.seq).limit(limit)).scalars())


def selected_events(selection: Selection, action: Action) -> Select[Any]:
    """The rows of events that an action would change."""
    query = filtered_events(select(events), selection.filter).where(events.c.state.in_(FROM[action]))
    return query if selection.ids is None else query.where(events.c.id.in_(selection.ids))


def selected_webhooks(selection: Selection) -> Select[Any]:
    """The rows of webhooks that a selection names."""
    query = filtered_webhooks(select(webhooks), selection.filter)
    return query if selection.ids is None else query.where(webhooks.c.id.in_(selection.ids))


def preview_events(connection: Connection, selection: Selection, action: Action, listed: int) -> dict[str, Any]:
    """How many events an action would change, of what time, and how many of them were delivered before.

    `out_of_order`: the first `listed` ids of those that a replay would send after a later one of their key.
    """
    query = selected_events(selection, action)
    found = query.subquery()
    delivered = exists().where(attempts.c.event_id == found.c.id, attempts.c.outcome == "delivered")
    count, oldest, newest = connection.execute(
        select(func.count(), func.min(found.c.created_at), func.max(found.c.created_at)).select_from(found)
    ).one()
    duplicates = connection.execute(select(func.count()).select_from(found).where(delivered)).scalar()
    return {
        "count": count,
        "oldest": iso_or_none(oldest),
        "newest": iso_or_none(newest),
        "already_delivered": duplicates,
        "out_of_order": _overtaking(connection, query, listed) if action is Action.REPLAY else [],
    }


def preview_webhooks(connection: Connection, selection: Selection) -> dict[str, Any]:
    """How many webhooks a selection names, and of what time."""
    found = selected_webhooks(selection).subquery()
    count, oldest, newest = connection.execute(
        select(func.count(), func.min(found.c.received_at), func.max(found.c.received_at)).select_from(found)
    ).one()
    return {"count": count, "oldest": iso_or_none(oldest), "newest": iso_or_none(newest)}


def ids_after(connection: Connection, query: Select[Any], cursor: int, count: int) -> tuple[int | None, list[str]]:
    """The next few ids of a selection, at most `count`, in order of commit, and where to go on (None: nowhere)."""
    found = query.subquery()
    following = select(found.c.seq, found.c.id, size_of(found)).where(found.c.seq > cursor)
    rows = connection.execute(following.order_by(found.c.seq).limit(count + 1)).all()
    some = batch(rows, count)
    return (some[-1].seq if len(some) < len(rows) else None), [row.id for row in some]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase:
    """A webhook that is to go."""

    webhook_id: str
    now: int


class Erased(StrEnum):
    """What became of the wish to erase a webhook."""

    DONE = "done"
    PARTLY = "partly"  # ask again for the rest
    BEING_SENT = "being_sent"  # one of its events is: it stays, or what is left of it
    ABSENT = "absent"  # there is none


def erase(connection: Connection, asks: Sequence[Erase]) -> Sequence[Erased]:
    """Delete webhooks with all that came of them, or something of them."""
    ids = [ask.webhook_id for ask in asks]
    sending = select(events.c.webhook_id).where(events.c.webhook_id.in_(ids), events.c.state == EventState.SENDING)
    busy = set(connection.execute(sending).scalars())
    there = set(connection.execute(select(webhooks.c.id).where(webhooks.c.id.in_(set(ids) - busy))).scalars())
    are_gone, made = delete_some(connection, there)
    advance(connection, map(key_of, made), max(ask.now for ask in asks))
    erased = Erased.DONE if are_gone else Erased.PARTLY
    return [erased if id_ in there else Erased.BEING_SENT if id_ in busy else Erased.ABSENT for id_ in ids]


def existing(connection: Connection, ids: Sequence[str], table: str) -> None:
    """Make sure that every id is there.

    Raises:
        StoreError: the first that is not.
    """
    column = events.c.id if table == "event" else webhooks.c.id
    found = set(connection.execute(select(column).where(column.in_(ids))).scalars())
    if missing := [id_ for id_ in ids if id_ not in found]:
        raise StoreError(f"there is no {table} {missing[0]}, `bridge {table}s list` shows the newest")
