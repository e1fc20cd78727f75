"""Claiming events, recording what an attempt showed, and settling claims that nobody will finish."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, cast, func, literal_column, select, update
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import JSON

from bridge import jsontext
from bridge.model import (
    Attempt,
    Claim,
    Dead,
    Decision,
    Delivered,
    EventState,
    Held,
    OnUnknown,
    Outcome,
    RetryAt,
)
from bridge.store.order import WAITING, Key, advance, key_of
from bridge.store.prepared import Prepared
from bridge.store.tables import attempts, events, is_pending, is_sending

_EXPIRED_AT_ONCE = 200  # dead letters per claim: bounds one transaction

_CLAIMED = (
    *("seq", "id", "webhook_id", "source", "rule", "target", "type", "text", "attempts", "retries", "on_unknown"),
    *("created_at", "expires_at", "order_key", "headers"),
)
_claimable = Prepared(
    lambda _: (
        select(*(events.c[name] for name in _CLAIMED))
        .where(events.c.target == bindparam("target"), is_pending, events.c.next_attempt_at <= bindparam("now"))
        .order_by(events.c.next_attempt_at, events.c.seq)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
)
_claim = Prepared(
    lambda _: (
        update(events)
        .where(events.c.seq == bindparam("row"))
        .values(
            state=literal_column("'sending'"),
            attempts=events.c.attempts + literal_column("1"),
            claimed_at=bindparam("now"),
            lease_until=bindparam("lease"),
            probe=bindparam("probing"),
        )
    )
)
_expire = update(events).where(events.c.seq == bindparam("row")).values(state=EventState.DEAD, reason="max_age")
_next_due = Prepared(
    lambda _: select(func.min(events.c.next_attempt_at)).where(
        events.c.target == bindparam("target"), is_pending, events.c.next_attempt_at < literal_column(str(WAITING))
    )
)


def _standing_of(dialect: str) -> ClauseElement:
    """Where the events of a JSON list of ids stand."""
    ids: Any = bindparam("ids")
    ids = func.json_each(ids) if dialect == "sqlite" else func.json_array_elements_text(cast(ids, JSON))
    columns = ("id", "state", "attempts", "next_attempt_at", "target", "source", "order_key")
    query = select(*(events.c[name] for name in columns))
    return query.where(events.c.id.in_(select(ids.table_valued("value").c.value))).with_for_update(of=events)


_standing = Prepared(_standing_of)
_record = Prepared(
    lambda _: (
        update(events)
        .where(events.c.id == bindparam("event"))
        .values(
            state=bindparam("new_state"),
            reason=bindparam("why"),
            next_attempt_at=bindparam("next"),
            retries=events.c.retries + bindparam("counted"),
            delivered_at=bindparam("delivered"),
        )
    )
)
_ATTEMPT_COLUMNS = (
    *("event_id", "number", "started_at", "duration", "outcome", "status", "detail", "result", "late", "probe"),
)
_insert_attempt = Prepared(lambda _: attempts.insert().inline(), _ATTEMPT_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A target's wish for work: at most `limit` events that are due, leased until `lease_until`."""

    target: str
    limit: int
    now: int
    clock: int  # the target's running clock, which max_age goes by
    lease_until: int
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What there was: leased events, events that had grown too old, and when the next one is due."""

    claims: tuple[Claim, ...]
    expired: tuple[Claim, ...]
    next_due_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one attempt showed and what is to become of its event."""

    claim: Claim
    attempt: Attempt
    decision: Decision
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The event's state after the record; `late` when the claim was no longer current, `moved` when it decided."""

    state: EventState
    late: bool
    moved: bool


class _Standing(NamedTuple):
    """Where an event stands while results are recorded."""

    state: EventState
    attempts: int
    next_attempt_at: int
    key: Key | None  # not the claim's: a late result may find the event remapped to another


def claim(connection: Connection, asks: Sequence[Ask]) -> Sequence[Claimed]:
    """Lease due events, oldest due first: pending -> sending, attempt number one up."""
    return [_claim_for(connection, ask) for ask in asks]


def _claim_for(connection: Connection, ask: Ask) -> Claimed:
    claims: list[Claim] = []
    expired: list[Claim] = []
    more = True
    while more and len(claims) < ask.limit and len(expired) < _EXPIRED_AT_ONCE:
        count = ask.limit - len(claims)
        rows = _claimable.rows(connection, {"target": ask.target, "now": ask.now, "count": count})
        more = len(rows) == count
        old = [row for row in rows if row.expires_at <= ask.clock]
        fresh = [row for row in rows if row.expires_at > ask.clock]
        if old:
            connection.execute(_expire, [{"row": row.seq} for row in old])
            advance(connection, map(key_of, old), ask.now)
            expired += [_as_claim(row, row.attempts, probe=False) for row in old]
        if fresh:
            leases = {"now": ask.now, "lease": ask.lease_until, "probing": ask.probe}
            _claim.change(connection, [{"row": row.seq, **leases} for row in fresh])
            claims += [_as_claim(row, row.attempts + 1, probe=ask.probe) for row in fresh]
    next_due_at: int | None = ask.now
    if len(claims) < ask.limit:
        ((next_due_at,),) = _next_due.rows(connection, {"target": ask.target})
    return Claimed(claims=tuple(claims), expired=tuple(expired), next_due_at=next_due_at)


