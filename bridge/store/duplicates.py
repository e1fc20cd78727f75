"""Counts of the duplicates of a webhook: how many, when, and how many with another body."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, LargeBinary, bindparam, literal_column, select
from sqlalchemy.sql.elements import ClauseElement

from bridge.store.dialects import Dialect
from bridge.store.prepared import Prepared
from bridge.store.tables import duplicates, webhooks
from bridge.times import iso


class Duplicate(Struct, frozen=True):
    """A webhook that repeats the `first`; `at` is by the wall clock."""

    first: str
    body: bytes
    at: int


_is_same = Prepared(
    lambda _: select(webhooks.c.body == bindparam("given", type_=LargeBinary)).where(
        webhooks.c.id == bindparam("first")
    ),
    ("given", "first"),
)


def _count_of(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(duplicates)
    count: ClauseElement = insert.values(count=literal_column("1")).on_conflict_do_update(
        index_elements=[duplicates.c.webhook_id],
        set_={
            "count": duplicates.c.count + literal_column("1"),
            "differing": duplicates.c.differing + insert.excluded.differing,
            "last_at": insert.excluded.last_at,
        },
    )
    return count


_count = Prepared(_count_of, ("webhook_id", "differing", "first_at", "last_at"))


def note(connection: Connection, came: Sequence[Duplicate]) -> list[bool]:
    """Count duplicates; return for each whether its body differs from the first one's."""
    differ = [not same for one in came for (same,) in _is_same.rows(connection, (one.body, one.first))]
    _count.change(
        connection, [(one.first, int(differs), one.at, one.at) for one, differs in zip(came, differ, strict=True)]
    )
    return differ


def shown(connection: Connection, webhook_id: str) -> dict[str, Any]:
    """The duplicates of a webhook, as JSON."""
    row = connection.execute(select(duplicates).where(duplicates.c.webhook_id == webhook_id)).one_or_none()
    if row is None:
        return {"count": 0, "differing": 0, "first_at": None, "last_at": None}
    return {"count": row.count, "differing": row.differing, "first_at": iso(row.first_at), "last_at": iso(row.last_at)}
