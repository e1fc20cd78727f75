from collections.abc import Sequence

import pytest
from clocks import Hand
from sqlalchemy import Engine, select
from targets import put_target

from bridge.model import Dead, Decision, Delivered, EventState, Held, Outcome, Pause, PauseReason, RetryAt
from bridge.store.actions import Erased
from bridge.store.attempts import Recorded
from bridge.store.store import Store
from bridge.store.tables import attempts
from bridge.target_state import TargetState

from .support import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    NOW,
    WINDOW,
    an_attempt,
    attempt_rows,
    claim_one,
    event_row,
    mapped,
    one,
    pending,
    states,
    together,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("outcome", "decision", "state", "reason", "due", "retries"),
    [
        (Outcome.DELIVERED, Delivered(), "delivered", None, None, 0),
        (Outcome.UNAVAILABLE, RetryAt(NOW + HOUR), "pending", "unavailable", NOW + HOUR, 1),
        (Outcome.UNAVAILABLE, RetryAt(NOW + HOUR, counts=False), "pending", "unavailable", NOW + HOUR, 0),
        (Outcome.REJECTED, Dead("rejected"), "dead", "rejected", None, 0),
        (Outcome.UNKNOWN, Held("unknown"), "held", "unknown", None, 0),
        (Outcome.MISCONFIGURED, Pause(PauseReason.MISCONFIGURED), "pending", "misconfigured", NOW + MINUTE, 0),
    ],
)
async def test_a_record_moves_the_event_as_decided_and_keeps_the_attempt(
    outcome: Outcome,
    decision: Decision,
    state: str,
    reason: str | None,
    due: int | None,
    retries: int,
    store: Store,
    look: Engine,
    hand: Hand,
) -> None:
    await pending(store, 1)
    claimed = await claim_one(store)
    hand.turn(MINUTE)
    attempt = an_attempt(outcome, duration=7, status=503, detail="why", result={"a": [1]})
    assert await store.record(claimed, attempt, decision) == Recorded(state=EventState(state), late=False, moved=True)
    row = event_row(look, claimed.event_id)
    assert (row.state, row.reason, row.retries, row.attempts) == (state, reason, retries, 1)
    assert row.delivered_at == (hand.at if state == "delivered" else None)
    if due is not None:
        assert row.next_attempt_at == due
    assert attempt_rows(look) == [(claimed.event_id, 1, NOW, 7, outcome.value, 503, "why", b'{"a":[1]}', False, False)]


async def test_a_reason_goes_with_the_state_that_it_explained(store: Store, look: Engine) -> None:
    (id_,) = await pending(store, 1)
    await store.record(await claim_one(store), an_attempt(Outcome.UNAVAILABLE), RetryAt(NOW))
    await store.record(await claim_one(store), an_attempt(), Delivered())
    assert event_row(look, id_).reason is None


