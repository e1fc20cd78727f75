import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from clocks import Hand
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, event, func, select
from targets import put_target

from bridge import jsontext
from bridge.errors import StoreError, StoreUnavailable
from bridge.model import (
    Claim,
    Dead,
    Delivered,
    EventState,
    Held,
    Mapped,
    Outcome,
    Receipt,
    RetryAt,
    Webhook,
    WebhookState,
)
from bridge.store import database, reader
from bridge.store.actions import Erased
from bridge.store.store import Store
from bridge.store.tables import dedupe, duplicates, events, webhooks
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
    event_row,
    failed,
    mapped,
    one,
    states,
    together,
    webhook_ids,
)

pytestmark = pytest.mark.anyio

HOSTILE = '\0 "\\ \x7f\x85 é 漢 👩‍👩‍👧 \u2028 \uffff \U0010ffff'
HUGE = 2**70


async def test_a_webhook_is_stored_with_its_events_and_the_receipt_names_them(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    made = an_event(webhook, "a"), an_event(webhook, "b")
    receipt = await store.accept(webhook, mapped(*made, key="k"), WINDOW)
    assert receipt == Receipt(
        webhook_id=webhook.id,
        event_ids=(made[0].id, made[1].id),
        state=WebhookState.MAPPED,
        duplicate=False,
    )
    assert webhook_ids(look) == [webhook.id]
    assert states(look) == ["pending", "pending"]
    row = event_row(look, made[1].id)
    assert (row.webhook_id, row.item_key, row.type, row.on_unknown) == (webhook.id, "b", "OrderPlaced", "retry")
    assert (row.attempts, row.retries, row.created_at, row.next_attempt_at) == (0, 0, NOW, NOW)
    assert row.expires_at == NOW + 2 * DAY


async def test_one_commit_holds_the_webhook_its_key_and_its_events_or_nothing(
    store: Store, url: str, look: Engine
) -> None:
    webhook = a_webhook()
    broken = replace(an_event(webhook, "b"), id=an_event(webhook, "a").id)  # the same id twice: the last insert fails
    with pytest.raises(StoreUnavailable):
        await store.accept(webhook, mapped(an_event(webhook, "a"), broken, key="k"), WINDOW)
    with look.connect() as connection:
        for table in (webhooks, events, dedupe):
            assert connection.execute(select(table)).all() == []
    assert not (await store.accept(*_keyed("k"), WINDOW)).duplicate


@pytest.mark.parametrize("state", list(WebhookState))
async def test_whatever_the_mapping_says_is_stored_and_told(state: WebhookState, store: Store, look: Engine) -> None:
    webhook = a_webhook()
    made = (an_event(webhook),) if state is WebhookState.MAPPED else ()
    receipt = await store.accept(webhook, Mapped(state=state, events=made), WINDOW)
    assert receipt.state is state
    with look.connect() as connection:
        assert connection.execute(select(webhooks.c.state)).scalars().all() == [state]


async def test_a_duplicate_repeats_the_first_receipt_and_stores_nothing(store: Store, look: Engine, hand: Hand) -> None:
    first = a_webhook()
    receipt = await store.accept(first, mapped(an_event(first, "a"), an_event(first, "b"), key="k"), WINDOW)
    hand.turn(DAY)
    again = a_webhook(body=b"another body")
    repeated = await store.accept(again, mapped(an_event(again, "c"), key="k"), WINDOW)
    assert repeated == replace(receipt, duplicate=True, differs=True)
    assert webhook_ids(look) == [first.id]
    assert len(states(look)) == 2


@pytest.mark.parametrize("state", [WebhookState.FAILED, WebhookState.UNREADABLE, WebhookState.IGNORED])
async def test_a_duplicate_tells_the_state_that_the_first_has_now(state: WebhookState, store: Store) -> None:
    first = a_webhook()
    await store.accept(first, Mapped(state=state, dedupe_key="k"), WINDOW)
    assert (await store.accept(*_keyed("k"), WINDOW)).state is state
    await store.remap(first, mapped(an_event(first)))
    third = await store.accept(*_keyed("k"), WINDOW)
    assert (third.state, third.event_ids) == (WebhookState.MAPPED, (an_event(first).id,))


async def test_duplicates_within_one_batch_are_one_new_and_the_rest_duplicates(store: Store, look: Engine) -> None:
    deliveries = [_keyed(key) for key in ("k", "other", "k", "k", "other")]
    receipts = await together(store, *(store.accept(*delivery, WINDOW) for delivery in deliveries))
    firsts = deliveries[0][0].id, deliveries[1][0].id
    assert [r.webhook_id for r in receipts] == [firsts[0], firsts[1], firsts[0], firsts[0], firsts[1]]
    assert [r.duplicate for r in receipts] == [False, False, True, True, True]
    assert receipts[2].event_ids == receipts[0].event_ids == (deliveries[0][1].events[0].id,)
    assert webhook_ids(look) == list(firsts)


async def test_fifty_equal_webhooks_at_once_are_one_new_and_49_duplicates_of_it(store: Store, look: Engine) -> None:
    receipts = await asyncio.gather(*(store.accept(*_keyed("k"), WINDOW) for _ in range(50)))
    assert sorted(r.duplicate for r in receipts) == [False] + [True] * 49
    assert {(r.webhook_id, r.event_ids) for r in receipts} == {(receipts[0].webhook_id, receipts[0].event_ids)}
    assert webhook_ids(look) == [receipts[0].webhook_id]
    assert states(look) == ["pending"]


async def test_two_processes_on_postgresql_agree_on_who_was_first(postgresql_url: str) -> None:
    engines = [database.writing_engine(postgresql_url) for _ in range(2)]
    stores = [Store(engine) for engine in engines]
    receipts = await asyncio.gather(
        *(store.accept(*_keyed(f"k{n % 5}"), WINDOW) for n in range(100) for store in stores)
    )
    news = [r.webhook_id for r in receipts if not r.duplicate]
    assert len(news) == 5
    for store in stores:
        store.close()
    assert {r.webhook_id for r in receipts} == set(news) == set(webhook_ids(engines[0]))
    for engine in engines:
        engine.dispose()


async def test_the_same_key_at_another_source_is_new(store: Store) -> None:
    assert not (await store.accept(*_keyed("k", source="shop"), WINDOW)).duplicate
    assert not (await store.accept(*_keyed("k", source="github"), WINDOW)).duplicate
    assert (await store.accept(*_keyed("k", source="github"), WINDOW)).duplicate


async def test_a_key_is_new_again_once_its_window_is_over(store: Store, look: Engine, hand: Hand) -> None:
    first, second = _keyed("k"), _keyed("k")
    await store.accept(*first, WINDOW)
    hand.turn(WINDOW - 1)
    assert (await store.accept(*_keyed("k"), WINDOW)).webhook_id == first[0].id
    hand.turn(1)
    assert not (await store.accept(*second, WINDOW)).duplicate
    hand.turn(WINDOW - 1)  # and a window of its own begins with it
    assert (await store.accept(*_keyed("k"), WINDOW)).webhook_id == second[0].id
    assert webhook_ids(look) == [first[0].id, second[0].id]


async def test_an_old_key_twice_in_one_batch_is_new_once(store: Store, hand: Hand) -> None:
    await store.accept(*_keyed("k"), WINDOW)
    hand.turn(WINDOW)
    deliveries = [_keyed("k") for _ in range(3)]
    receipts = await together(store, *(store.accept(*delivery, WINDOW) for delivery in deliveries))
    assert [r.webhook_id for r in receipts] == [deliveries[0][0].id] * 3
    assert [r.duplicate for r in receipts] == [False, True, True]


async def test_a_clock_that_was_set_back_makes_no_key_new(store: Store, hand: Hand) -> None:
    await store.accept(*_keyed("k"), WINDOW)
    hand.turn(-30 * DAY)
    assert (await store.accept(*_keyed("k"), WINDOW)).duplicate


async def test_without_a_key_nothing_is_a_duplicate(store: Store, look: Engine) -> None:
    receipts = await asyncio.gather(*(store.accept(*one(), WINDOW) for _ in range(3)))
    assert [r.duplicate for r in receipts] == [False] * 3
    assert len(webhook_ids(look)) == 3


async def test_an_empty_key_is_a_key(store: Store) -> None:
    assert [(await store.accept(*_keyed(""), WINDOW)).duplicate for _ in range(2)] == [False, True]


async def test_whatever_strangers_send_comes_back_as_it_was(store: Store, look: Engine, url: str) -> None:
    webhook = a_webhook(
        body=bytes(range(256)) + HOSTILE.encode(),
        headers={"x-hostile": HOSTILE, "x-latin": "\xff\x00"},
        query=HOSTILE,
        method="PUT",
        delivery_id=HOSTILE,
    )
    attributes: dict[str, Any] = {"text": HOSTILE, HOSTILE: [HUGE, -HUGE, 1.5, None, True, {}]}
    event = an_event(webhook, attributes=attributes, text=HOSTILE)
    await store.accept(webhook, mapped(event), WINDOW)
    assert await store.load(webhook.id) == webhook
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert claim.text == HOSTILE
    await store.record(claim, an_attempt(result={"Result": [HUGE, HOSTILE]}), Delivered())
    with reader.reading(url) as connection:
        shown = reader.show_event(connection, event.id)
    assert shown["attributes"] == attributes
    assert shown["result"] == {"Result": [HUGE, HOSTILE]}


async def test_a_body_of_a_megabyte_and_an_empty_one_are_stored(store: Store) -> None:
    for body in (b"\0" * 2**20, b""):
        webhook = a_webhook(body=body)
        await store.accept(webhook, mapped(), WINDOW)
        assert (await store.load(webhook.id)).body == body


def _text_no_utf8(taken: str) -> tuple[Webhook, Mapped]:
    return one(text="\ud800", attributes={})


def _a_time_beyond_64_bits(taken: str) -> tuple[Webhook, Mapped]:
    return one(a_webhook(received_at=HUGE))


def _an_id_that_is_taken(taken: str) -> tuple[Webhook, Mapped]:
    return one(a_webhook(id=taken))


@pytest.mark.parametrize("bad", [_text_no_utf8, _a_time_beyond_64_bits, _an_id_that_is_taken])
async def test_a_bad_row_fails_alone(bad: Callable[[str], tuple[Webhook, Mapped]], store: Store, look: Engine) -> None:
    earlier = one()
    await store.accept(*earlier, WINDOW)
    good = [_keyed(f"k{n}") for n in range(6)]
    calls = [store.accept(*delivery, WINDOW) for delivery in good]
    calls.insert(3, store.accept(*bad(earlier[0].id), WINDOW))
    outcomes = await together(store, *calls)
    assert isinstance(outcomes.pop(3), StoreUnavailable)
    assert [(r.webhook_id, r.duplicate) for r in outcomes] == [(webhook.id, False) for webhook, _ in good]
    assert webhook_ids(look) == [earlier[0].id, *(webhook.id for webhook, _ in good)]
    assert len(states(look)) == 7


async def test_what_a_failure_says_holds_nothing_of_the_body(store: Store) -> None:
    secret = "card 4111111111111111"
    taken = a_webhook(body=secret.encode(), headers={"x": secret}, query=secret)
    await store.accept(taken, mapped(), WINDOW)
    with pytest.raises(StoreUnavailable) as caught:
        await store.accept(taken, mapped(an_event(taken, attributes=secret)), WINDOW)
    error: BaseException | None = caught.value
    while error:
        assert secret not in f"{error} {error!r}"
        assert secret.encode().hex() not in f"{error} {error!r}"
        error = error.__cause__
    assert "\n" not in str(caught.value)


async def test_loading_a_webhook_that_is_not_there_says_so_and_disturbs_nobody(store: Store) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(), WINDOW)
    missing, there = await together(store, store.load("wh_none"), store.load(webhook.id))
    assert type(missing) is StoreError
    assert "wh_none" in str(missing)
    assert there == webhook


