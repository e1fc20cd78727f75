"""Sealed refresh tokens, which log-in services gave in place of the configured ones."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from bridge.store.tables import refresh_tokens


def save(connection: Connection, tokens: Sequence[tuple[str, bytes]]) -> Sequence[None]:
    """Keep the token of each target in place of an earlier one."""
    for target, sealed in tokens:
        connection.execute(delete(refresh_tokens).where(refresh_tokens.c.target == target))
        connection.execute(refresh_tokens.insert(), {"target": target, "sealed": sealed})
    return [None] * len(tokens)


def load(connection: Connection, targets: Sequence[str]) -> Sequence[bytes | None]:
    """What is kept of each target."""
    found = select(refresh_tokens.c.target, refresh_tokens.c.sealed).where(refresh_tokens.c.target.in_(targets))
    kept = {row.target: row.sealed for row in connection.execute(found)}
    return [kept.get(target) for target in targets]
