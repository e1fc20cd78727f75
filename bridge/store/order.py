"""Events of one target, source and order key are sent one after another, in order of commit.

Only the first of them is ever due. The others' `next_attempt_at` is `WAITING`, so a claim never has to look at them;
whatever takes the first out of their way calls `advance`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text, update

from bridge.store.tables import events, is_blocking

WAITING = 1 << 62  # later than any moment


class Key(NamedTuple):
    """Whose events wait for one another."""

    target: str
    source: str
    order_key: str


def key_of(row: Any) -> Key | None:
    """The key of an event's row, or of a claim; None where it waits for nobody."""
    return None if row.order_key is None else Key(row.target, row.source, row.order_key)


def advance(connection: Connection, keys: Iterable[Key | None], now: int) -> None:
    """Make the first event of each key due, if it waits for its turn."""
    for key in sorted({key for key in keys if key is not None}):
        if connection.dialect.name == "postgresql":
            # Of two processes, one that adds to a key and one that ends its first, neither would see what the other
            # does. So they go one after the other, until the end of their transactions.
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("\n".join(key), 0))))
        same = (events.c.target == key.target, events.c.source == key.source, events.c.order_key == key.order_key)
        first = select(func.min(events.c.seq)).where(*same, is_blocking).scalar_subquery()
        connection.execute(
            update(events).where(events.c.seq == first, events.c.next_attempt_at == WAITING).values(next_attempt_at=now)
        )


def to_the_end(connection: Connection, event_id: str) -> None:
    """Move an event behind all others of its key, as if it were committed only now."""
    if connection.dialect.name == "postgresql":
        newest: Any = text("nextval(pg_get_serial_sequence('events', 'seq'))")
    else:
        newest = select(func.max(events.c.seq) + 1).scalar_subquery()
    connection.execute(update(events).where(events.c.id == event_id).values(seq=newest, next_attempt_at=WAITING))
