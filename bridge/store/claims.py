"""Claims events: leases them for an attempt, gives them back unsent, takes over leases that ran out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from bridge import jsontext
from bridge.model import Claim, EventState, OnUnknown
from bridge.store import target_states
from bridge.store.order import WAITING, advance, key_of
from bridge.store.prepared import Prepared
from bridge.store.tables import events, is_pending, is_sending
from bridge.target_state import TargetState

_DEAD_AT_ONCE = 200  # dead letters per claim: bounds one transaction
_CLAIMED_AT_ONCE = 32  # of them, until they are this long together
_CLAIMED_BYTES = 4 << 20

_CLAIMED = (
    *("seq", "expires_at", "attempts", "id", "webhook_id", "source", "rule", "target", "type", "text", "retries"),
    *("on_unknown", "stored_at", "order_key", "headers", "unclear", "traceparent"),
)
_stored_at = func.coalesce(events.c.stored_at, events.c.created_at).label("stored_at")
_claimed_columns = [_stored_at if name == "stored_at" else events.c[name] for name in _CLAIMED]
_claimable = Prepared(
    lambda _: (
        select(*_claimed_columns)
        .where(events.c.target == bindparam("target"), is_pending, events.c.next_attempt_at <= bindparam("now"))
        .order_by(events.c.next_attempt_at, events.c.seq)
        .limit(bindparam("count"))
        .offset(literal_column("0"))  # else SQLAlchemy binds a 0 of its own for SQLite
        .with_for_update(skip_locked=True)
    ),
    ("target", "now", "count"),
)
_claim = Prepared(
    lambda _: (
        update(events)
        .where(events.c.seq == bindparam("row"))
        .values(
            state=literal_column("'sending'"),
            attempts=events.c.attempts + literal_column("1"),
            claimed_at=bindparam("claimed_at"),
            lease_until=bindparam("lease"),
            probe=bindparam("probing"),
        )
    ),
    ("claimed_at", "lease", "probing", "row"),
)
_end = update(events).where(events.c.seq == bindparam("row")).values(state=EventState.DEAD, reason=bindparam("why"))
_next_due = Prepared(
    lambda _: select(func.min(events.c.next_attempt_at)).where(
        events.c.target == bindparam("target"), is_pending, events.c.next_attempt_at < literal_column(str(WAITING))
    ),
    ("target",),
)
_SEQ, _EXPIRES_AT, _RETRIES, _TEXT = map(_CLAIMED.index, ("seq", "expires_at", "retries", "text"))
_ON_UNKNOWN = {each.value: each for each in OnUnknown}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A target's wish for work: at most `limit` events that are due, leased until `lease_until`."""

    target: str
    limit: int
    now: int
    claimed_at: int  # by the wall clock
    lease_until: int
    max_attempts: int | None = None  # None: no event is ever out of them
    unsaved: TargetState | None = None  # the target's state, where it could not be stored


@dataclass(slots=True, kw_only=True)
class Claimed:
    """What there was: leased events, those that are dead instead, and when the next one is due."""

    claims: tuple[Claim, ...]
    expired: tuple[Claim, ...]  # they had grown too old
    next_due_at: int | None
    target: TargetState  # as it was claimed by
    spent: tuple[Claim, ...] = ()  # they were out of attempts, which are fewer than when they were last sent


def claim(connection: Connection, asks: Sequence[Ask]) -> Sequence[Claimed]:
    """Lease due events, oldest due first: pending -> sending, attempt number one up.

    Of a paused target one only, as its probe, and none while no probe is due.
    """
    targets = target_states.load(connection)
    return [_claim_for(connection, ask, ask.unsaved or target_states.of(targets, ask.target)) for ask in asks]


