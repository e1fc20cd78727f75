"""Deletes webhooks with all that came of them, a batch at a time."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, delete, select, tuple_

from bridge.store.batches import batch, size_of
from bridge.store.prepared import Prepared
from bridge.store.tables import attempts, dedupe, duplicates, events, webhooks

_MOST = 2_000  # rows of a table, in one transaction

_delete_attempt = Prepared(lambda _: delete(attempts).where(attempts.c.seq == bindparam("row")), ("row",))
_delete_event = Prepared(lambda _: delete(events).where(events.c.seq == bindparam("row")), ("row",))


def delete_some(connection: Connection, ids: set[str]) -> tuple[bool, list[Row[Any]]]:
    """Delete of some webhooks, with their events, attempts and dedupe keys, as much as one transaction may.

    Returns whether nothing of them is left, and target, source and order key of the events that went.
    """
    of_them = events.c.webhook_id.in_(ids)
    tried, left = _some(connection, attempts, attempts.c.event_id.in_(select(events.c.id).where(of_them)))
    _delete_attempt.change(connection, [(row.seq,) for row in tried])
    if left:
        return False, []
    made, left = _some(connection, events, of_them, events.c.target, events.c.source, events.c.order_key)
    _delete_event.change(connection, [(row.seq,) for row in made])
    if not left:
        # A key may meanwhile belong to a younger webhook, that came after the window.
        keys = select(webhooks.c.source, webhooks.c.dedupe_key).where(webhooks.c.id.in_(ids))
        its_keys = tuple_(dedupe.c.source, dedupe.c.key).in_(keys)
        connection.execute(delete(dedupe).where(its_keys, dedupe.c.webhook_id.in_(ids)))
        connection.execute(delete(duplicates).where(duplicates.c.webhook_id.in_(ids)))
        connection.execute(delete(webhooks).where(webhooks.c.id.in_(ids)))
    return not left, made


def _some(
    connection: Connection, table: Table, of_them: ColumnElement[bool], *columns: Any
) -> tuple[list[Row[Any]], bool]:
    """As many of the rows as may go at once, and whether there are others."""
    query = select(table.c.seq, size_of(table), *columns).where(of_them).limit(_MOST + 1)
    rows = connection.execute(query).all()
    some = batch(rows, _MOST)
    return some, len(some) < len(rows)