def _as_claim(row: Any, attempt: int, *, probe: bool) -> Claim:
    return Claim(
        event_id=row.id,
        webhook_id=row.webhook_id,
        source=row.source,
        rule=row.rule,
        target=row.target,
        type=row.type,
        text=row.text.decode(),
        attempt=attempt,
        retries=row.retries,
        on_unknown=OnUnknown(row.on_unknown),
        created_at=row.created_at,
        expires_at=row.expires_at,
        order_key=row.order_key,
        probe=probe,
        headers=None if row.headers is None else jsontext.decode(row.headers),
    )


def record(connection: Connection, results: Sequence[Result]) -> Sequence[Recorded]:
    """Write the attempt and move its event, if the claim is still current; a late delivery still counts.

    An event claimed again meanwhile, or settled some other way, keeps its state: the attempt is marked late.
    """
    ids = jsontext.encode([result.claim.event_id for result in results]).decode()
    found: dict[str, _Standing] = {
        row.id: _Standing(EventState(row.state), row.attempts, row.next_attempt_at, key_of(row))
        for row in _standing.rows(connection, {"ids": ids})
    }
    recorded: list[Recorded] = []
    moves: list[dict[str, Any]] = []
    for result in results:
        standing = found.get(result.claim.event_id)
        if standing is None:  # erased meanwhile: there is nothing left to record on
            recorded.append(Recorded(state=EventState.DISCARDED, late=True, moved=False))
            continue
        late = standing.state is not EventState.SENDING or standing.attempts != result.claim.attempt
        if late and not _settles(standing.state, result):
            recorded.append(Recorded(state=standing.state, late=True, moved=False))
            continue
        move = _move(result, standing.next_attempt_at)
        moves.append(move)
        state = EventState(move["new_state"])
        recorded.append(Recorded(state=state, late=late, moved=True))
        # Another result of this batch may be of the same event: it must find it moved.
        found[result.claim.event_id] = standing._replace(state=state, next_attempt_at=move["next"])
    if moves:
        _record.change(connection, moves)
        moved = (result for result, its in zip(results, recorded, strict=True) if its.moved)
        for result in moved:
            advance(connection, [found[result.claim.event_id].key], result.now)
    tried = zip(results, recorded, strict=True)
    if rows := [_attempt_row(result, its.late) for result, its in tried if result.claim.event_id in found]:
        _insert_attempt.change(connection, rows)
    return recorded


def _settles(state: EventState, result: Result) -> bool:
    """Whether a late result still decides: the target has the event, and nobody is sending it again."""
    return result.attempt.outcome is Outcome.DELIVERED and state in (
        EventState.PENDING,
        EventState.DEAD,
        EventState.HELD,
    )


def _move(result: Result, next_attempt_at: int) -> dict[str, Any]:
    move: dict[str, Any] = {
        "event": result.claim.event_id,
        "why": None,
        "next": next_attempt_at,
        "counted": 0,
        "delivered": None,
    }
    match result.decision:
        case Delivered():
            return move | {"new_state": EventState.DELIVERED.value, "delivered": result.now}
        case RetryAt(at, counts):
            return move | {
                "new_state": EventState.PENDING.value,
                "next": at,
                "counted": int(counts),
                "why": result.attempt.outcome.value,
            }
        case Dead(reason):
            return move | {"new_state": EventState.DEAD.value, "why": reason}
        case Held(reason):
            return move | {"new_state": EventState.HELD.value, "why": reason}
        case _:  # Pause: the event waits for its target
            pending, why = EventState.PENDING.value, result.attempt.outcome.value
            return move | {"new_state": pending, "next": result.now, "why": why}


def _attempt_row(result: Result, late: bool) -> dict[str, Any]:
    attempt = result.attempt
    return {
        "event_id": result.claim.event_id,
        "number": result.claim.attempt,
        "started_at": attempt.started_at,
        "duration": attempt.duration,
        "outcome": attempt.outcome.value,
        "status": attempt.status,
        "detail": attempt.detail,
        "result": None if attempt.result is None else jsontext.encode(attempt.result),
        "late": late,
        "probe": result.claim.probe,
    }


def release(connection: Connection, claims: Sequence[Claim]) -> Sequence[None]:
    """Give back claims that were never sent: sending -> pending, as if they had not been claimed."""
    for one in claims:
        connection.execute(
            update(events)
            .where(events.c.id == one.event_id, is_sending, events.c.attempts == one.attempt)
            .values(state=EventState.PENDING, attempts=events.c.attempts - 1)
        )
    return [None] * len(claims)


def unfinished(connection: Connection, moments: Sequence[int | None]) -> Sequence[list[tuple[Claim, int]]]:
    """Claims that nobody will finish, with the time they were made: leases that ran out before the given moment.

    None asks for all of them: at the start of the only process that sends, whatever is still `sending` was cut off.
    """
    # In the index's order: by any other, SQLite would rather read the whole table than sort.
    query = select(events).where(is_sending).order_by(events.c.lease_until, events.c.seq)
    return [_unfinished(connection, query, at) for at in moments]


def _unfinished(connection: Connection, query: Select[Any], before: int | None) -> list[tuple[Claim, int]]:
    if before is not None:
        query = query.where(events.c.lease_until < before)
    return [(_as_claim(row, row.attempts, probe=row.probe), row.claimed_at) for row in connection.execute(query)]
