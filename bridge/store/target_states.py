"""The states of targets, shared by instances: read by a query, changed by compare-and-set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, select, update

from bridge.store import clock, dialects
from bridge.store.prepared import Prepared
from bridge.store.tables import events, is_held, is_pending, is_sending, targets
from bridge.target_state import TargetState

_FIELDS = ("name", "paused_at", "reason", "by_operator", "paused_total", "probes", "next_probe_at", "ages", "version")
_load = Prepared(lambda _: select(*(targets.c[name] for name in _FIELDS)), ())


def load(connection: Connection) -> dict[str, TargetState]:
    """Every target that was ever paused, by name."""
    return {row[0]: _state(row) for row in _load.rows(connection, ())}


def of(states: Mapping[str, TargetState], name: str) -> TargetState:
    """A target's state, of those that are stored; one that was never paused is open."""
    return states.get(name) or TargetState(name=name)


def read(connection: Connection, names: Sequence[str]) -> Sequence[TargetState]:
    """The state of each of these targets."""
    states = load(connection)
    return [of(states, name) for name in names]


class StateChange(NamedTuple):
    """A target's state in place of the version that it was made of, and what the wall clock shows now."""

    state: TargetState
    wall: int


def change(connection: Connection, changes: Sequence[StateChange]) -> Sequence[TargetState | None]:
    """Store each state, where the row is still of the version that it was made of; None where it is another by now."""
    return [_change(connection, state, wall) for state, wall in changes]


def _change(connection: Connection, state: TargetState, wall: int) -> TargetState | None:
    stored = replace(state, version=state.version + 1)
    values = {name: getattr(stored, name) for name in _FIELDS}
    since = None if state.paused_at is None else wall
    if state.version:
        went_on = targets.c.paused_at == state.paused_at
        its_row = update(targets).where(targets.c.name == state.name, targets.c.version == state.version)
        changed: Any = its_row.values(paused_at_wall=case((went_on, targets.c.paused_at_wall), else_=since), **values)
    else:
        insert = dialects.of(connection).insert(targets).values(paused_at_wall=since, **values)
        changed = insert.on_conflict_do_nothing()
    return stored if connection.execute(changed.returning(targets.c.version)).first() else None


def _state(row: Sequence[Any]) -> TargetState:
    name, paused_at, reason, by_operator, paused_total, probes, next_probe_at, ages, version = row
    return TargetState(
        name=name,
        paused_at=paused_at,
        reason=reason,
        by_operator=bool(by_operator),
        paused_total=paused_total,
        probes=probes,
        next_probe_at=next_probe_at,
        ages=bool(ages),
        version=version,
    )


def as_shown(connection: Connection) -> dict[str, TargetState]:
    """Every target that was ever paused, by name, with its times by the wall clock, for people to read."""
    ahead = clock.ahead(connection)
    states, its_pauses = load(connection), select(targets.c.name, targets.c.paused_at_wall)
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
