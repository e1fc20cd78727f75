"""Events of one target, source and order_by value go one after another, whatever becomes of the one before."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from clocks import Hand
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, text

from bridge.model import (
    Claim,
    Dead,
    Decision,
    Delivered,
    Held,
    Outcome,
    Pause,
    PauseReason,
    RetryAt,
    Webhook,
)
from bridge.store import attempts, claims, database, reader
from bridge.store.actions import Action, Erased
from bridge.store.store import Store
from bridge.store.webhooks import Acceptance, accept

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
    failed,
    ids,
    mapped,
    together,
)

pytestmark = pytest.mark.anyio


async def accepted(store: Store, *keys: str | None, **fields: Any) -> list[str]:
    """One event for each key, each of a webhook of its own; their ids, in order of commit."""
    return [(await stored(store, key, **fields))[1] for key in keys]


async def stored(store: Store, key: str | None, source: str = "shop", **fields: Any) -> tuple[Webhook, str]:
    webhook = a_webhook(source=source)
    made = an_event(webhook, order_key=key, **fields)
    await store.accept(webhook, mapped(made), WINDOW)
    return webhook, made.id


async def claimed(store: Store, target: str = "crm") -> list[str]:
    return ids((await store.claim(target, 100, LEASE)).claims)


async def head(store: Store) -> Claim:
    (claim,) = (await store.claim("crm", 100, LEASE)).claims
    return claim


async def end(store: Store, claim: Claim, decision: Decision, outcome: Outcome = Outcome.DELIVERED) -> None:
    await store.record(claim, an_attempt(outcome), decision)


async def test_the_next_is_due_also_where_another_process_commits_it_just_when_the_one_before_ends(
    postgresql_url: str,
) -> None:
    engine, another = database.writing_engine(postgresql_url), database.writing_engine(postgresql_url)
    store = Store(engine, Hand(NOW))
    await accepted(store, "anna")
    before = await head(store)
    webhook = a_webhook()
    made = an_event(webhook, order_key="anna")
    with another.begin() as connection:
        accept(
            connection,
            [Acceptance(webhook=webhook, mapping=mapped(made), now=NOW, created_at=NOW, window=WINDOW)],
        )
        ending = asyncio.create_task(end(store, before, Delivered()))
        await asyncio.wait([ending], timeout=0.3)  # neither of the two sees what the other has done
    await ending
    assert await claimed(store) == [made.id]
    store.close()
    engine.dispose()
    another.dispose()


async def test_events_of_one_value_are_claimed_one_after_another_in_order_of_commit(store: Store) -> None:
    first, second, third = await accepted(store, "anna", "anna", "anna")
    for expected in (first, second, third):
        claim = await head(store)
        assert claim.event_id == expected
        assert await claimed(store) == []
        await end(store, claim, Delivered())
    assert await claimed(store) == []


async def test_events_of_other_values_and_of_none_do_not_wait(store: Store) -> None:
    made = await accepted(store, "anna", "bert", None, None, "", "anna")
    assert await claimed(store) == made[:5]


async def test_a_value_is_one_of_its_source_and_target_only(store: Store) -> None:
    here = await accepted(store, "anna", "anna")
    elsewhere = await accepted(store, "anna", source="forms")
    erp = await accepted(store, "anna", target="erp")
    assert await claimed(store) == [here[0], *elsewhere]
    assert await claimed(store, "erp") == erp


async def test_events_of_one_webhook_go_in_the_order_of_its_rules(store: Store) -> None:
    webhook = a_webhook()
    made = [an_event(webhook, str(number), order_key="anna") for number in range(3)]
    await store.accept(webhook, mapped(*made), WINDOW)
    for one in made:
        claim = await head(store)
        assert claim.event_id == one.id
        await end(store, claim, Delivered())


async def test_one_batch_of_several_webhooks_and_values_makes_each_values_first_due(store: Store, hand: Hand) -> None:
    webhooks = [a_webhook() for _ in range(6)]
    keys = ["anna", "bert", "anna", None, "bert", "carl"]
    made = [an_event(one, order_key=key) for one, key in zip(webhooks, keys, strict=True)]
    twice = a_webhook()
    calls = [
        store.accept(one, mapped(its, key=f"id-{n}"), WINDOW)
        for n, (one, its) in enumerate(zip(webhooks, made, strict=True))
    ]
    duplicate = store.accept(twice, mapped(an_event(twice, order_key="anna"), key="id-0"), WINDOW)
    receipts = await together(store, *calls, duplicate)
    assert [receipt.duplicate for receipt in receipts] == [False] * 6 + [True]
    assert receipts[6].event_ids == (made[0].id,)
    assert await claimed(store) == [made[n].id for n in (0, 1, 3, 5)]


async def test_a_duplicate_does_not_move_what_waits(store: Store) -> None:
    first, second = (a_webhook() for _ in range(2))
    made = [an_event(one, order_key="anna") for one in (first, second)]
    for one, its in zip((first, second), made, strict=True):
        await store.accept(one, mapped(its, key=one.id), WINDOW)
    again = a_webhook()
    assert (await store.accept(again, mapped(an_event(again, order_key="anna"), key=second.id), WINDOW)).duplicate
    assert await claimed(store) == [made[0].id]


# what keeps the others waiting


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (RetryAt(NOW + MINUTE), Outcome.UNAVAILABLE),
        (Held("unknown"), Outcome.UNKNOWN),
    ],
    ids=["pending", "held"],
)
async def test_the_first_keeps_the_others_waiting_while(decision: Decision, outcome: Outcome, store: Store) -> None:
    await accepted(store, "anna", "anna")
    await end(store, await head(store), decision, outcome)
    assert await claimed(store) == []


async def test_a_first_that_waits_for_its_retry_tells_when_to_come_again(store: Store, hand: Hand) -> None:
    first, _ = await accepted(store, "anna", "anna")
    await end(store, await head(store), RetryAt(NOW + MINUTE), Outcome.UNAVAILABLE)
    assert (await store.claim("crm", 5, LEASE)).next_due_at == NOW + MINUTE
    hand.turn(MINUTE)
    assert await claimed(store) == [first]


async def test_where_all_others_wait_nothing_is_ever_due(store: Store) -> None:
    await accepted(store, "anna", "anna", "anna")
    await end(store, await head(store), Held("unknown"), Outcome.UNKNOWN)
    assert (await store.claim("crm", 5, LEASE)).next_due_at is None


async def test_an_event_whose_target_pauses_stays_the_first(store: Store) -> None:
    first, _ = await accepted(store, "anna", "anna")
    await end(store, await head(store), Pause(PauseReason.UNAUTHORIZED), Outcome.UNAUTHORIZED)
    assert await claimed(store) == [first]


async def test_a_claim_that_was_never_sent_stays_the_first(store: Store) -> None:
    first, _ = await accepted(store, "anna", "anna")
    await store.release([await head(store)])
    assert await claimed(store) == [first]


async def test_a_shadow_rules_events_keep_nobody_waiting(store: Store) -> None:
    await accepted(store, "anna", send=False)
    second, _ = await accepted(store, "anna", "anna")
    assert await claimed(store) == [second]


# what makes the next one due

Way = Callable[[Store, Hand, Webhook], Awaitable[Any]]


async def delivered(store: Store, hand: Hand, webhook: Webhook) -> None:
    await end(store, await head(store), Delivered())


async def rejected(store: Store, hand: Hand, webhook: Webhook) -> None:
    await end(store, await head(store), Dead("rejected"), Outcome.REJECTED)


async def tried_too_often(store: Store, hand: Hand, webhook: Webhook) -> None:
    await end(store, await head(store), RetryAt(hand.at), Outcome.UNAVAILABLE)
    await end(store, await head(store), Dead("max_attempts"), Outcome.UNAVAILABLE)


async def delivered_late(store: Store, hand: Hand, webhook: Webhook) -> None:
    claim = await head(store)
    await end(store, claim, RetryAt(hand.at + DAY), Outcome.UNKNOWN)
    await end(store, claim, Delivered())


async def delivered_late_while_held(store: Store, hand: Hand, webhook: Webhook) -> None:
    claim = await head(store)
    await end(store, claim, Held("unknown"), Outcome.UNKNOWN)
    await end(store, claim, Delivered())


async def discarded(store: Store, hand: Hand, webhook: Webhook) -> None:
    (first,) = first_of(await store.load(webhook.id))
    assert (await store.change(Action.DISCARD, [first])).ids == (first,)


async def discarded_while_held(store: Store, hand: Hand, webhook: Webhook) -> None:
    await end(store, await head(store), Held("unknown"), Outcome.UNKNOWN)
    await discarded(store, hand, webhook)


async def erased(store: Store, hand: Hand, webhook: Webhook) -> None:
    assert await store.erase(webhook.id) is Erased.DONE


async def remapped_away(store: Store, hand: Hand, webhook: Webhook) -> None:
    await store.remap(webhook, mapped())


async def remapped_away_while_it_waits_for_a_retry(store: Store, hand: Hand, webhook: Webhook) -> None:
    await end(store, await head(store), RetryAt(hand.at + DAY), Outcome.UNAVAILABLE)
    await store.remap(webhook, mapped())


def first_of(webhook: Webhook) -> list[str]:
    return [an_event(webhook).id]


WAYS: list[Way] = [
    delivered,
    rejected,
    tried_too_often,
    delivered_late,
    delivered_late_while_held,
    discarded,
    discarded_while_held,
    erased,
    remapped_away,
    remapped_away_while_it_waits_for_a_retry,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_the_next_is_due_at_once_when_the_first_is(way: Way, store: Store, hand: Hand) -> None:
    webhook, _ = await stored(store, "anna")
    second, third = await accepted(store, "anna", "anna")
    hand.turn(MINUTE)
    await way(store, hand, webhook)
    taken = await store.claim("crm", 100, LEASE)
    assert ids(taken.claims) == [second]
    assert taken.next_due_at is None  # the third waits in its turn
    await end(store, taken.claims[0], Delivered())
    assert await claimed(store) == [third]


@pytest.mark.parametrize("before", ["bert", None])
async def test_a_late_delivery_frees_the_value_that_its_event_was_remapped_to(
    store: Store, hand: Hand, before: str | None
) -> None:
    webhook, _ = await stored(store, before)
    claim = await head(store)
    await end(store, claim, RetryAt(hand.at), Outcome.UNKNOWN)
    await store.remap(webhook, mapped(an_event(webhook, order_key="anna")))
    (second,) = await accepted(store, "anna")
    await end(store, claim, Delivered())
    assert await claimed(store) == [second]


async def test_the_next_is_due_at_once_when_the_first_grew_too_old(store: Store, hand: Hand) -> None:
    await accepted(store, "anna", max_age=HOUR)
    second, third = await accepted(store, "anna", "anna")
    hand.turn(HOUR)
    taken = await store.claim("crm", 100, LEASE)
    assert (len(taken.claims), len(taken.expired)) == (0, 1)
    assert taken.next_due_at == hand.at
    assert await claimed(store) == [second]
    assert third


async def test_a_line_of_events_that_all_grew_too_old_ends(store: Store, hand: Hand) -> None:
    made = await accepted(store, *["anna"] * 5, max_age=HOUR)
    hand.turn(HOUR)
    gone: list[str] = []
    while (taken := await store.claim("crm", 3, LEASE)).expired:
        gone += ids(taken.expired)
    assert gone == made
    assert taken.next_due_at is None


async def test_what_becomes_due_takes_its_place_among_all_others_by_the_moment(store: Store, hand: Hand) -> None:
    webhook, _ = await stored(store, "anna")
    (second,) = await accepted(store, "anna")
    others = await accepted(store, None, None)
    hand.turn(MINUTE)
    await store.erase(webhook.id)
    assert await claimed(store) == [*others, second]


async def test_a_remap_to_another_value_frees_the_old_one_and_waits_at_the_end_of_the_new(store: Store) -> None:
    webhook, first = await stored(store, "anna")
    anna, bert = await accepted(store, "anna", "bert")
    await store.remap(webhook, mapped(an_event(webhook, order_key="bert")))
    taken = (await store.claim("crm", 100, LEASE)).claims
    assert ids(taken) == [anna, bert]
    await end(store, taken[1], Delivered())
    assert await claimed(store) == [first]


async def test_a_remap_to_the_same_value_keeps_its_place(store: Store) -> None:
    webhook, first = await stored(store, "anna")
    await accepted(store, "anna")
    await store.remap(webhook, mapped(an_event(webhook, order_key="anna", text="new")))
    claim = await head(store)
    assert (claim.event_id, claim.text) == (first, "new")


async def test_what_a_remap_adds_and_what_it_makes_anew_stand_in_the_order_of_the_rules(store: Store) -> None:
    webhook = a_webhook()
    first, second = (an_event(webhook, item, order_key="anna") for item in "ab")
    await store.accept(webhook, mapped(first), WINDOW)
    await end(store, await head(store), Dead("rejected"))
    await store.remap(webhook, mapped(first, second))
    for event in (first, second):
        claim = await head(store)
        assert claim.event_id == event.id
        await end(store, claim, Delivered())


async def test_many_events_wait_like_few_where_their_key_is_taken(store: Store) -> None:
    (before,) = await accepted(store, "line 7")
    webhook = a_webhook()
    made = mapped(*(an_event(webhook, str(number), order_key=f"line {number}") for number in range(1_000)))
    await store.accept(webhook, made, WINDOW)
    claims = (await store.claim("crm", 1001, LEASE)).claims
    assert len(claims) == 1_000
    assert made.events[7].id not in ids(claims)
    await end(store, next(claim for claim in claims if claim.event_id == before), Delivered())
    assert await claimed(store) == [made.events[7].id]


async def test_a_webhook_may_have_ten_thousand_lines(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    made = mapped(*(an_event(webhook, str(number), order_key=f"line {number}") for number in range(10_000)))
    due = text("SELECT count(*) FROM events WHERE next_attempt_at = :now ")
    await store.accept(webhook, made, WINDOW)
    with look.connect() as connection:
        assert connection.execute(due, {"now": NOW}).scalar() == 10_000
    await store.remap(webhook, mapped(*(replace(event, order_key="one") for event in made.events)))
    with look.connect() as connection:
        assert connection.execute(due, {"now": NOW}).scalar() == 1
    assert await claimed(store) == [made.events[0].id]


async def test_a_remap_that_orders_no_more_frees_both(store: Store) -> None:
    webhook, first = await stored(store, "anna")
    (second,) = await accepted(store, "anna")
    await store.remap(webhook, mapped(an_event(webhook)))
    assert await claimed(store) == [first, second]


async def test_a_rule_that_breaks_in_a_remap_leaves_the_line_as_it_was(store: Store) -> None:
    webhook, first = await stored(store, "anna")
    await accepted(store, "anna")
    await store.remap(webhook, failed())
    assert await claimed(store) == [first]


# again


async def test_a_replayed_event_goes_to_the_end(store: Store) -> None:
    first, second, third = await accepted(store, "anna", "anna", "anna")
    await end(store, await head(store), Dead("rejected"), Outcome.REJECTED)
    changed = await store.change(Action.REPLAY, [first])
    assert changed.ids == (first,)
    assert changed.out_of_order == ()
    for expected in (second, third, first):
        claim = await head(store)
        assert claim.event_id == expected
        await end(store, claim, Delivered())


async def test_a_replayed_event_that_nobody_is_before_is_due_at_once(store: Store, hand: Hand) -> None:
    (first,) = await accepted(store, "anna")
    await end(store, await head(store), Dead("rejected"), Outcome.REJECTED)
    hand.turn(DAY)
    await store.change(Action.REPLAY, [first])
    assert (await store.claim("crm", 0, LEASE)).next_due_at == hand.at
    assert await claimed(store) == [first]


async def test_a_replay_after_a_later_delivery_of_the_same_value_is_out_of_order(store: Store) -> None:
    first, second, other = await accepted(store, "anna", "anna", "bert")
    for decision in (Dead("rejected"), Delivered()):
        for claim in (await store.claim("crm", 100, LEASE)).claims:
            await end(store, claim, Delivered() if claim.order_key == "bert" else decision)
    changed = await store.change(Action.REPLAY, [first, second, other])
    assert changed.ids == (first, second, other)
    assert changed.out_of_order == (first,)
    assert await claimed(store) == [first, other]  # in their old order behind whatever came meanwhile


async def test_a_replay_without_order_by_is_never_out_of_order(store: Store) -> None:
    made = await accepted(store, None, None)
    dead, done = (await store.claim("crm", 100, LEASE)).claims
    await end(store, dead, Dead("rejected"), Outcome.REJECTED)
    await end(store, done, Delivered())
    assert (await store.change(Action.REPLAY, made)).out_of_order == ()


async def test_a_released_event_keeps_its_place(store: Store) -> None:
    first, _ = await accepted(store, "anna", "anna")
    await end(store, await head(store), Held("unknown"), Outcome.UNKNOWN)
    assert (await store.change(Action.RELEASE, [first])).ids == (first,)
    assert await claimed(store) == [first]


async def test_an_event_that_was_discarded_while_it_waited_waits_again_when_replayed(store: Store) -> None:
    first, second = await accepted(store, "anna", "anna")
    await store.change(Action.DISCARD, [second])
    await store.change(Action.REPLAY, [second])
    claim = await head(store)
    assert claim.event_id == first
    await end(store, claim, Delivered())
    assert await claimed(store) == [second]


# what people see


async def test_a_waiting_event_says_so_and_has_no_next_attempt(store: Store, url: str) -> None:
    first, second = await accepted(store, "anna", "anna")
    with reader.reading(url) as connection:
        shown = {row["id"]: row for row in reader.list_events(connection, reader.Filter())}
        assert reader.show_event(connection, second)["reason"] == shown[second]["reason"]
    assert shown[first]["reason"] is None
    assert shown[first]["next_attempt_at"] == "2023-11-14T22:13:20.000Z"
    assert shown[second]["reason"] == "waits for an earlier event of its order_by"
    assert shown[second]["next_attempt_at"] is None


# in any order of happenings


@pytest.mark.parametrize("seed", range(5))
async def test_no_two_of_one_value_are_ever_on_their_way_and_none_overtakes(
    seed: int, store: Store, hand: Hand
) -> None:
    chance = random.Random(seed)
    waiting: dict[str, list[str]] = {"anna": [], "bert": [], "carl": []}
    for key in chance.choices([*waiting], k=30):
        waiting[key] += await accepted(store, key)
    sending: dict[str, Claim] = {}
    while any(waiting.values()):
        for claim in (await store.claim("crm", chance.randint(1, 5), LEASE)).claims:
            key = str(claim.order_key)
            assert key not in sending
            assert claim.event_id == waiting[key][0]
            sending[key] = claim
        if sending and chance.random() < 0.8:
            claim = sending.pop(chance.choice([*sending]))
            decisions: list[Decision] = [Delivered(), Dead("rejected"), RetryAt(hand.at + 5), RetryAt(hand.at)]
            decision = chance.choice(decisions)
            await end(store, claim, decision, Outcome.DELIVERED if decision == Delivered() else Outcome.UNAVAILABLE)
            if not isinstance(decision, RetryAt):
                waiting[str(claim.order_key)].pop(0)
        elif not sending and chance.random() < 0.3:
            key = chance.choice([key for key, line in waiting.items() if line])
            gone = waiting[key].pop(chance.randrange(len(waiting[key])))
            assert (await store.change(Action.DISCARD, [gone])).ids == (gone,)
        hand.turn(1)
    assert await claimed(store) == []


# what it costs


def test_a_claim_does_not_look_at_what_waits(url: str) -> None:
    few, many = (_examined(url, waiting) for waiting in (20, 20_000))
    assert many <= few * 1.2 + 50


def _examined(url: str, waiting: int) -> float:
    """What the database looks at for a claim among so many that wait, and for the record that makes the next due."""
    engine = database.writing_engine(url)
    webhook = a_webhook()
    made = tuple(an_event(webhook, str(number), order_key=webhook.id) for number in range(waiting))
    with engine.begin() as connection:
        accept(
            connection,
            [Acceptance(webhook=webhook, mapping=mapped(*made), now=NOW, created_at=NOW, window=WINDOW)],
        )
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE events"))
    counted = _Counted(engine)
    with engine.begin() as connection:
        (taken,) = counted.by(
            connection,
            lambda: claims.claim(
                connection,
                [claims.Ask(target="crm", limit=8, now=NOW, claimed_at=NOW, lease_until=NOW + LEASE)],
            ),
        )
        assert ids(taken.claims) == [made[0].id]
        result = attempts.Result(
            claim=taken.claims[0], attempt=an_attempt(), decision=Delivered(), now=NOW, delivered_at=NOW
        )
        counted.by(connection, lambda: attempts.record(connection, [result]))
        (taken,) = counted.by(
            connection,
            lambda: claims.claim(
                connection,
                [claims.Ask(target="crm", limit=8, now=NOW, claimed_at=NOW, lease_until=NOW + LEASE)],
            ),
        )
        assert ids(taken.claims) == [made[1].id]
        held = attempts.Result(
            claim=taken.claims[0],
            attempt=an_attempt(Outcome.UNKNOWN),
            decision=Held("unknown"),
            now=NOW,
            delivered_at=NOW,
        )
        attempts.record(connection, [held])
    engine.dispose()
    return counted.total


class _Counted:
    """Counts SQLite's steps, or the rows that PostgreSQL's scans look at."""

    def __init__(self, engine: Engine) -> None:
        self.total = 0.0
        self._engine = engine

    def by(self, connection: Connection, work: Callable[[], Any]) -> Any:
        if self._engine.dialect.name == "postgresql":
            self._explain(connection, work)
            return work()
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(self._step, 1)
        try:
            return work()
        finally:
            raw.set_progress_handler(None, 1)

    def _step(self) -> None:
        self.total += 1

    def _explain(self, connection: Connection, work: Callable[[], Any]) -> None:
        """Do the work twice, each time undone: to see its statements, and to have them explained."""
        seen: list[tuple[str, Any]] = []

        class Seeing(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
                seen.append((str(query), params))
                return super().execute(query, params, **how)

            def executemany(self, query: Any, params_seq: Any, **how: Any) -> Any:
                seen.extend((str(query), one) for one in params_seq)
                return super().executemany(query, params_seq, **how)

        raw: Any = connection.connection.dbapi_connection
        raw.cursor_factory = Seeing
        with connection.begin_nested() as undone:
            work()
            undone.rollback()
        raw.cursor_factory = psycopg.Cursor
        with connection.begin_nested() as undone:
            for sql, values in seen:
                if sql.startswith(("SELECT", "UPDATE", "INSERT")):
                    (plan,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values).scalar_one()
                    self.total += _rows(plan["Plan"])
            undone.rollback()


def _rows(plan: dict[str, Any]) -> float:
    is_scan = "Relation Name" in plan and plan["Node Type"] != "ModifyTable"
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if is_scan else 0
    return float(own * plan["Actual Loops"]) + sum(map(_rows, plan.get("Plans", ())))
