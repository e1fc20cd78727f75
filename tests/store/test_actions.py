"""What an operator does to events and webhooks: what moves, what is left alone, what is shown first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from clocks import Hand
from sqlalchemy import Connection, Engine, event, func, select
from targets import put_target

from bridge.errors import StoreError
from bridge.model import Dead, Delivered, EventState, Held, Outcome, RetryAt, Unclear
from bridge.store import actions, reader
from bridge.store.actions import FROM, Action, Erased, Selection
from bridge.store.reader import Filter
from bridge.store.store import Store
from bridge.store.tables import attempts, dedupe, events, webhooks
from bridge.target_state import TargetState
from store.support import (
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
    mapped,
    one,
    states,
    together,
)

pytestmark = pytest.mark.anyio

ALL = tuple(EventState)


async def in_state(store: Store, state: EventState, **fields: Any) -> str:
    """An event that came into a state as events do; its id."""
    webhook, mapping = one(**fields)
    await store.accept(webhook, mapping, WINDOW)
    (made,) = mapping.events
    if state is EventState.PENDING:
        return made.id
    if state is EventState.DISCARDED:
        await store.change(Action.DISCARD, [made.id])
        return made.id
    claim = next(claim for claim in (await store.claim(made.target, 100, LEASE)).claims if claim.event_id == made.id)
    if state is EventState.DELIVERED:
        await store.record(claim, an_attempt(), Delivered())
    elif state is EventState.DEAD:
        await store.record(claim, an_attempt(Outcome.REJECTED), Dead("rejected"))
    elif state is EventState.HELD:
        await store.record(claim, an_attempt(Outcome.UNKNOWN), Held("unknown"))
    return made.id


# moves


def test_the_moves_are_those_that_the_documentation_draws() -> None:
    drawn = {
        Action.REPLAY: {EventState.DEAD, EventState.HELD, EventState.DELIVERED, EventState.DISCARDED},
        Action.DISCARD: {EventState.PENDING, EventState.DEAD, EventState.HELD},
        Action.RELEASE: {EventState.HELD},
    }
    assert {action: set(states) for action, states in FROM.items()} == drawn


@pytest.mark.parametrize("state", ALL)
@pytest.mark.parametrize("action", Action)
async def test_an_action_moves_what_it_may_and_leaves_the_rest_alone(
    action: Action, state: EventState, store: Store, look: Engine
) -> None:
    made = await in_state(store, state)
    before = event_row(look, made)
    assert before.state == state
    changed = await store.change(action, [made])
    after = event_row(look, made)
    if state not in FROM[action]:
        assert changed.ids == ()
        assert changed.targets == frozenset()
        assert after == before
        return
    assert changed.ids == (made,)
    assert changed.targets == {"crm"}
    expected = ("discarded", "operator") if action is Action.DISCARD else ("pending", action.value)
    assert (after.state, after.reason) == expected


async def test_a_replay_starts_attempts_and_max_age_anew_and_keeps_what_was(
    store: Store, look: Engine, hand: Hand, url: str
) -> None:
    webhook, mapping = one(max_age=HOUR)
    await store.accept(webhook, mapping, WINDOW)
    for _ in range(3):
        (claim,) = (await store.claim("crm", 1, LEASE)).claims
        await store.record(claim, an_attempt(Outcome.UNKNOWN, unclear=Unclear.ANSWER), RetryAt(hand.at))
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert (claim.attempt, claim.retries, claim.unclear) == (4, 3, 3)
    await store.record(claim, an_attempt(Outcome.UNAVAILABLE), Dead("max_attempts"))
    hand.turn(5 * DAY)
    await store.change(Action.REPLAY, [claim.event_id])
    (again,) = (await store.claim("crm", 1, LEASE)).claims
    assert (again.attempt, again.retries, again.unclear, again.expires_at) == (5, 0, 0, hand.at + HOUR)
    assert again.stored_at == NOW
    with reader.reading(url) as connection:
        shown = reader.show_event(connection, claim.event_id)
    assert [tried["number"] for tried in shown["attempts"]] == [1, 2, 3, 4]


async def test_max_age_of_a_replay_goes_by_the_target_s_own_clock(store: Store, look: Engine, hand: Hand) -> None:
    made = await in_state(store, EventState.DEAD, max_age=HOUR)
    await put_target(store, TargetState(name="crm", paused_at=NOW + MINUTE, paused_total=2 * MINUTE, by_operator=True))
    hand.turn(DAY)
    await store.change(Action.REPLAY, [made])
    assert event_row(look, made).expires_at == NOW + MINUTE - 2 * MINUTE + HOUR


async def test_a_replayed_delivery_is_not_delivered_any_more_but_its_attempt_stays(
    store: Store, look: Engine, url: str
) -> None:
    made = await in_state(store, EventState.DELIVERED)
    await store.change(Action.REPLAY, [made])
    row = event_row(look, made)
    assert (row.state, row.delivered_at, row.next_attempt_at) == ("pending", None, NOW)
    with reader.reading(url) as connection:
        assert [tried["outcome"] for tried in reader.show_event(connection, made)["attempts"]] == ["delivered"]


async def test_a_result_that_comes_after_a_replay_is_late(store: Store, look: Engine, hand: Hand) -> None:
    webhook, mapping = one()
    await store.accept(webhook, mapping, WINDOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(Outcome.UNKNOWN), Held("unknown"))
    await store.change(Action.RELEASE, [claim.event_id])
    (again,) = (await store.claim("crm", 1, LEASE)).claims
    late = await store.record(claim, an_attempt(Outcome.REJECTED), Dead("rejected"))
    assert (late.late, late.moved) == (True, False)
    assert event_row(look, claim.event_id).state == "sending"
    assert again.attempt == 2


async def test_many_change_in_one_call_and_only_those_that_are_named(store: Store, look: Engine) -> None:
    made = [await in_state(store, EventState.DEAD) for _ in range(5)]
    changed = await store.change(Action.REPLAY, [*made[:3], "ev_none"])
    assert changed.ids == tuple(made[:3])
    assert states(look) == ["pending"] * 3 + ["dead"] * 2


async def test_callers_at_once_change_an_event_once(store: Store) -> None:
    made = await in_state(store, EventState.DEAD)
    done = await together(store, *(store.change(Action.REPLAY, [made]) for _ in range(3)))
    assert [changed.ids for changed in done] == [(made,), (), ()]


# which


async def selected(store: Store, url: str, action: Action, selection: Selection) -> list[str]:
    with reader.reading(url) as connection:
        query = actions.selected_events(selection, action)
        found = actions.ids_after(connection, query, 0, 100)[1]
        assert actions.preview_events(connection, selection, action, 100)["count"] == len(found)
    return found


async def test_events_are_selected_by_ids_by_every_filter_and_by_what_the_action_may_move(
    store: Store, url: str, hand: Hand
) -> None:
    dead = await in_state(store, EventState.DEAD)
    other_rule = await in_state(store, EventState.DEAD, rule="other")
    erp = await in_state(store, EventState.DEAD, target="erp")
    forms = await in_state(store, EventState.DEAD, webhook=a_webhook(source="forms"))
    hand.turn(HOUR)
    late = await in_state(store, EventState.DEAD)
    delivered = await in_state(store, EventState.DELIVERED)
    pending = await in_state(store, EventState.PENDING)

    async def replayed(**which: Any) -> list[str]:
        return await selected(store, url, Action.REPLAY, Selection(filter=Filter(**which)))

    everything = [dead, other_rule, erp, forms, late, delivered]
    assert await replayed() == everything
    assert await replayed(state="dead") == everything[:-1]
    assert await replayed(state="delivered") == [delivered]
    assert await replayed(state="pending") == []
    assert await replayed(rule="other") == [other_rule]
    assert await replayed(target="erp") == [erp]
    assert await replayed(source="forms") == [forms]
    assert await replayed(since=NOW + 1) == [late, delivered]
    assert await replayed(state="dead", since=NOW + 1) == [late]
    both = Selection(ids=(dead, erp, pending), filter=Filter(target="erp"))
    assert await selected(store, url, Action.REPLAY, both) == [erp]
    assert await selected(store, url, Action.REPLAY, Selection(ids=(pending, dead))) == [dead]
    assert await selected(store, url, Action.REPLAY, Selection(ids=())) == []
    assert await selected(store, url, Action.RELEASE, Selection()) == []
    assert await selected(store, url, Action.DISCARD, Selection(filter=Filter(state="pending"))) == [pending]


@pytest.mark.parametrize("name", ["state", "source", "rule", "target"])
async def test_an_empty_filter_value_names_nothing_rather_than_everything(name: str, store: Store, url: str) -> None:
    await in_state(store, EventState.DEAD)
    nothing = replace(Filter(), **{name: ""})  # type: ignore[arg-type]
    with reader.reading(url) as connection:
        assert reader.list_events(connection, nothing) == []
        assert reader.list_webhooks(connection, nothing) == []
        assert actions.preview_events(connection, Selection(filter=nothing), Action.REPLAY, 100)["count"] == 0
        assert actions.preview_webhooks(connection, Selection(filter=nothing))["count"] == 0


async def test_ids_come_in_portions_in_order_of_commit(store: Store, url: str) -> None:
    made = [await in_state(store, EventState.PENDING) for _ in range(5)]
    query = actions.selected_events(Selection(), Action.DISCARD)
    with reader.reading(url) as connection:
        cursor, first = actions.ids_after(connection, query, 0, 2)
        assert cursor is not None
        cursor, second = actions.ids_after(connection, query, cursor, 2)
        assert cursor is not None
        cursor, third = actions.ids_after(connection, query, cursor, 2)
    assert cursor is None
    assert [*first, *second, *third] == made


async def test_a_portion_of_what_is_long_is_smaller(store: Store, url: str) -> None:
    webhook = a_webhook()
    made = [an_event(webhook, str(number), text="x" * 2**20) for number in range(5)]
    await store.accept(webhook, mapped(*made), WINDOW)
    query = actions.selected_events(Selection(), Action.DISCARD)
    portions: list[list[str]] = []
    cursor: int | None = 0
    with reader.reading(url) as connection:
        while cursor is not None:
            cursor, ids = actions.ids_after(connection, query, cursor, 200)
            portions.append(ids)
    assert list(map(len, portions)) == [2, 2, 1]
    assert [id_ for ids in portions for id_ in ids] == [each.id for each in made]


# what is shown first


async def test_a_preview_of_events_tells_how_many_of_what_time_and_how_many_were_delivered(
    store: Store, url: str, hand: Hand
) -> None:
    await in_state(store, EventState.DELIVERED)
    hand.turn(MINUTE)
    again = await in_state(store, EventState.DELIVERED)
    await store.change(Action.REPLAY, [again])
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(Outcome.REJECTED), Dead("rejected"))
    hand.turn(MINUTE)
    await in_state(store, EventState.DEAD)
    hand.turn(MINUTE)
    await in_state(store, EventState.PENDING)
    with reader.reading(url) as connection:
        assert actions.preview_events(connection, Selection(), Action.REPLAY, 100) == {
            "count": 3,
            "oldest": "2023-11-14T22:13:20.000Z",
            "newest": "2023-11-14T22:15:20.000Z",
            "already_delivered": 2,  # one of them is dead now: SuperOffice has it all the same
            "out_of_order": [],
        }
        assert actions.preview_events(connection, Selection(ids=()), Action.REPLAY, 100) == {
            "count": 0,
            "oldest": None,
            "newest": None,
            "already_delivered": 0,
            "out_of_order": [],
        }


async def test_a_preview_of_webhooks_goes_by_when_they_came(store: Store, url: str) -> None:
    for at, source in ((NOW, "shop"), (NOW + MINUTE, "forms"), (NOW + HOUR, "shop")):
        webhook = a_webhook(at, source=source)
        await store.accept(webhook, mapped(an_event(webhook, rule=source)), WINDOW)
    with reader.reading(url) as connection:

        def shown(**which: Any) -> tuple[int, str | None]:
            preview = actions.preview_webhooks(connection, Selection(filter=Filter(**which)))
            return preview["count"], preview["newest"]

        assert shown() == (3, "2023-11-14T23:13:20.000Z")
        assert shown(source="forms") == (1, "2023-11-14T22:14:20.000Z")
        assert shown(rule="shop") == (2, "2023-11-14T23:13:20.000Z")
        assert shown(since=NOW + 1) == (2, "2023-11-14T23:13:20.000Z")
        assert shown(state="failed") == (0, None)


async def test_an_id_that_is_not_there_is_named(store: Store, url: str) -> None:
    made = await in_state(store, EventState.DEAD)
    with reader.reading(url) as connection:
        webhook = reader.show_event(connection, made)["webhook_id"]
        actions.existing(connection, [made], "event")
        actions.existing(connection, [webhook], "webhook")
        with pytest.raises(StoreError, match=r"^there is no event ev_none, `bridge events list` shows the newest$"):
            actions.existing(connection, [made, "ev_none", "ev_other"], "event")
        with pytest.raises(StoreError, match=r"^there is no webhook ev_"):
            actions.existing(connection, [webhook, made], "webhook")


# erase


def left(engine: Engine) -> Sequence[int]:
    with engine.connect() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (webhooks, events, attempts, dedupe)
        ]


async def test_an_erased_webhook_is_gone_with_all_that_came_of_it(store: Store, look: Engine) -> None:
    for key in ("one", "two"):
        webhook = a_webhook()
        await store.accept(webhook, mapped(an_event(webhook), an_event(webhook, "2"), key=key), WINDOW)
        for claim in (await store.claim("crm", 10, LEASE)).claims:
            await store.record(claim, an_attempt(), Delivered())
    assert left(look) == [2, 4, 4, 2]
    assert await store.erase(webhook.id) is Erased.DONE
    assert left(look) == [1, 2, 2, 1]
    assert await store.erase(webhook.id) is Erased.ABSENT  # there is nothing more to erase


async def test_what_thousands_came_of_goes_in_pieces_and_frees_those_that_waited(
    engine: Engine, store: Store, look: Engine
) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(*(an_event(webhook, str(n), order_key="k") for n in range(4_500))), WINDOW)
    other, mapping = one(order_key="k")
    await store.accept(other, mapping, WINDOW)
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    assert await store.erase(webhook.id) is Erased.DONE
    assert len(commits) == 3
    assert left(look) == [1, 1, 0, 0]
    assert [claim.webhook_id for claim in (await store.claim("crm", 10, LEASE)).claims] == [other.id]


async def test_what_is_long_goes_in_pieces_too(engine: Engine, store: Store, look: Engine) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(*(an_event(webhook, str(n), text="x" * 2**20) for n in range(5))), WINDOW)
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    assert await store.erase(webhook.id) is Erased.DONE
    assert len(commits) == 3
    assert left(look) == [0, 0, 0, 0]


@pytest.mark.parametrize("state", [s for s in ALL if s is not EventState.SENDING])
async def test_a_webhook_goes_whatever_became_of_its_event(state: EventState, store: Store, look: Engine) -> None:
    made = await in_state(store, state)
    assert await store.erase(event_row(look, made).webhook_id) is Erased.DONE
    assert left(look) == [0, 0, 0, 0]


async def test_a_webhook_one_of_whose_events_is_being_sent_stays(store: Store, look: Engine) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(an_event(webhook), an_event(webhook, target="erp"), key="id"), WINDOW)
    (claim,) = (await store.claim("erp", 1, LEASE)).claims
    other, mapping = one()
    await store.accept(other, mapping, WINDOW)
    assert await together(store, store.erase(webhook.id), store.erase(other.id)) == [Erased.BEING_SENT, Erased.DONE]
    assert left(look) == [1, 2, 0, 1]
    await store.record(claim, an_attempt(), Delivered())
    assert await store.erase(webhook.id) is Erased.DONE
    assert left(look) == [0, 0, 0, 0]


async def test_the_delivery_id_of_an_erased_webhook_is_new_again(store: Store, look: Engine) -> None:
    first, second = a_webhook(), a_webhook()
    await store.accept(first, mapped(an_event(first), key="id"), WINDOW)
    await store.erase(first.id)
    receipt = await store.accept(second, mapped(an_event(second), key="id"), WINDOW)
    assert (receipt.duplicate, receipt.webhook_id) == (False, second.id)


async def test_a_delivery_id_that_a_younger_webhook_holds_stays_its_own(store: Store, look: Engine, hand: Hand) -> None:
    first, second, third = a_webhook(), a_webhook(NOW + WINDOW), a_webhook(NOW + WINDOW)
    await store.accept(first, mapped(key="id"), WINDOW)
    hand.turn(WINDOW)
    await store.accept(second, mapped(key="id"), WINDOW)
    await store.erase(first.id)
    assert (await store.accept(third, mapped(key="id"), WINDOW)).webhook_id == second.id


async def test_a_result_for_an_erased_event_is_dropped_and_breaks_no_other(store: Store, look: Engine) -> None:
    webhook, mapping = one()
    await store.accept(webhook, mapping, WINDOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(Outcome.UNKNOWN), Held("unknown"))
    await store.erase(webhook.id)
    other = await in_state(store, EventState.DEAD)
    await store.change(Action.REPLAY, [other])
    (its,) = (await store.claim("crm", 5, LEASE)).claims
    late, recorded = await together(
        store, *(store.record(one_claim, an_attempt(), Delivered()) for one_claim in (claim, its))
    )
    assert (late.late, late.moved) == (True, False)
    assert (recorded.late, recorded.moved) == (False, True)
    assert left(look) == [1, 1, 2, 0]