# remap


async def test_remap_leaves_alone_what_is_delivered_being_sent_held_or_discarded(
    store: Store, engine: Engine, look: Engine, hand: Hand
) -> None:
    webhook = a_webhook()
    made = [an_event(webhook, item) for item in ("delivered", "held", "discarded", "sending")]
    await store.accept(webhook, mapped(*made), WINDOW)
    await _in_state(store, "crm", Delivered())
    await _in_state(store, "crm", Held("unknown"))
    await store.remap(webhook, mapped(made[0], made[1], made[3]))  # no longer made: discarded
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    before = [event_row(look, event.id) for event in made]
    assert [row.state for row in before] == ["delivered", "held", "discarded", "sending"]
    hand.turn(HOUR)
    again = [replace(event, text="new", form="text", type="New", max_age=1) for event in made]
    receipt = await store.remap(webhook, mapped(*again))
    assert [event_row(look, event.id) for event in made] == before
    assert receipt.event_ids == tuple(event.id for event in made)
    recorded = await store.record(claim, an_attempt(), Delivered())
    assert (recorded.state, recorded.late) == (EventState.DELIVERED, False)


@pytest.mark.parametrize("dead", [False, True])
async def test_remap_replaces_what_is_pending_or_dead_under_the_same_id_and_starts_it_anew(
    dead: bool, store: Store, look: Engine, hand: Hand, url: str
) -> None:
    webhook = a_webhook()
    old = an_event(webhook, "a")
    await store.accept(webhook, mapped(old), WINDOW)
    await _in_state(store, "crm", Dead("rejected") if dead else RetryAt(NOW + DAY))
    hand.turn(HOUR)
    await put_target(store, TargetState(name="crm", paused_total=MINUTE))
    new = replace(old, text="b=2", form="pairs", rest=b'{"b":2}', type="Changed", max_age=DAY)
    receipt = await store.remap(webhook, mapped(new))
    assert receipt == Receipt(webhook_id=webhook.id, event_ids=(old.id,), state=WebhookState.MAPPED, duplicate=True)
    row = event_row(look, old.id)
    assert (row.state, row.reason, row.text, row.type) == ("pending", None, b"b=2", "Changed")
    assert (row.form, jsontext.decode(row.attributes)) == ("pairs", {"b": 2})
    assert (row.next_attempt_at, row.expires_at) == (hand.at, hand.at - MINUTE + DAY)
    assert (row.retries, row.created_at) == (0, NOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert (claim.text, claim.attempt) == ("b=2", 2)  # attempts go on counting: the fence must not be fooled
    with reader.reading(url) as connection:
        assert len(reader.show_event(connection, old.id)["attempts"]) == 1


async def test_remap_adds_what_is_newly_made(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    await store.accept(webhook, failed(an_event(webhook, "a")), WINDOW)
    receipt = await store.remap(webhook, mapped(an_event(webhook, "a"), an_event(webhook, "b")))
    assert receipt.event_ids == (an_event(webhook, "a").id, an_event(webhook, "b").id)
    assert receipt.state is WebhookState.MAPPED
    assert states(look) == ["pending", "pending"]


@pytest.mark.parametrize("kept", [True, False])
async def test_remap_discards_what_is_pending_and_no_longer_made(kept: bool, store: Store, look: Engine) -> None:
    webhook = a_webhook()
    kept_event, gone = an_event(webhook, "kept"), an_event(webhook, "gone")
    other = one()
    await store.accept(webhook, mapped(kept_event, gone), WINDOW)
    await store.accept(*other, WINDOW)
    await store.remap(webhook, mapped(kept_event) if kept else mapped())
    row = event_row(look, gone.id)
    assert (row.state, row.reason) == ("discarded", "remapped")
    assert event_row(look, kept_event.id).state == ("pending" if kept else "discarded")
    assert event_row(look, other[1].events[0].id).state == "pending"


async def test_a_remap_of_thousands_goes_in_portions_and_ends_as_one(
    engine: Engine, store: Store, look: Engine, hand: Hand
) -> None:
    webhook = a_webhook()
    made = [an_event(webhook, str(number)) for number in range(2_500)]
    await store.accept(webhook, failed(*made), WINDOW)
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    changed = [replace(one, type="Changed") for one in made[:1_500]]
    added = [an_event(webhook, f"new {number}") for number in range(1_000)]
    receipt = await store.remap(webhook, mapped(*changed, *added))
    assert len(commits) == 3
    assert receipt.discarded == tuple(one.id for one in made[1_500:])
    assert (len(receipt.event_ids), receipt.state) == (3_500, WebhookState.MAPPED)
    receipt = await store.remap(webhook, mapped())
    assert len(receipt.discarded) == 2_500
    assert set(states(look)) == {"discarded"}


async def test_remap_leaves_what_is_dead_and_no_longer_made(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    event = an_event(webhook)
    await store.accept(webhook, mapped(event), WINDOW)
    await _in_state(store, "crm", Dead("rejected"))
    await store.remap(webhook, mapped())
    assert (event_row(look, event.id).state, event_row(look, event.id).reason) == ("dead", "rejected")


@pytest.mark.parametrize("state", [WebhookState.FAILED, WebhookState.UNREADABLE])
async def test_remap_discards_nothing_where_a_rule_broke(state: WebhookState, store: Store, look: Engine) -> None:
    webhook = a_webhook()
    event = an_event(webhook)
    await store.accept(webhook, mapped(event), WINDOW)
    receipt = await store.remap(webhook, Mapped(state=state, error="broken"))
    assert (receipt.state, receipt.event_ids) == (state, (event.id,))
    assert event_row(look, event.id).state == "pending"


async def test_remap_replaces_why(store: Store, url: str) -> None:
    webhook = a_webhook()
    await store.accept(webhook, failed(error="first"), WINDOW)
    for mapping, error in ((failed(error="second"), "second"), (mapped(an_event(webhook)), None)):
        await store.remap(webhook, mapping)
        with reader.reading(url) as connection:
            shown = reader.show_webhook(connection, webhook.id)
        assert shown["state"] == mapping.state
        assert [why["error"] for why in shown["why"] or []] == ([error] if error else [])


async def test_duplicates_are_counted_at_the_first_and_those_with_another_body_told(
    store: Store, url: str, hand: Hand
) -> None:
    def told() -> Any:
        with reader.reading(url) as connection:
            return reader.show_webhook(connection, first.id)["duplicates"]

    first = a_webhook(body=b'{"v": 1}')
    await store.accept(first, mapped(key="one"), WINDOW)
    assert told() == {"count": 0, "differing": 0, "first_at": None, "last_at": None}
    same, other = (a_webhook(body=body) for body in (b'{"v": 1}', b'{"v": 2}'))
    hand.turn(MINUTE)
    receipts = await together(store, *(store.accept(one, mapped(key="one"), WINDOW) for one in (same, other)))
    assert [(receipt.webhook_id, receipt.differs) for receipt in receipts] == [(first.id, False), (first.id, True)]
    hand.turn(MINUTE)
    looked = await store.repeated(other, "one", WINDOW)
    assert looked
    assert looked.differs
    times = {"first_at": "2023-11-14T22:14:20.000Z", "last_at": "2023-11-14T22:15:20.000Z"}
    assert told() == {"count": 3, "differing": 2, **times}
    assert (await store.load(first.id)).body == b'{"v": 1}'


async def test_of_two_in_one_batch_the_second_is_told_to_differ(store: Store) -> None:
    first, second = a_webhook(body=b"1"), a_webhook(body=b"2")
    receipts = await together(store, *(store.accept(one, mapped(key="one"), WINDOW) for one in (first, second)))
    assert [(receipt.duplicate, receipt.differs) for receipt in receipts] == [(False, False), (True, True)]


async def test_what_is_known_of_duplicates_goes_with_the_first(store: Store, look: Engine) -> None:
    webhook, mapping = _keyed("one")
    await store.accept(webhook, mapping, WINDOW)
    await store.accept(*_keyed("one"), WINDOW)
    assert await store.erase(webhook.id) is Erased.DONE
    with look.connect() as connection:
        assert connection.execute(select(func.count()).select_from(duplicates)).scalar() == 0


async def test_a_duplicate_tells_whether_the_first_failed_by_a_bound_and_a_remap_settles_it(store: Store) -> None:
    key = "one"
    webhook, mapping = (
        a_webhook(),
        Mapped(state=WebhookState.FAILED, error="too much", bounded=True, dedupe_key=key),
    )
    assert not (await store.accept(webhook, mapping, WINDOW)).duplicate
    for receipt in (await store.accept(*_keyed(key), WINDOW), await store.repeated(a_webhook(), key, WINDOW)):
        assert receipt == Receipt(
            webhook_id=webhook.id, event_ids=(), state=WebhookState.FAILED, duplicate=True, bounded=True
        )
    assert (await store.remap(webhook, mapping)).bounded
    assert not (await store.remap(webhook, mapped(an_event(webhook)))).bounded
    receipt = await store.accept(*_keyed(key), WINDOW)
    assert (receipt.bounded, receipt.state) == (False, WebhookState.MAPPED)


async def test_whom_a_webhook_would_repeat_is_known_before_it_is_mapped(store: Store, hand: Hand) -> None:
    first, mapping = _keyed("one")
    assert await store.repeated(a_webhook(), "one", WINDOW) is None
    await store.accept(first, mapping, WINDOW)
    hand.turn(WINDOW - 1)
    assert await store.repeated(a_webhook(), "one", WINDOW) == await store.accept(*_keyed("one"), WINDOW)
    assert await store.repeated(a_webhook(source="other"), "one", WINDOW) is None
    assert await store.repeated(a_webhook(), "two", WINDOW) is None
    hand.turn(1)
    assert await store.repeated(a_webhook(), "one", WINDOW) is None, "its window is over"
    assert not (await store.accept(*_keyed("one"), WINDOW)).duplicate


async def test_two_remaps_in_one_batch_end_as_the_last(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    await store.accept(webhook, failed(), WINDOW)
    new = an_event(webhook, "a")
    receipts = await together(
        store, store.remap(webhook, mapped(new)), store.remap(webhook, mapped(replace(new, text="last")))
    )
    assert [r.event_ids for r in receipts] == [(new.id,)] * 2
    assert event_row(look, new.id).text == b"last"


def _keyed(key: str, **fields: Any) -> tuple[Webhook, Mapped]:
    webhook = a_webhook(**fields)
    return webhook, mapped(an_event(webhook), key=key)


async def _in_state(store: Store, target: str, decision: Delivered | Dead | Held | RetryAt) -> Claim:
    """Claim the next event and bring it where a decision brings it."""
    (claim,) = (await store.claim(target, 1, LEASE)).claims
    outcome = Outcome.DELIVERED if isinstance(decision, Delivered) else Outcome.UNKNOWN
    await store.record(claim, an_attempt(outcome), decision)
    return claim
