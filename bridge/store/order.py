"""Order keys: events of one target, source and key are sent one after another, in order of commit.

Only the first of them is ever due. The others' `next_attempt_at` is `WAITING`, so a claim never has to look at them;
whatever takes the first out of their way calls `advance`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, update

from bridge import jsontext
from bridge.store import dialects
from bridge.store.prepared import Prepared
from bridge.store.tables import events

WAITING = 1 << 62  # later than any moment

_advance = Prepared(lambda dialect: dialect.ADVANCE, ("now", "waiting", "keys"))
_taken = Prepared(lambda dialect: dialect.TAKEN, ("keys",))
_to_the_end = Prepared(
    lambda dialect: (
        update(events)
        .where(events.c.id == bindparam("event"))
        .values(seq=dialect.BEHIND_ALL, next_attempt_at=bindparam("waiting"))
    ),
    ("waiting", "event"),
)


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
    if ordered:
        _advance.change(connection, [(now, WAITING, _as_json(ordered))])


def _locked(connection: Connection, keys: Iterable[Key]) -> list[Key]:
    """The keys, each once, of which nobody else changes events until the end of the transaction."""
    ordered = sorted(set(keys))
    if ordered:
        dialects.of(connection).lock_keys(connection, map("\n".join, ordered))
    return ordered


def _as_json(keys: Sequence[Key]) -> str:
    return jsontext.encode(keys).decode()


def to_the_end(connection: Connection, event_ids: Sequence[str]) -> None:
    """Move events behind all others of their keys, one after another, as if they were committed only now."""
    _to_the_end.change(connection, [(WAITING, event_id) for event_id in event_ids])
