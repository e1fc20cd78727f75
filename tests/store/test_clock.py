"""What the store keeps of time: where the clocks stood, and on which of them each time is written."""

import pytest
from clocks import Hand
from sqlalchemy import Engine, text, update
from targets import put_target

from bridge.model import Delivered, Outcome, RetryAt
from bridge.store import clock, reader, retention, target_states
from bridge.store.store import Store
from bridge.store.tables import events, webhooks
from bridge.target_state import TargetState
from bridge.times import iso

from .support import DAY, HOUR, LEASE, MINUTE, NOW, WINDOW, a_webhook, an_attempt, an_event, event_row, mapped, one

pytestmark = pytest.mark.anyio

STEPS = [DAY, -DAY, 100 * DAY, -50 * 365 * DAY]


async def test_the_next_run_s_clock_goes_on_where_the_last_one_s_stood(store: Store, engine: Engine) -> None:
    await store.start()
    store.close()
    later = Store(engine, Hand(NOW + 30 * DAY, boot="another start"))
    await later.start()
    assert later.clock.running() == NOW + HOUR
    later.close()


async def test_the_first_run_ever_leaves_where_its_clocks_stand(store: Store, look: Engine, hand: Hand) -> None:
    with look.connect() as connection:
        assert clock.load(connection, [None]) == [None]
        assert clock.ahead(connection) == 0
    await store.start()
    with look.connect() as connection:
        assert clock.load(connection, [None]) == [hand.seen()]


async def test_where_they_stand_is_kept_again_and_again(store: Store, look: Engine, hand: Hand) -> None:
    await store.start()
    hand.turn(MINUTE)
    hand.set_wall(DAY)
    await store.keep_time()
    with look.connect() as connection:
        assert clock.load(connection, [None, None]) == [hand.seen()] * 2
        assert clock.ahead(connection) == DAY


@pytest.mark.parametrize("step", STEPS)
async def test_people_read_the_wall_clock_and_decisions_go_by_the_other(
    store: Store, look: Engine, hand: Hand, step: int
) -> None:
    hand.set_wall(step)
    webhook = a_webhook(hand.wall())
    made = an_event(webhook)
    await store.accept(webhook, mapped(made), WINDOW)
    row = event_row(look, made.id)
    assert (row.created_at, row.stored_at) == (NOW + step, NOW)
    assert (row.next_attempt_at, row.expires_at) == (NOW, NOW + 2 * DAY)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert claim.stored_at == NOW
    row = event_row(look, made.id)
    assert (row.claimed_at, row.lease_until) == (NOW + step, NOW + LEASE)
    await store.record(claim, an_attempt(), Delivered())
    assert event_row(look, made.id).delivered_at == NOW + step
    with look.connect() as connection:
        stored = connection.execute(text("SELECT received_at, stored_at FROM webhooks")).one()
    assert tuple(stored) == (NOW + step, NOW)


@pytest.mark.parametrize("step", STEPS)
async def test_a_key_is_known_for_its_window_and_no_longer(store: Store, hand: Hand, step: int) -> None:
    first = a_webhook()
    await store.accept(first, mapped(key="k"), WINDOW)
    hand.set_wall(step)
    hand.turn(WINDOW - 1)
    again = await store.accept(a_webhook(), mapped(key="k"), WINDOW)
    assert (again.webhook_id, again.duplicate) == (first.id, True)
    hand.turn(1)
    assert not (await store.accept(a_webhook(), mapped(key="k"), WINDOW)).duplicate


@pytest.mark.parametrize("step", STEPS)
async def test_a_lease_runs_out_when_it_really_does(store: Store, hand: Hand, step: int) -> None:
    await store.accept(*one(), WINDOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    hand.set_wall(step)
    hand.turn(LEASE)
    assert await store.take_over(expired_only=True) == []
    hand.turn(1)
    ((found, claimed_at),) = await store.take_over(expired_only=True)
    assert (found.event_id, claimed_at) == (claim.event_id, NOW)


@pytest.mark.parametrize("step", STEPS)
async def test_the_record_is_kept_as_long_as_it_should_be(store: Store, look: Engine, hand: Hand, step: int) -> None:
    hand.set_wall(step)
    await store.accept(a_webhook(hand.wall()), mapped(), WINDOW)
    hand.set_wall(0)
    hand.turn(92 * DAY)
    assert await store.forget(hand.running() - 92 * DAY, 0) == (None, 0)
    hand.turn(1)
    assert await store.forget(hand.running() - 92 * DAY, 0) == (None, 1)


@pytest.mark.parametrize("step", STEPS)
async def test_times_to_come_are_shown_by_the_wall_clock(store: Store, url: str, hand: Hand, step: int) -> None:
    await store.accept(*one(), WINDOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(Outcome.UNAVAILABLE), RetryAt(hand.running() + HOUR))
    hand.set_wall(step)
    await store.start()
    with reader.reading(url) as connection:
        shown = [reader.list_events(connection, reader.Filter())[0], reader.show_event(connection, claim.event_id)]
    assert [event["next_attempt_at"] for event in shown] == [iso(NOW + step + HOUR)] * 2


@pytest.mark.parametrize("step", STEPS)
async def test_a_pause_is_shown_by_the_wall_clock_of_its_beginning(
    store: Store, look: Engine, hand: Hand, step: int
) -> None:
    paused = TargetState(name="crm", paused_at=NOW, reason="moved", next_probe_at=NOW + MINUTE)
    hand.set_wall(step)
    await put_target(store, paused)
    hand.set_wall(0)
    hand.turn(MINUTE)
    probed = TargetState(name="crm", paused_at=NOW, reason="moved", probes=1, next_probe_at=NOW + HOUR)
    await put_target(store, probed)
    with look.connect() as connection:
        (shown,) = target_states.as_shown(connection).values()
        assert target_states.load(connection) == {"crm": probed}
    assert (shown.paused_at, shown.next_probe_at) == (NOW + step, NOW + HOUR)
    await put_target(store, TargetState(name="crm", paused_total=MINUTE))
    with look.connect() as connection:
        (shown,) = target_states.as_shown(connection).values()
    assert (shown.paused_at, shown.next_probe_at) == (None, None)
    hand.set_wall(step)
    await put_target(store, TargetState(name="crm", paused_at=NOW + MINUTE, reason="moved"))
    with look.connect() as connection:
        (shown,) = target_states.as_shown(connection).values()
    assert shown.paused_at == NOW + MINUTE + step


async def test_rows_of_before_there_were_two_clocks_go_by_the_one_there_was(
    store: Store, engine: Engine, look: Engine, hand: Hand
) -> None:
    await store.accept(*one(), WINDOW)
    await store.accept(a_webhook(), mapped(), WINDOW)
    await put_target(store, TargetState(name="crm", paused_at=NOW, reason="moved", next_probe_at=NOW))
    store.close()
    with engine.begin() as connection:
        connection.execute(update(events).values(stored_at=None))
        connection.execute(update(webhooks).values(stored_at=None))
        connection.execute(text("UPDATE targets SET paused_at_wall = NULL"))
    later = Store(engine, hand)
    (claim,) = (await later.claim("crm", 1, LEASE)).claims
    later.close()
    assert claim.stored_at == NOW
    with engine.begin() as connection:
        assert retention.forget(connection, [retention.Forget(before=NOW + 1, cursor=0)]) == [(None, 1)]
        assert target_states.as_shown(connection)["crm"].paused_at == NOW
