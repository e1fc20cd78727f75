"""Deleting old webhooks in small transactions, so that nobody waits long for the writer."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, tuple_

from bridge.model import EventState
from bridge.store.tables import attempts, dedupe, events, webhooks

_BATCH = 200
_UNDECIDED = (EventState.PENDING, EventState.SENDING, EventState.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Webhooks stored before a moment, in order of commit, from after `cursor` on."""

    before: int
    cursor: int


def forget(connection: Connection, asks: Sequence[Forget]) -> Sequence[tuple[int | None, int]]:
    """Delete the next few; return where to go on (None: nowhere) and how many went."""
    return [_forget(connection, ask) for ask in asks]


def _forget(connection: Connection, ask: Forget) -> tuple[int | None, int]:
    stored_at = func.coalesce(webhooks.c.stored_at, webhooks.c.received_at).label("stored_at")
    columns = (webhooks.c.seq, webhooks.c.id, stored_at)
    query = select(*columns).where(webhooks.c.seq > ask.cursor)
    rows = connection.execute(query.order_by(webhooks.c.seq).limit(_BATCH)).all()
    old = [row.id for row in rows if row.stored_at < ask.before]
    undecided = select(events.c.webhook_id).where(events.c.webhook_id.in_(old), events.c.state.in_(_UNDECIDED))
    gone = delete_webhooks(connection, set(old) - set(connection.execute(undecided).scalars()))
    finished = len(rows) < _BATCH or rows[-1].stored_at >= ask.before
    return (None if finished else rows[-1].seq), len(gone)


def delete_webhooks(connection: Connection, ids: set[str]) -> set[str]:
    """Delete webhooks with their events, attempts and dedupe keys; return which were there."""
    rows = connection.execute(
        select(webhooks.c.id, webhooks.c.source, webhooks.c.dedupe_key).where(webhooks.c.id.in_(ids))
    ).all()
    its_events = select(events.c.id).where(events.c.webhook_id.in_(ids))
    keys = [(row.source, row.dedupe_key) for row in rows if row.dedupe_key is not None]
    connection.execute(delete(attempts).where(attempts.c.event_id.in_(its_events)))
    connection.execute(delete(events).where(events.c.webhook_id.in_(ids)))
    # The key may meanwhile belong to a younger webhook, that came after the window.
    its_keys = tuple_(dedupe.c.source, dedupe.c.key).in_(keys)
    connection.execute(delete(dedupe).where(its_keys, dedupe.c.webhook_id.in_(ids)))
    connection.execute(delete(webhooks).where(webhooks.c.id.in_(ids)))
    return {row.id for row in rows}
