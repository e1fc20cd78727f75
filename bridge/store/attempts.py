"""Records attempts: each with the move of its event, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select, update

from bridge import jsontext
from bridge.model import (
    Attempt,
    Claim,
    Dead,
    Decision,
    Delivered,
    EventState,
    Held,
    Outcome,
    RetryAt,
)
from bridge.store.order import advance, key_of
from bridge.store.prepared import Prepared
from bridge.store.tables import attempts, events

_record = Prepared(
    lambda _: (
        update(events)
        .where(
            events.c.id == bindparam("event"),
            events.c.state == bindparam("from_state"),
            events.c.attempts == bindparam("claims"),
        )
        .values(
            state=bindparam("to_state"),
            reason=bindparam("why"),
            retries=events.c.retries + bindparam("counted"),
            unclear=events.c.unclear + bindparam("not_understood"),
            next_attempt_at=func.coalesce(bindparam("next"), events.c.next_attempt_at),
            delivered_at=bindparam("delivered"),
        )
    ),
    ("to_state", "why", "counted", "not_understood", "next", "delivered", "event", "from_state", "claims"),
)
_ATTEMPT_COLUMNS = (
    *("event_id", "number", "started_at", "duration", "outcome", "status", "detail", "result", "late", "probe"),
)
_insert_attempt = Prepared(lambda _: attempts.insert().inline(), _ATTEMPT_COLUMNS)
_STATES = {each.value: each for each in EventState}
_PENDING, _SENDING = EventState.PENDING.value, EventState.SENDING.value
_DELIVERED, _DEAD, _HELD = EventState.DELIVERED.value, EventState.DEAD.value, EventState.HELD.value
_Move = tuple[str, str | None, int, int, int | None, int | None]  # the first values of `_record`


class Result(Struct, frozen=True):
    """What one attempt showed and what is to become of its event."""

    claim: Claim
    attempt: Attempt
    decision: Decision
    now: int
    delivered_at: int  # by the wall clock, where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The event's state after the record; `late` when the claim was no longer current, `moved` when it decided."""

    state: EventState
    late: bool
    moved: bool


_RECORDED = {each.value: Recorded(state=each, late=False, moved=True) for each in EventState}


def record(connection: Connection, results: Sequence[Result]) -> Sequence[Recorded]:
    """Write the attempt and move its event, if the claim is still current; a late delivery still counts.

    An event claimed again meanwhile, or settled some other way, keeps its state: the attempt is marked late. Where an
    event has two results, the current one is written first: a late delivery beside a retry ends it.
    """
    moves = [_move(result) for result in results]
    guarded = [
        (*move, result.claim.event_id, _SENDING, result.claim.attempt)
        for move, result in zip(moves, results, strict=True)
    ]
    recorded: list[Recorded] = []
    tried: list[tuple[Any, ...]] = []
    for result, move, moved in zip(results, moves, _record.change_each(connection, guarded), strict=True):
        if moved:
            # While it was being sent nobody could remap it, so its key is still that of the claim.
            if result.claim.order_key is not None:
                advance(connection, [key_of(result.claim)], result.now)
            its: Recorded | None = _RECORDED[move[0]]
        else:
            its = _record_late(connection, result, move)
        recorded.append(its or Recorded(state=EventState.DISCARDED, late=True, moved=False))
        if its:
            tried.append(_attempt_row(result, its.late))
    if tried:
        _insert_attempt.change(connection, tried)
    return recorded


def _record_late(connection: Connection, result: Result, move: _Move) -> Recorded | None:
    """Move an event that the claim no longer holds, if that is right; None if it was erased meanwhile."""
    query = select(events).where(events.c.id == result.claim.event_id).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:  # there is nothing left to record on
        return None
    state = _STATES[row.state]
    if not _settles(state, result):
        return Recorded(state=state, late=True, moved=False)
    _record.change(connection, [(*move, row.id, row.state, row.attempts)])
    advance(connection, [key_of(row)], result.now)  # not the claim's key: it may have been remapped to another
    return Recorded(state=_STATES[move[0]], late=True, moved=True)


def _settles(state: EventState, result: Result) -> bool:
    """Whether a late result still decides: the target has the event, and nobody is sending it again."""
    return result.attempt.outcome is Outcome.DELIVERED and state in (
        EventState.PENDING,
        EventState.DEAD,
        EventState.HELD,
    )


def _move(result: Result) -> _Move:
    match result.decision:
        case Delivered():
            return _DELIVERED, None, 0, 0, None, result.delivered_at
        case RetryAt(at, counts):
            unclear = int(result.attempt.unclear is not None)
            return _PENDING, result.attempt.outcome._value_, int(counts), unclear, at, None
        case Dead(reason):
            return _DEAD, reason, 0, 0, None, None
        case Held(reason):
            return _HELD, reason, 0, 0, None, None
        case _:  # Pause: the event waits for its target
            return _PENDING, result.attempt.outcome._value_, 0, 0, result.now, None


def _attempt_row(result: Result, late: bool) -> tuple[Any, ...]:
    claim, attempt = result.claim, result.attempt
    return (
        claim.event_id,
        claim.attempt,
        attempt.started_at,
        attempt.duration,
        attempt.outcome._value_,
        attempt.status,
        attempt.detail,
        None if attempt.result is None else jsontext.encode(attempt.result),
        late,
        claim.probe,
    )
