"""A read-only connection to the store, and webhooks and events as JSON values."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Column, Connection, Engine, Row, Select, func, select
from sqlalchemy.exc import DatabaseError

from bridge import jsontext
from bridge.attribute_text import attributes
from bridge.errors import StoreError, StoreUnavailable, StoreVersion
from bridge.model import EventState
from bridge.store import clock, database, duplicates
from bridge.store.order import WAITING
from bridge.store.tables import attempts, events, webhooks
from bridge.times import iso, iso_or_none

LATEST = 1 << 62  # milliseconds since 1970: what a database can hold
LIMIT = 100  # rows of a list, where nothing else is said
_PORTION = 10_000
# What is shown of a webhook: of its body the size only, which neither kind of database reads a body for.
_WEBHOOK = [
    *(webhooks.c[name] for name in ("seq", "id", "source", "state", "received_at", "dedupe_key", "why", "repaired")),
    func.length(webhooks.c.body).label("size"),
]


Reading = Connection  # a connection that only reads


class Reader:
    """Reads a store beside whoever writes to it, from any thread; the store's version is looked at once.

    `kept`: how many connections it keeps open between two questions, until it is closed.
    """

    def __init__(self, url: str, kept: int = 0) -> None:
        self.url = url
        self._kept = kept
        self._engine: Engine | None = None
        self._opening = Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads, and sees what is committed by now.

        Raises:
            StoreError, StoreVersion: there is no store, or it is not migrated.
            StoreUnavailable: a query failed.
        """
        try:
            with database.connected(self._opened()) as connection:
                yield connection
        except DatabaseError as error:
            raise StoreUnavailable(f"the store cannot be read: {str(error.orig).partition(chr(10))[0]}") from error

    def close(self) -> None:
        """Close what is kept open."""
        with self._opening:
            if self._engine and self._kept:
                self._engine.dispose()
            self._engine = None

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = database.reading_engine(self.url, self._kept)
                with database.connected(engine) as connection:
                    _check_version(connection)
                self._engine = engine
            return self._engine