async def test_a_probe_is_marked_as_one(store: Store, look: Engine) -> None:
    await pending(store, 1)
    await put_target(store, TargetState(name="crm", paused_at=NOW, next_probe_at=NOW))
    (probe,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(probe, an_attempt(), Delivered())
    assert [row.probe for row in attempt_rows(look)] == [True]


async def test_a_result_of_an_earlier_claim_changes_nothing_but_is_kept_marked_late(store: Store, look: Engine) -> None:
    (id_,) = await pending(store, 1)
    first = await claim_one(store)
    await store.record(first, an_attempt(Outcome.UNKNOWN), RetryAt(NOW))  # its lease ran out
    second = await claim_one(store)
    for outcome, decision in ((Outcome.REJECTED, Dead("rejected")), (Outcome.DELIVERED, Delivered())):
        recorded = await store.record(first, an_attempt(outcome), decision)
        assert recorded == Recorded(state=EventState.SENDING, late=True, moved=False)
    assert event_row(look, id_).state == "sending"
    assert (await store.record(second, an_attempt(), Delivered())).moved
    assert [(row.number, row.outcome, row.late) for row in attempt_rows(look)] == [
        (1, "unknown", False),
        (1, "rejected", True),
        (1, "delivered", True),
        (2, "delivered", False),
    ]


@pytest.mark.parametrize("settled", [RetryAt(NOW + DAY), Dead("max_attempts"), Held("unknown")])
async def test_a_late_delivery_settles_what_is_not_claimed_again(
    settled: Decision, store: Store, look: Engine, hand: Hand
) -> None:
    (id_,) = await pending(store, 1)
    claimed = await claim_one(store)
    await store.record(claimed, an_attempt(Outcome.UNKNOWN), settled)
    hand.turn(MINUTE)
    recorded = await store.record(claimed, an_attempt(), Delivered())
    assert recorded == Recorded(state=EventState.DELIVERED, late=True, moved=True)
    row = event_row(look, id_)
    assert (row.state, row.reason, row.delivered_at) == ("delivered", None, hand.at)
    assert [row.late for row in attempt_rows(look)] == [False, True]


@pytest.mark.parametrize("settled", [RetryAt(NOW + DAY), Dead("max_attempts"), Held("unknown"), Delivered()])
async def test_another_late_result_settles_nothing(settled: Decision, store: Store, look: Engine) -> None:
    (id_,) = await pending(store, 1)
    claimed = await claim_one(store)
    await store.record(claimed, an_attempt(), settled)
    before = event_row(look, id_)
    for outcome, decision in ((Outcome.UNAVAILABLE, RetryAt(NOW)), (Outcome.REJECTED, Dead("rejected"))):
        recorded = await store.record(claimed, an_attempt(outcome), decision)
        assert (recorded.late, recorded.moved) == (True, False)
    assert event_row(look, id_) == before


async def test_a_result_of_an_event_that_was_erased_meanwhile_is_let_go(store: Store, look: Engine) -> None:
    await pending(store, 1)
    gone = await claim_one(store)
    await store.release([gone])
    assert await store.erase(gone.webhook_id) is Erased.DONE
    await pending(store, 1)
    kept = await claim_one(store)
    recorded = await together(store, *(store.record(claim, an_attempt(), Delivered()) for claim in (gone, kept)))
    assert [one.moved for one in recorded] == [False, True]
    with look.connect() as connection:
        assert connection.execute(select(attempts.c.event_id)).scalars().all() == [kept.event_id]


async def test_a_late_delivery_leaves_what_was_discarded(store: Store, look: Engine) -> None:
    webhook, mapping = one()
    await store.accept(webhook, mapping, WINDOW)
    claimed = await claim_one(store)
    await store.record(claimed, an_attempt(Outcome.UNKNOWN), RetryAt(NOW))
    await store.remap(webhook, mapped())
    recorded = await store.record(claimed, an_attempt(), Delivered())
    assert recorded == Recorded(state=EventState.DISCARDED, late=True, moved=False)
    assert states(look) == ["discarded"]


@pytest.mark.parametrize("delivered_first", [True, False])
async def test_of_two_results_of_one_claim_in_one_batch_the_first_decides_and_the_other_is_late(
    delivered_first: bool, store: Store, look: Engine
) -> None:
    await pending(store, 1)
    claimed = await claim_one(store)
    results: list[tuple[Outcome, Decision]] = [(Outcome.DELIVERED, Delivered()), (Outcome.UNKNOWN, RetryAt(NOW))]
    if not delivered_first:
        results.reverse()
    recorded = await together(store, *(store.record(claimed, an_attempt(o), d) for o, d in results))
    assert [each.late for each in recorded] == [False, True]
    assert states(look) == ["delivered"]  # either way: a late delivery settles what is pending
    assert [row.late for row in attempt_rows(look)] == [False, True]


async def test_results_of_many_events_in_one_batch_each_move_their_own(store: Store, look: Engine) -> None:
    await pending(store, 4)
    claims = (await store.claim("crm", 4, LEASE)).claims
    decisions: Sequence[Decision] = (Dead("a"), Delivered(), Held("c"), RetryAt(NOW))
    outcomes = (Outcome.REJECTED, Outcome.DELIVERED, Outcome.UNKNOWN, Outcome.UNAVAILABLE)
    calls = [store.record(c, an_attempt(o), d) for c, o, d in zip(claims, outcomes, decisions, strict=True)]
    recorded = await together(store, *calls)
    assert [each.state for each in recorded] == ["dead", "delivered", "held", "pending"]
    assert states(look) == ["dead", "delivered", "held", "pending"]
