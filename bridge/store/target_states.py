"""What is remembered of targets: whether one is paused, why, and how long it was in all."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from bridge.model import TargetState
from bridge.store import clock
from bridge.store.tables import events, is_held, is_pending, is_sending, targets

_STATE = [targets.c[field.name] for field in fields(TargetState)]


class Save(NamedTuple):
    """A target's state, and what the wall clock shows now."""

    state: TargetState
    wall: int


def load(connection: Connection, asks: Sequence[None]) -> Sequence[dict[str, TargetState]]:
    """Every target that was ever paused, by name."""
    found = {row.name: TargetState(**row._mapping) for row in connection.execute(select(*_STATE))}
    return [found] * len(asks)


def save(connection: Connection, saves: Sequence[Save]) -> Sequence[None]:
    """Remember each target's state, and when by the wall clock its pause began."""
    for state, wall in saves:
        its_row = targets.c.name == state.name
        before = connection.execute(select(targets).where(its_row)).one_or_none()
        went_on = before is not None and before.paused_at == state.paused_at
        paused_at_wall = None if state.paused_at is None else before.paused_at_wall if before and went_on else wall
        connection.execute(delete(targets).where(its_row))
        connection.execute(targets.insert(), asdict(state) | {"paused_at_wall": paused_at_wall})
    return [None] * len(saves)


def as_shown(connection: Connection) -> dict[str, TargetState]:
    """Every target that was ever paused, by name, with its times by the wall clock, for people to read."""
    ahead = clock.ahead(connection)
    ((states,), its_pauses) = load(connection, [None]), select(targets.c.name, targets.c.paused_at_wall)
    shown = dict(connection.execute(its_pauses).all())
    return {
        name: replace(
            state,
            paused_at=shown[name] or state.paused_at,
            next_probe_at=None if state.next_probe_at is None else state.next_probe_at + ahead,
        )
        for name, state in states.items()
    }


class Backlog(NamedTuple):
    """What waits for a target: how much, and when the oldest of it was made, by the wall and by the running clock."""

    pending: int
    oldest: int
    oldest_stored_at: int


def backlog(connection: Connection) -> dict[str, Backlog]:
    """What waits for each target for which something does."""
    stored_at = func.coalesce(events.c.stored_at, events.c.created_at)
    oldest = func.min(events.c.created_at), func.min(stored_at)
    query = select(events.c.target, func.count(), *oldest).where(is_pending).group_by(events.c.target)
    return {target: Backlog(*waiting) for target, *waiting in connection.execute(query)}


def held(connection: Connection) -> dict[str, int]:
    """For each target with held events: how many."""
    query = select(events.c.target, func.count()).where(is_held).group_by(events.c.target)
    return {target: count for target, count in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy


class Sending(NamedTuple):
    """What is being sent to a target: how much, and when the oldest of it was made, by the wall clock."""

    events: int
    oldest: int


def sending(connection: Connection) -> dict[str, Sending]:
    """For each target with events that are being sent: which. Of a paused one, it is the probe."""
    query = select(events.c.target, func.count(), func.min(events.c.created_at)).where(is_sending)
    return {target: Sending(*its) for target, *its in connection.execute(query.group_by(events.c.target))}
