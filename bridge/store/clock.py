"""The row of the clocks: where they stood last, so that the next run's running clock goes on from there."""

from collections.abc import Sequence

from msgspec.structs import asdict
from sqlalchemy import Connection, select, update

from bridge.clock import Seen
from bridge.store.tables import clock


def load(connection: Connection, asks: Sequence[None]) -> Sequence[Seen | None]:
    """What was seen last; None before the first run."""
    row = connection.execute(select(clock)).first()
    return [None if row is None else Seen(**row._mapping)] * len(asks)


def save(connection: Connection, seen: Sequence[Seen]) -> Sequence[None]:
    """Remember what is seen now."""
    values = asdict(seen[-1])
    if not connection.execute(update(clock).values(values)).rowcount:
        connection.execute(clock.insert().values(values))
    return [None] * len(seen)


def ahead(connection: Connection) -> int:
    """Milliseconds to add to a moment of the running clock for people to read: what the wall clock is ahead of it."""
    (seen,) = load(connection, [None])
    return 0 if seen is None else seen.wall - seen.running
