"""Secrets that senders registered in a handshake: kept until the operator reads them, once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, select

from bridge.store.tables import handed_over

MOST = 10  # of one source that nobody has read: a stranger could hand over more and more of them


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredSecret:
    """One secret, and who handed it over when."""

    source: str
    secret: str = field(repr=False)
    client: str
    received_at: int


def keep(connection: Connection, secrets: Sequence[RegisteredSecret]) -> Sequence[bool]:
    """Keep each secret; one that is kept already stays once. False where its source has `MOST` of them unread."""
    return [_keep(connection, secret) for secret in secrets]


def _keep(connection: Connection, secret: RegisteredSecret) -> bool:
    its_source = handed_over.c.source == secret.source
    kept = set(connection.execute(select(handed_over.c.secret).where(its_source)).scalars())
    given = secret.secret.encode()
    if given in kept:
        return True
    if len(kept) >= MOST:
        return False
    connection.execute(
        handed_over.insert(),
        {"source": secret.source, "secret": given, "client": secret.client, "received_at": secret.received_at},
    )
    return True


def take(connection: Connection, sources: Sequence[str]) -> Sequence[tuple[RegisteredSecret, ...]]:
    """The secrets of each source, oldest first. They are kept no longer."""
    return [_take(connection, source) for source in sources]


def _take(connection: Connection, source: str) -> tuple[RegisteredSecret, ...]:
    its_source = handed_over.c.source == source
    rows = connection.execute(select(handed_over).where(its_source).order_by(handed_over.c.seq)).all()
    connection.execute(delete(handed_over).where(its_source))
    return tuple(
        RegisteredSecret(source=source, secret=row.secret.decode(), client=row.client, received_at=row.received_at)
        for row in rows
    )
