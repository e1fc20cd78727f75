"""The last known states of targets' tenants in SuperOffice Online, for people to see."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, select

from bridge.store.tables import tenants
from bridge.target_state import TenantState


def save(connection: Connection, states: Sequence[TenantState]) -> Sequence[None]:
    """Remember what was said of each tenant."""
    for state in states:
        connection.execute(delete(tenants).where(tenants.c.target == state.target))
        connection.execute(tenants.insert(), asdict(state))
    return [None] * len(states)


def load(connection: Connection) -> dict[str, TenantState]:
    """What is remembered, by target."""
    return {row.target: TenantState(**row._mapping) for row in connection.execute(select(tenants))}
