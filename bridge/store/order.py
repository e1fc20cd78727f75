"""Events of one target, source and order key are sent one after another, in order of commit.

Only the first of them is ever due. The others' `next_attempt_at` is `WAITING`, so a claim never has to look at them;
whatever takes the first out of their way calls `advance`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from sqlalchemy import Connection, Integer, bindparam, func, literal_column, select, text, update
from sqlalchemy.sql.elements import ClauseElement

from bridge import jsontext
from bridge.store.prepared import Prepared
from bridge.store.tables import events, is_blocking

WAITING = 1 << 62  # later than any moment

_LOCKS = 1024  # that all keys share: one webhook may have more keys than PostgreSQL has room for locks
_OURS = 7  # which of a database's advisory locks they are
_lock = Prepared(
    lambda _: select(func.pg_advisory_xact_lock(literal_column(str(_OURS)), bindparam("lock", type_=Integer))),
    ("lock",),
)
_first = select(func.min(events.c.seq)).where(
    events.c.target == bindparam("its_target"),
    events.c.source == bindparam("its_source"),
    events.c.order_key == bindparam("its_key"),
    is_blocking,
)
_is_waiting = events.c.next_attempt_at == literal_column(str(WAITING))
_make_due = update(events).where(events.c.seq == _first.scalar_subquery(), _is_waiting)
_advance = Prepared(
    lambda _: _make_due.values(next_attempt_at=bindparam("now")), ("now", "its_target", "its_source", "its_key")
)
# The same of many keys at once: a journey to the server for each of 10,000 would take a second.
_advance_all = Prepared(
    lambda _: text("""
        UPDATE events SET next_attempt_at = :now
        FROM json_array_elements(CAST(:keys AS json)) AS its (key)
        CROSS JOIN LATERAL (
            SELECT min(seq) AS seq FROM events
            WHERE target = its.key ->> 0 AND source = its.key ->> 1 AND order_key = its.key ->> 2
                AND state IN ('pending', 'sending', 'held')
        ) AS first
        WHERE events.seq = first.seq AND next_attempt_at = :waiting
    """),
    ("now", "waiting", "keys"),
)


_TAKEN = {
    "sqlite": text("""
        SELECT key FROM json_each(:keys) WHERE EXISTS (
            SELECT 1 FROM events
            WHERE target = json_extract(value, '$[0]') AND source = json_extract(value, '$[1]')
                AND order_key = json_extract(value, '$[2]') AND state IN ('pending', 'sending', 'held')
        )
    """),
    "postgresql": text("""
        SELECT place - 1
        FROM json_array_elements(CAST(:keys AS json)) WITH ORDINALITY AS its (key, place)
        WHERE EXISTS (
            SELECT 1 FROM events
            WHERE target = its.key ->> 0 AND source = its.key ->> 1
                AND order_key = its.key ->> 2 AND state IN ('pending', 'sending', 'held')
        )
    """),
}
_taken = Prepared(_TAKEN.__getitem__, ("keys",))


def _behind_all(dialect: str) -> ClauseElement:
    newest: Any = select(func.max(events.c.seq) + literal_column("1")).scalar_subquery()
    if dialect == "postgresql":
        newest = text("nextval(pg_get_serial_sequence('events', 'seq'))")
    moved = update(events).where(events.c.id == bindparam("event"))
    return moved.values(seq=newest, next_attempt_at=bindparam("waiting"))


_to_the_end = Prepared(_behind_all, ("waiting", "event"))


class Key(NamedTuple):
    """Whose events wait for one another."""

    target: str
    source: str
    order_key: str


def key_of(row: Any) -> Key | None:
    """The key of an event's row, or of a claim; None where it waits for nobody."""
    return None if row.order_key is None else Key(row.target, row.source, row.order_key)


def free(connection: Connection, keys: Iterable[Key]) -> set[Key]:
    """Those of some keys of which no event waits or is being sent, so that a new one would be due at once."""
    ordered = _locked(connection, keys)
    if not ordered:
        return set()
    taken = {place for (place,) in _taken.rows(connection, (_as_json(ordered),))}
    return {key for place, key in enumerate(ordered) if place not in taken}


def advance(connection: Connection, keys: Iterable[Key | None], now: int) -> None:
    """Make the first event of each key due, if it waits for its turn."""
    ordered = _locked(connection, (key for key in keys if key is not None))
    if ordered and connection.dialect.name == "postgresql":
        _advance_all.change(connection, [(now, WAITING, _as_json(ordered))])
    else:
        _advance.change(connection, [(now, *key) for key in ordered])


def _locked(connection: Connection, keys: Iterable[Key]) -> list[Key]:
    """The keys, each once, of which nobody else changes events until the end of the transaction.

    Of two processes on PostgreSQL, one that adds to a key and one that ends its first, neither would see what the other
    does. So they go one after the other.
    """
    ordered = sorted(set(keys))
    if ordered and connection.dialect.name == "postgresql":
        locks = {crc32("\n".join(key).encode()) % _LOCKS for key in ordered}
        _lock.change(connection, [(lock,) for lock in sorted(locks)])
    return ordered


def _as_json(keys: Sequence[Key]) -> str:
    return jsontext.encode(keys).decode()


def to_the_end(connection: Connection, event_ids: Sequence[str]) -> None:
    """Move events behind all others of their keys, one after another, as if they were committed only now."""
    _to_the_end.change(connection, [(WAITING, event_id) for event_id in event_ids])