def _claim_for(connection: Connection, ask: Ask, target: TargetState) -> Claimed:
    limit, probe, clock = ask.limit, target.paused_at is not None, target.clock(ask.now)
    if probe:
        limit = min(limit, int(target.next_probe_at is not None and target.next_probe_at <= ask.now))
    claims: list[Claim] = []
    expired: list[Claim] = []
    spent: list[Claim] = []
    more = True
    size = 0
    most = inf if ask.max_attempts is None else ask.max_attempts
    while more and len(claims) < limit and len(expired) + len(spent) < _DEAD_AT_ONCE and size < _CLAIMED_BYTES:
        count = min(limit - len(claims), _CLAIMED_AT_ONCE)
        rows = _claimable.rows(connection, (ask.target, ask.now, count))
        more = len(rows) == count
        size += sum([len(row[_TEXT]) for row in rows])
        fresh = [row for row in rows if row[_EXPIRES_AT] > clock and row[_RETRIES] < most]
        if len(fresh) < len(rows):
            expired += _ended(connection, "max_age", [row for row in rows if row[_EXPIRES_AT] <= clock], ask.now)
            young = [row for row in rows if row[_EXPIRES_AT] > clock]
            spent += _ended(connection, "max_attempts", [row for row in young if row[_RETRIES] >= most], ask.now)
        if fresh:
            _claim.change(connection, [(ask.claimed_at, ask.lease_until, probe, row[_SEQ]) for row in fresh])
            claims += [_as_claim(row, claimed=1, probe=probe) for row in fresh]
    next_due_at: int | None = ask.now
    if len(claims) < ask.limit and size < _CLAIMED_BYTES:
        ((next_due_at,),) = _next_due.rows(connection, (ask.target,))
    return Claimed(
        claims=tuple(claims),
        expired=tuple(expired),
        next_due_at=next_due_at,
        target=target,
        spent=tuple(spent),
    )


def _ended(connection: Connection, reason: str, rows: Sequence[Sequence[Any]], now: int) -> list[Claim]:
    """Give up events that are due but must not be sent."""
    if rows:
        connection.execute(_end, [{"row": row[_SEQ], "why": reason} for row in rows])
    ended = [_as_claim(row, claimed=0, probe=False) for row in rows]
    advance(connection, map(key_of, ended), now)
    return ended


def _as_claim(row: Sequence[Any], *, claimed: int, probe: bool) -> Claim:
    """The claim of an event's row, which was read before it was `claimed` so many times."""
    (_, expires_at, attempts_, id_, webhook_id, source, rule, target, type_, text, retries, *more) = row
    on_unknown, stored_at, order_key, headers, unclear, traceparent = more
    return Claim(
        id_,
        webhook_id,
        source,
        rule,
        target,
        type_,
        text.decode(),
        attempts_ + claimed,
        retries,
        _ON_UNKNOWN[on_unknown],
        stored_at,
        expires_at,
        order_key,
        probe,
        None if headers is None else jsontext.decode(headers),
        unclear,
        traceparent,
    )


def release(connection: Connection, claims: Sequence[Claim]) -> Sequence[None]:
    """Give back claims that were never sent: sending -> pending, as if they had not been claimed."""
    for one in claims:
        connection.execute(
            update(events)
            .where(events.c.id == one.event_id, is_sending, events.c.attempts == one.attempt)
            .values(state=EventState.PENDING, attempts=events.c.attempts - 1)
        )
    return [None] * len(claims)


class Hasten(NamedTuple):
    """A target whose events can be right only where they are due at `latest`; those due later are due `now`."""

    target: str
    latest: int
    now: int


def hasten(connection: Connection, asks: Sequence[Hasten]) -> Sequence[None]:
    """Make events due whose time no wait can have set: a wrong clock did, or longer waits of other settings."""
    for ask in asks:
        connection.execute(
            update(events)
            .where(
                events.c.target == ask.target,
                is_pending,
                events.c.next_attempt_at > ask.latest,
                events.c.next_attempt_at < WAITING,
            )
            .values(next_attempt_at=ask.now)
        )
    return [None] * len(asks)


class TakeOver(NamedTuple):
    """Claims whose lease ran out `before` a moment are leased anew until another one."""

    before: int
    lease_until: int


def take_over(connection: Connection, asks: Sequence[TakeOver]) -> Sequence[list[tuple[Claim, int]]]:
    """Lease claims anew that nobody will finish, for whoever settles them; each with its time by the wall clock.

    Of several who ask, each claim goes to one.
    """
    return [_take_over(connection, ask) for ask in asks]


def _take_over(connection: Connection, ask: TakeOver) -> list[tuple[Claim, int]]:
    ran_out = update(events).where(is_sending, events.c.lease_until < ask.before)
    taken = ran_out.values(lease_until=ask.lease_until)
    rows = connection.execute(taken.returning(*_claimed_columns, events.c.probe, events.c.claimed_at)).all()
    in_order = sorted(rows, key=lambda row: (row.claimed_at, row.seq))
    return [(_as_claim(row, claimed=0, probe=probe), claimed_at) for *row, probe, claimed_at in in_order]