def _check_version(connection: Connection) -> None:
    found = database.current_version(connection)
    if found != database.newest_version():
        raise StoreVersion(
            f"the store's schema is {found or 'empty'}, this bridge reads {database.newest_version()}, "
            "run `bridge migrate`"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events or webhooks are meant, from an operator's words to SQL; `since` in milliseconds since 1970."""

    state: str | None = None
    source: str | None = None
    rule: str | None = None
    target: str | None = None
    since: Annotated[int | None, Field(ge=0, lt=LATEST)] = None

    @property
    def chosen(self) -> dict[str, Any]:
        """What it is by, as a request and a line of the log say it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection that only reads, of a `Reader` that is asked once."""
    with Reader(url).reading() as connection:
        yield connection


def filtered_events(query: Select[Any], filter_: Filter) -> Select[Any]:
    """The query, with a filter's conditions on events."""
    for name in ("state", "source", "rule", "target"):
        if (wanted := getattr(filter_, name)) is not None:
            query = query.where(events.c[name] == wanted)
    return query if filter_.since is None else query.where(events.c.created_at >= filter_.since)


def filtered_webhooks(query: Select[Any], filter_: Filter) -> Select[Any]:
    """The query, with a filter's conditions on webhooks."""
    for name in ("state", "source"):
        if (wanted := getattr(filter_, name)) is not None:
            query = query.where(webhooks.c[name] == wanted)
    for name in ("rule", "target"):
        if (wanted := getattr(filter_, name)) is not None:
            its_events = select(events.c.seq).where(events.c.webhook_id == webhooks.c.id, events.c[name] == wanted)
            query = query.where(its_events.exists())
    return query if filter_.since is None else query.where(webhooks.c.received_at >= filter_.since)


def names(connection: Connection, kind: str) -> set[str]:
    """Every `source`, `rule` or `target` on record."""
    found = set(connection.execute(select(events.c[kind]).distinct()).scalars())
    if kind == "source":
        found |= set(connection.execute(select(webhooks.c.source).distinct()).scalars())
    return found


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows as JSON, newest first. `last` is the place of the last one, None where no others follow."""

    rows: list[dict[str, Any]]
    last: int | None


def list_events(connection: Connection, filter_: Filter, limit: int = LIMIT) -> list[dict[str, Any]]:
    """Events, newest first, with a count of attempts."""
    return events_page(connection, filter_, limit=limit).rows


def events_page(connection: Connection, filter_: Filter, after: int | None = None, *, limit: int = LIMIT) -> Page:
    """As many events as the limit allows, those that come after a place."""
    rows, last = _page(connection, filtered_events(select(events), filter_), events.c.seq, after, limit)
    results, ahead = _results(connection, [row.id for row in rows]), clock.ahead(connection)
    return Page([_event(row, results.get(row.id), row.attempts, ahead) for row in rows], last)


def show_event(connection: Connection, event_id: str) -> dict[str, Any]:
    """One event with all its attempts.

    Raises:
        StoreError: there is none with this id.
    """
    row = connection.execute(select(events).where(events.c.id == event_id)).one_or_none()
    if row is None:
        raise StoreError(f"there is no event {event_id}, `bridge events list` shows the newest")
    query = select(attempts).where(attempts.c.event_id == event_id).order_by(attempts.c.seq)
    tried = [_attempt(attempt) for attempt in connection.execute(query)]
    return _event(row, _results(connection, [event_id]).get(event_id), tried, clock.ahead(connection))


def list_webhooks(connection: Connection, filter_: Filter, limit: int = LIMIT) -> list[dict[str, Any]]:
    """Webhooks, newest first."""
    return webhooks_page(connection, filter_, limit=limit).rows


def webhooks_page(connection: Connection, filter_: Filter, after: int | None = None, *, limit: int = LIMIT) -> Page:
    """As many webhooks as the limit allows, those that come after a place."""
    query = filtered_webhooks(select(*_WEBHOOK), filter_)
    rows, last = _page(connection, query, webhooks.c.seq, after, limit)
    return Page(_webhooks(connection, rows), last)


def _page(
    connection: Connection, query: Select[Any], seq: Column[int], after: int | None, limit: int
) -> tuple[Sequence[Row[Any]], int | None]:
    """Rows in the order of their commit, newest first: by the primary key, however many come before."""
    if after is not None:
        query = query.where(seq < after)
    rows = connection.execute(query.order_by(seq.desc()).limit(limit + 1)).all()
    return rows[:limit], (rows[limit - 1].seq if len(rows) > limit else None)


def show_webhook(connection: Connection, webhook_id: str) -> dict[str, Any]:
    """One webhook.

    Raises:
        StoreError: there is none with this id.
    """
    query = select(*_WEBHOOK).where(webhooks.c.id == webhook_id)
    found = _webhooks(connection, connection.execute(query).all())
    if not found:
        raise StoreError(f"there is no webhook {webhook_id}, `bridge webhooks list` shows the newest")
    return found[0] | {"duplicates": duplicates.shown(connection, webhook_id)}


def event_states(connection: Connection, webhook_id: str) -> dict[str, str]:
    """The state of each event of a webhook."""
    query = select(events.c.id, events.c.state).where(events.c.webhook_id == webhook_id)
    return {id_: state for id_, state in connection.execute(query)}  # noqa: C416 - rows are no pairs to mypy


def _results(connection: Connection, event_ids: list[str]) -> dict[str, Any]:
    """What the target answered to the attempt that delivered each event: the last on time, else the last."""
    results: dict[str, Any] = {}
    query = select(attempts.c.event_id, attempts.c.result).order_by(attempts.c.late.desc(), attempts.c.seq)
    for some in _portions(event_ids):
        delivering = query.where(attempts.c.event_id.in_(some), attempts.c.outcome == "delivered")
        results |= {event_id: _decoded(result) for event_id, result in connection.execute(delivering)}
    return results


def _portions(ids: list[str]) -> Iterator[list[str]]:
    """A few ids at a time: SQLite takes 32,766 parameters in one statement, PostgreSQL 65,535."""
    for start in range(0, len(ids), _PORTION):
        yield ids[start : start + _PORTION]


def _event(row: Row[Any], result: Any, tried: int | list[dict[str, Any]], ahead: int) -> dict[str, Any]:
    """`ahead`: the wall clock, of the running one that due times are by."""
    is_pending = row.state == EventState.PENDING
    is_waiting = is_pending and row.next_attempt_at == WAITING
    return {
        "id": row.id,
        "webhook_id": row.webhook_id,
        "source": row.source,
        "rule": row.rule,
        "target": row.target,
        "type": row.type,
        "attributes": attributes(row.text.decode(), row.form, row.attributes),
        "state": row.state,
        "reason": "waits for an earlier event of its order_by" if is_waiting else row.reason,
        "attempts": tried,
        "next_attempt_at": iso(row.next_attempt_at + ahead) if is_pending and not is_waiting else None,
        "created_at": iso(row.created_at),
        "delivered_at": iso_or_none(row.delivered_at),
        "result": result,
    } | ({} if row.headers is None else {"headers": jsontext.decode(row.headers)})


def _attempt(row: Row[Any]) -> dict[str, Any]:
    return {
        "number": row.number,
        "started_at": iso(row.started_at),
        "duration_ms": row.duration,
        "outcome": row.outcome,
        "status": row.status,
        "detail": row.detail,
        "result": _decoded(row.result),
        "late": row.late,
        "probe": row.probe,
    }


def _webhooks(connection: Connection, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    made: dict[str, list[str]] = {row.id: [] for row in rows}
    its_events = select(events.c.webhook_id, events.c.id).order_by(events.c.seq)
    for some in _portions(list(made)):
        for webhook_id, event_id in connection.execute(its_events.where(events.c.webhook_id.in_(some))):
            made[webhook_id].append(event_id)
    return [_webhook(row, made[row.id]) for row in rows]


def _webhook(row: Row[Any], event_ids: list[str]) -> dict[str, Any]:
    why = _decoded(row.why) or {"error": None, "rules": []}
    broke = "; ".join(f"{rule['rule']}: {rule['error']}" for rule in why["rules"] if rule["error"])
    return {
        "id": row.id,
        "source": row.source,
        "state": row.state,
        "received_at": iso(row.received_at),
        "dedupe_key": row.dedupe_key,
        "size": row.size,
        "repaired": row.repaired,
        "events": event_ids,
        "error": why["error"] or broke or None,
        "why": why["rules"],
    }


def _decoded(value: bytes | None) -> Any:
    return None if value is None else jsontext.decode(value)
