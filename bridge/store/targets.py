"""What is remembered of targets: whether one is paused, why, and how long it was in all."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, func, select

from bridge.model import TargetState
from bridge.store.tables import events, is_pending, targets


def load(connection: Connection, asks: Sequence[None]) -> Sequence[dict[str, TargetState]]:
    """Every target that was ever paused, by name."""
    found = {row.name: TargetState(**row._mapping) for row in connection.execute(select(targets))}
    return [found] * len(asks)


def save(connection: Connection, states: Sequence[TargetState]) -> Sequence[None]:
    """Remember each target's state."""
    for state in states:
        connection.execute(delete(targets).where(targets.c.name == state.name))
        connection.execute(targets.insert(), asdict(state))
    return [None] * len(states)


def backlog(connection: Connection) -> dict[str, tuple[int, int]]:
    """For each target with pending events: how many, and when the oldest of them was made."""
    query = (
        select(events.c.target, func.count(), func.min(events.c.created_at)).where(is_pending).group_by(events.c.target)
    )
    return {target: (count, oldest) for target, count, oldest in connection.execute(query)}
