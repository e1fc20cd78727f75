import asyncio
import dataclasses
from collections.abc import Sequence

import pytest
from clocks import Hand
from msgspec.structs import replace
from running import HANG
from sqlalchemy import Engine, select, text
from targets import put_target

from bridge.model import (
    Claim,
    Delivered,
    Event,
    EventState,
    Held,
    OnUnknown,
    Outcome,
    Pause,
    PauseReason,
    RetryAt,
    Webhook,
)
from bridge.store import database
from bridge.store.actions import Action
from bridge.store.claims import Ask, Claimed, TakeOver, claim, take_over
from bridge.store.store import Store
from bridge.store.tables import events
from bridge.store.webhooks import Acceptance, accept
from bridge.target_state import TargetState

from .support import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    NOW,
    WINDOW,
    a_webhook,
    an_attempt,
    an_event,
    attempt_rows,
    claim_one,
    event_row,
    ids,
    mapped,
    pending,
    states,
    writing,
)

pytestmark = pytest.mark.anyio


async def test_a_claim_takes_less_of_what_is_long_and_says_that_there_is_more(store: Store, hand: Hand) -> None:
    webhook = a_webhook()
    made = [an_event(webhook, str(number), text="x" * 2**20) for number in range(70)]
    await store.accept(webhook, mapped(*made), WINDOW)
    taken: list[str] = []
    for count in (32, 32, 6):
        claimed = await store.claim("crm", 100, LEASE)
        assert len(claimed.claims) == count
        assert claimed.next_due_at == hand.running()
        taken += ids(claimed.claims)
    assert taken == [event.id for event in made]
    assert (await store.claim("crm", 100, LEASE)).next_due_at is None


async def test_a_claim_carries_all_that_an_attempt_needs(store: Store, look: Engine, hand: Hand) -> None:
    webhook = a_webhook(source="github")
    made = an_event(webhook, rule="r", text="a=ü", type="T", on_unknown=OnUnknown.HOLD, max_age=HOUR)
    await store.accept(webhook, mapped(made), WINDOW)
    hand.turn(MINUTE)
    assert await store.claim("crm", 5, LEASE) == Claimed(
        claims=(
            Claim(
                event_id=made.id,
                webhook_id=webhook.id,
                source="github",
                rule="r",
                target="crm",
                type="T",
                text="a=ü",
                attempt=1,
                retries=0,
                on_unknown=OnUnknown.HOLD,
                stored_at=NOW,
                expires_at=NOW + HOUR,
            ),
        ),
        expired=(),
        next_due_at=None,
        target=TargetState(name="crm"),
    )
    row = event_row(look, made.id)
    assert (row.state, row.attempts, row.claimed_at, row.lease_until) == ("sending", 1, hand.at, hand.at + LEASE)


async def test_the_oldest_due_come_first_and_at_most_as_many_as_asked_for(store: Store, hand: Hand) -> None:
    late = await pending(store, 2)
    hand.turn(-HOUR)  # due before those that were committed first
    early = await pending(store, 3)
    hand.turn(2 * HOUR)
    assert ids((await store.claim("crm", 2, LEASE)).claims) == early[:2]
    assert ids((await store.claim("crm", 2, LEASE)).claims) == [early[2], late[0]]
    assert ids((await store.claim("crm", 2, LEASE)).claims) == [late[1]]
    assert (await store.claim("crm", 2, LEASE)).claims == ()


async def test_a_claim_takes_only_its_own_targets_events(store: Store) -> None:
    await pending(store, 2, target="erp")
    mine = await pending(store, 1)
    assert ids((await store.claim("crm", 5, LEASE)).claims) == mine
    assert (await store.claim("crm", 5, LEASE)).next_due_at is None


async def test_a_claim_belongs_to_the_trace_that_its_event_came_with(store: Store) -> None:
    context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    webhook = a_webhook()
    await store.accept(webhook, mapped(an_event(webhook, "a", traceparent=context), an_event(webhook, "b")), WINDOW)
    claims = (await store.claim("crm", 2, LEASE)).claims
    assert sorted((claim.traceparent for claim in claims), key=str) == [context, None]
    await store.record(claims[0], an_attempt(Outcome.UNAVAILABLE), RetryAt(NOW))
    (again,) = (await store.claim("crm", 1, LEASE)).claims
    assert again.traceparent == claims[0].traceparent
    assert {claim.traceparent for claim, _ in await store.take_over(expired_only=False)} == {context, None}


