"""A row for each running instance, written to prove that a commit works."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, update

from bridge.store.tables import readiness

_GONE = 86_400_000  # milliseconds without a proof, after which an instance is forgotten


class Ping(NamedTuple):
    """Which instance proves itself; `at` is by the wall clock."""

    instance: str
    at: int


def prove(connection: Connection, pings: Sequence[Ping]) -> Sequence[None]:
    """Write each instance's row."""
    for instance, at in pings:
        if not connection.execute(update(readiness).where(readiness.c.instance == instance).values(at=at)).rowcount:
            connection.execute(delete(readiness).where(readiness.c.at < at - _GONE))
            connection.execute(readiness.insert().values(instance=instance, at=at))
    return [None] * len(pings)
