"""Proven URLs of senders' keys: after a restart they are asked before others."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, delete, select

from bridge.store.tables import key_urls

MOST = 32  # of one source; of more, those that were proven longest ago go


class ProvenUrl(Struct, frozen=True):
    """A URL that proved itself for a source; `at` in milliseconds, by the wall clock."""

    source: str
    url: str
    at: int


def keep(connection: Connection, proven: Sequence[ProvenUrl]) -> Sequence[None]:
    """Remember URLs."""
    for one in proven:
        its_source = key_urls.c.source == one.source
        connection.execute(delete(key_urls).where(its_source, key_urls.c.url == one.url))
        connection.execute(key_urls.insert(), {"source": one.source, "url": one.url, "proven_at": one.at})
        newest = (
            select(key_urls.c.url).where(its_source).order_by(key_urls.c.proven_at.desc(), key_urls.c.url).limit(MOST)
        )
        known = set(connection.execute(newest).scalars())
        connection.execute(delete(key_urls).where(its_source, key_urls.c.url.not_in(known)))
    return [None] * len(proven)


def load(connection: Connection, asks: Sequence[None]) -> Sequence[dict[str, list[str]]]:
    """The URLs of each source, the oldest first."""
    rows = connection.execute(select(key_urls.c.source, key_urls.c.url).order_by(key_urls.c.proven_at)).all()
    urls: dict[str, list[str]] = {}
    for source, url in rows:
        urls.setdefault(source, []).append(url)
    return [urls] * len(asks)
