import asyncio
from typing import Any

import pytest
from clocks import Hand
from sqlalchemy import Engine, event, func, select

from bridge.model import Dead, Decision, Delivered, Held, Outcome, RetryAt
from bridge.store.retention import Forget, forget
from bridge.store.store import Store
from bridge.store.tables import attempts, dedupe, events, webhooks

from .support import DAY, LEASE, NOW, WINDOW, a_webhook, an_attempt, an_event, mapped, webhook_ids

pytestmark = pytest.mark.anyio


def _forget(engine: Engine, before: int) -> int:
    cursor: int | None = 0
    gone = 0
    while cursor is not None:
        with engine.begin() as connection:
            ((cursor, some),) = forget(connection, [Forget(before=before, cursor=cursor)])
        gone += some
    return gone


def _counts(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (webhooks, dedupe, events, attempts)
        ]


async def test_what_is_old_goes_with_all_that_came_of_it_but_not_what_is_undecided(
    store: Store, engine: Engine, hand: Hand
) -> None:
    kept: list[str] = []
    decisions: tuple[Decision | None, ...] = (Delivered(), Dead("rejected"), Held("unknown"), RetryAt(NOW), None)
    for decision in decisions:
        webhook = a_webhook()
        await store.accept(webhook, mapped(an_event(webhook, target=str(decision)), key=webhook.id), WINDOW)
        (claim,) = (await store.claim(str(decision), 1, LEASE)).claims
        if decision is not None:
            await store.record(claim, an_attempt(Outcome.UNKNOWN), decision)
        if not isinstance(decision, Delivered | Dead):
            kept.append(webhook.id)
    hand.turn(1)
    young = a_webhook(hand.at)
    await store.accept(young, mapped(key="young"), WINDOW)
    store.close()
    assert _forget(engine, NOW) == 0
    assert _forget(engine, NOW + 1) == 2
    assert webhook_ids(engine) == [*kept, young.id]
    assert _counts(engine) == [4, 4, 3, 2]


async def test_what_thousands_came_of_goes_in_pieces(store: Store, engine: Engine) -> None:
    for count in (4_500, 1):
        webhook = a_webhook()
        made = [an_event(webhook, str(number), send=False) for number in range(count)]
        await store.accept(webhook, mapped(*made, key=webhook.id), WINDOW)
    store.close()
    pieces: list[Any] = []
    event.listen(engine, "commit", pieces.append)
    assert _forget(engine, NOW + 1) == 2
    assert len(pieces) == 3
    assert _counts(engine) == [0, 0, 0, 0]


async def test_a_key_that_a_younger_webhook_took_over_stays_its_own(store: Store, engine: Engine, hand: Hand) -> None:
    old = a_webhook()
    await store.accept(old, mapped(key="k"), WINDOW)
    hand.turn(WINDOW)
    young = a_webhook(hand.at)
    await store.accept(young, mapped(key="k"), WINDOW)
    store.close()
    assert _forget(engine, NOW + DAY) == 1
    again = Store(engine, hand)
    receipt = await again.accept(a_webhook(hand.at), mapped(key="k"), WINDOW)
    again.close()
    assert (receipt.webhook_id, receipt.duplicate) == (young.id, True)


async def test_the_key_of_a_forgotten_webhook_is_new_again(store: Store, engine: Engine) -> None:
    await store.accept(a_webhook(), mapped(key="k"), WINDOW)
    store.close()
    assert _forget(engine, NOW + 1) == 1
    again = Store(engine, Hand(NOW))
    assert not (await again.accept(a_webhook(), mapped(key="k"), WINDOW)).duplicate
    again.close()


async def test_more_than_one_transaction_holds_is_forgotten_in_several(store: Store, engine: Engine) -> None:
    await asyncio.gather(*(store.accept(a_webhook(), mapped(key=str(n)), WINDOW) for n in range(401)))
    store.close()
    assert _forget(engine, NOW + 1) == 401
    assert _counts(engine) == [0, 0, 0, 0]