async def test_a_paused_target_is_sent_one_event_once_its_probe_is_due(store: Store, look: Engine, hand: Hand) -> None:
    await pending(store, 3)
    paused = await put_target(store, TargetState(name="crm", paused_at=NOW, next_probe_at=NOW + MINUTE))
    early = await store.claim("crm", 3, LEASE)
    assert (early.claims, early.next_due_at, early.target) == ((), NOW, paused)
    hand.turn(MINUTE)
    assert [claim.probe for claim in (await store.claim("crm", 3, LEASE)).claims] == [True]
    await put_target(store, TargetState(name="crm", paused_at=NOW, by_operator=True))
    hand.turn(DAY)
    assert (await store.claim("crm", 3, LEASE)).claims == ()
    await put_target(store, TargetState(name="crm"))
    assert [claim.probe for claim in (await store.claim("crm", 3, LEASE)).claims] == [False, False]


async def test_what_is_not_yet_due_is_not_claimed(store: Store, hand: Hand) -> None:
    await pending(store, 1)
    first = await claim_one(store)
    await store.record(first, an_attempt(Outcome.UNAVAILABLE), RetryAt(NOW + MINUTE))
    hand.turn(MINUTE - 1)
    assert await store.claim("crm", 1, LEASE) == Claimed(
        claims=(), expired=(), next_due_at=NOW + MINUTE, target=TargetState(name="crm")
    )
    hand.turn(1)
    second = await claim_one(store)
    assert (second.event_id, second.attempt, second.retries) == (first.event_id, 2, 1)


async def test_a_claim_tells_when_the_next_event_is_due(store: Store, hand: Hand) -> None:
    await pending(store, 3)
    for at in (NOW + 3 * MINUTE, NOW + MINUTE, NOW + 2 * MINUTE):
        await store.record(await claim_one(store), an_attempt(Outcome.UNAVAILABLE), RetryAt(at))
    assert (await store.claim("crm", 5, LEASE)).next_due_at == NOW + MINUTE
    hand.turn(MINUTE)
    assert (await store.claim("crm", 5, LEASE)).next_due_at == NOW + 2 * MINUTE
    hand.turn(DAY)
    assert (await store.claim("crm", 2, LEASE)).next_due_at == hand.at  # there may be more: ask again at once
    assert (await store.claim("crm", 2, LEASE)).next_due_at is None


async def test_a_claim_of_none_takes_none(store: Store, look: Engine) -> None:
    await pending(store, 1)
    assert await store.claim("crm", 0, LEASE) == Claimed(
        claims=(), expired=(), next_due_at=NOW, target=TargetState(name="crm")
    )
    assert states(look) == ["pending"]


async def test_nothing_is_claimed_twice_by_callers_at_once(store: Store, look: Engine) -> None:
    made = await pending(store, 40)
    claimed = await asyncio.gather(*(store.claim("crm", 7, LEASE) for _ in range(8)))
    got = [id_ for each in claimed for id_ in ids(each.claims)]
    assert sorted(got) == sorted(made)
    assert max(len(each.claims) for each in claimed) == 7
    assert states(look) == ["sending"] * 40


async def test_two_processes_on_postgresql_share_the_work_and_wait_for_nobody(postgresql_url: str) -> None:
    first, second = (database.writing_engine(postgresql_url) for _ in range(2))
    webhook = a_webhook()
    made = [an_event(webhook, str(n)) for n in range(10)]
    with first.begin() as connection:
        accept(connection, [_acceptance(webhook, made)])
    ask = Ask(target="crm", limit=6, now=NOW, claimed_at=NOW, lease_until=NOW + LEASE)
    with first.begin() as one_, second.begin() as other:
        for each in (one_, other):
            each.execute(text("SET LOCAL lock_timeout = '2s'"))
        (mine,), (theirs,) = claim(one_, [ask]), claim(other, [ask])  # the first is not committed yet
    assert ids(mine.claims) == [event.id for event in made[:6]]
    assert ids(theirs.claims) == [event.id for event in made[6:]]
    first.dispose()
    second.dispose()


async def test_two_processes_on_postgresql_claim_everything_once(postgresql_url: str) -> None:
    engines = [database.writing_engine(postgresql_url) for _ in range(2)]
    stores = [Store(engine, Hand(NOW)) for engine in engines]
    made = await pending(stores[0], 300)

    async def work(store: Store) -> list[str]:
        got: list[str] = []
        while len(some := (await store.claim("crm", 7, LEASE)).claims) > 0:
            got += ids(some)
        return got

    shares = await asyncio.gather(*(work(store) for store in stores for _ in range(3)))
    got = [id_ for share in shares for id_ in share]
    assert sorted(got) == sorted(made)
    for store in stores:
        store.close()
    with engines[0].connect() as connection:
        assert set(connection.execute(select(events.c.attempts)).scalars()) == {1}
    for engine in engines:
        engine.dispose()


# max_age


