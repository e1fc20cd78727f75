"""Deletes webhooks that are older than they are kept, in small transactions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from bridge.model import EventState
from bridge.store.batches import batch, size_of
from bridge.store.deleting import delete_some
from bridge.store.tables import events, webhooks

_BATCH = 200
_UNDECIDED = (EventState.PENDING, EventState.SENDING, EventState.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Webhooks stored before a moment, in order of commit, from after `cursor` on."""

    before: int
    cursor: int


def forget(connection: Connection, asks: Sequence[Forget]) -> Sequence[tuple[int | None, int]]:
    """Delete the next few, or something of them; return where to go on (None: nowhere) and how many are gone."""
    return [_forget(connection, ask) for ask in asks]


def _forget(connection: Connection, ask: Forget) -> tuple[int | None, int]:
    stored_at = func.coalesce(webhooks.c.stored_at, webhooks.c.received_at).label("stored_at")
    columns = (webhooks.c.seq, webhooks.c.id, stored_at, size_of(webhooks))
    query = select(*columns).where(webhooks.c.seq > ask.cursor)
    following = connection.execute(query.order_by(webhooks.c.seq).limit(_BATCH)).all()
    rows = batch(following, _BATCH)
    old = [row.id for row in rows if row.stored_at < ask.before]
    undecided = select(events.c.webhook_id).where(events.c.webhook_id.in_(old), events.c.state.in_(_UNDECIDED))
    forgotten = set(old) - set(connection.execute(undecided).scalars())
    are_gone, _ = delete_some(connection, forgotten)
    if not are_gone:
        return ask.cursor, 0
    finished = len(rows) == len(following) < _BATCH or rows[-1].stored_at >= ask.before
    return (None if finished else rows[-1].seq), len(forgotten)