async def test_what_grew_too_old_is_dead_and_told(store: Store, look: Engine, hand: Hand) -> None:
    (old,) = await pending(store, 1, max_age=HOUR)
    (young,) = await pending(store, 1, max_age=HOUR + 1)
    hand.turn(HOUR)
    claimed = await store.claim("crm", 5, LEASE)
    assert (ids(claimed.claims), ids(claimed.expired)) == ([young], [old])
    assert claimed.expired[0].attempt == 0
    row = event_row(look, old)
    assert (row.state, row.reason, row.attempts) == ("dead", "max_age", 0)


@pytest.mark.parametrize("limit", [1, 8, 1000])
async def test_what_grew_too_old_does_not_keep_the_rest_waiting_however_much_it_is(
    limit: int, store: Store, look: Engine, hand: Hand
) -> None:
    old = await pending(store, 450, max_age=HOUR)
    hand.turn(HOUR)
    (young,) = await pending(store, 1)
    expired: list[str] = []
    claims: list[str] = []
    for _ in range(4):
        claimed = await store.claim("crm", limit, LEASE)
        expired += ids(claimed.expired)
        claims += ids(claimed.claims)
        if claims:
            break
        assert claimed.next_due_at is not None  # else nobody would ask again
        assert claimed.next_due_at <= hand.at
    assert claims == [young]
    assert sorted(expired) == sorted(old)
    assert states(look) == ["dead"] * 450 + ["sending"]


@pytest.mark.parametrize("probe", [False, True])
async def test_what_is_out_of_attempts_is_dead_and_told_and_never_sent(
    probe: bool, store: Store, look: Engine, hand: Hand
) -> None:
    tried, fresh = await pending(store, 2)
    for _ in range(2):
        (claim, other) = (await store.claim("crm", 2, LEASE)).claims
        await store.record(claim, an_attempt(Outcome.UNAVAILABLE), RetryAt(hand.at))
        await store.release([other])
    if probe:
        await put_target(store, TargetState(name="crm", paused_at=hand.at, next_probe_at=hand.at))
    claimed = await store.claim("crm", 5, LEASE, max_attempts=2)
    assert (ids(claimed.claims), ids(claimed.spent), claimed.expired) == ([fresh], [tried], ())
    row = event_row(look, tried)
    assert (row.state, row.reason, row.attempts, row.retries) == ("dead", "max_attempts", 2, 2)
    await store.change(Action.REPLAY, [tried])
    assert ids((await store.claim("crm", 5, LEASE, max_attempts=2)).claims) == [tried]


async def test_max_age_does_not_run_while_the_target_is_paused(store: Store, look: Engine, hand: Hand) -> None:
    await pending(store, 1, max_age=HOUR)
    hand.turn(MINUTE)
    await put_target(store, TargetState(name="crm", paused_at=hand.at, next_probe_at=hand.at))
    hand.turn(30 * DAY)
    await pending(store, 1, max_age=HOUR)  # and it begins to run for this one only when the target is back
    probe = (await store.claim("crm", 1, LEASE)).claims[0]
    assert probe.probe
    await store.record(probe, an_attempt(Outcome.UNAUTHORIZED), Pause(PauseReason.UNAUTHORIZED))
    await put_target(store, TargetState(name="crm", paused_total=30 * DAY))
    hand.turn(HOUR - MINUTE - 1)
    assert len((await store.claim("crm", 5, LEASE)).expired) == 0
    assert states(look) == ["sending", "sending"]


async def test_max_age_goes_on_where_the_pause_ended(store: Store, hand: Hand) -> None:
    (first,) = await pending(store, 1, max_age=HOUR)
    await put_target(store, TargetState(name="crm", paused_at=NOW))
    hand.turn(30 * DAY)
    (second,) = await pending(store, 1, max_age=2 * HOUR)
    await put_target(store, TargetState(name="crm", paused_total=30 * DAY))
    hand.turn(HOUR)
    claimed = await store.claim("crm", 5, LEASE)
    assert (ids(claimed.expired), ids(claimed.claims)) == ([first], [second])


# release


async def test_what_is_released_is_pending_as_if_it_had_not_been_claimed(store: Store, look: Engine) -> None:
    made = await pending(store, 3)
    claimed = await store.claim("crm", 2, LEASE)
    await store.release(claimed.claims)
    assert states(look) == ["pending"] * 3
    again = await store.claim("crm", 3, LEASE)
    assert [(c.event_id, c.attempt) for c in again.claims] == [(id_, 1) for id_ in made]
    assert attempt_rows(look) == []


async def test_releasing_what_is_settled_already_changes_nothing(store: Store, look: Engine) -> None:
    await pending(store, 2)
    claims = (await store.claim("crm", 2, LEASE)).claims
    await store.record(claims[0], an_attempt(), Delivered())
    await store.record(claims[1], an_attempt(Outcome.UNKNOWN), RetryAt(NOW))
    again = await claim_one(store)
    await store.release(claims)
    assert states(look) == ["delivered", "sending"]
    assert event_row(look, again.event_id).attempts == 2


# unfinished


async def test_claims_that_nobody_finishes_are_taken_over_all_or_by_their_lease(store: Store, hand: Hand) -> None:
    made = await pending(store, 3)
    first = await claim_one(store)
    hand.turn(MINUTE)
    await put_target(store, TargetState(name="crm", paused_at=NOW, next_probe_at=NOW))
    (second,) = (await store.claim("crm", 1, LEASE)).claims
    assert second.probe
    assert await store.take_over(expired_only=True) == [(first, NOW)]
    hand.turn(LEASE)
    assert await store.take_over(expired_only=True) == []  # the second's lease ends now, not before
    hand.turn(1)
    assert await store.take_over(expired_only=True) == [(second, NOW + MINUTE)]
    assert await store.take_over(expired_only=False) == [(first, NOW), (second, NOW + MINUTE)]
    hand.turn(MINUTE + 1)  # whoever took them did not settle them
    assert await store.take_over(expired_only=True) == [(first, NOW), (second, NOW + MINUTE)]
    await store.record(first, an_attempt(Outcome.UNKNOWN), RetryAt(hand.at))
    assert await store.take_over(expired_only=False) == [(second, NOW + MINUTE)]
    assert ids([first, second]) == made[:2]


@pytest.mark.timing
async def test_two_instances_never_settle_one_claim(postgresql_url: str, hand: Hand) -> None:
    engines = [database.writing_engine(postgresql_url) for _ in range(3)]
    stores = [Store(engine, hand, commit_within=HANG) for engine in engines]
    try:
        made = await pending(stores[0], 60)
        for _ in range(5):
            claims = (await stores[0].claim("crm", 60, LEASE)).claims
            hand.turn(LEASE + 1)
            taken = await asyncio.gather(*(one.take_over(expired_only=True) for one in stores))
            assert sorted(claim.event_id for some in taken for claim, _ in some) == sorted(made)
            await stores[0].release(claims)
    finally:
        for one in stores:
            await asyncio.to_thread(one.close)
        for engine in engines:
            engine.dispose()


async def test_what_is_found_unfinished_can_be_recorded(store: Store, look: Engine) -> None:
    await pending(store, 1)
    await claim_one(store)
    ((found, at),) = await store.take_over(expired_only=False)
    recorded = await store.record(found, an_attempt(Outcome.UNKNOWN, started_at=at), Held("unknown"))
    assert (recorded.state, recorded.late) == (EventState.HELD, False)


# indexes


async def test_a_claim_among_thousands_uses_the_index_of_what_is_due(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    webhook = a_webhook()
    with engine.begin() as connection:
        for n in range(10):
            made = [an_event(webhook, f"{n}-{m}", target=f"t{m % 3}") for m in range(500)]
            accept(connection, [_acceptance(replace(webhook, id=f"wh_{n}"), made)])
    seen: list[str] = []
    writing(engine).set_trace_callback(seen.append)
    ask = Ask(target="t1", limit=8, now=NOW, claimed_at=NOW, lease_until=NOW + LEASE)
    with engine.begin() as connection:
        (claimed,) = claim(connection, [dataclasses.replace(ask, limit=2000)])
        assert len(claimed.claims) == 10 * 167
        assert len(claim(connection, [dataclasses.replace(ask, target="t2")])[0].claims) == 8
    plans = {sql: _plan(engine, sql) for sql in seen if sql.startswith("SELECT")}
    due = [plan for sql, plan in plans.items() if "LIMIT" in sql]
    next_ = [plan for sql, plan in plans.items() if "min(" in sql]
    assert due
    assert next_
    for plan in due:
        assert "USING INDEX ix_events_due (target=? AND next_attempt_at<?)" in plan
        assert "TEMP B-TREE" not in plan  # the order comes from the index as well
    for plan in next_:
        assert "USING INDEX ix_events_due (target=?" in plan
    engine.dispose()


async def test_looking_for_leases_that_ran_out_uses_the_index_of_what_is_being_sent(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    seen: list[str] = []
    writing(engine).set_trace_callback(seen.append)
    with engine.begin() as connection:
        take_over(connection, [TakeOver(NOW, NOW)])
    (plan,) = [_plan(engine, sql) for sql in seen if sql.startswith("UPDATE")]
    assert "USING INDEX ix_events_sending (lease_until<?)" in plan
    engine.dispose()


def _plan(engine: Engine, sql: str) -> str:
    """How SQLite goes about a query; without statistics its values are nothing to it."""
    with engine.begin() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
    return "\n".join(step[-1] for step in steps)


def _acceptance(webhook: Webhook, made: Sequence[Event]) -> Acceptance:
    return Acceptance(webhook=webhook, mapping=mapped(*made), now=NOW, created_at=NOW, window=WINDOW)
