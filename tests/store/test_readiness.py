import asyncio

import pytest
from clocks import Hand
from running import HANG
from sqlalchemy import Engine, select

from bridge.store import database
from bridge.store.store import Store
from bridge.store.tables import readiness

from .support import DAY, NOW

pytestmark = pytest.mark.anyio


def _at(look: Engine) -> list[int]:
    with look.connect() as connection:
        return list(connection.execute(select(readiness.c.at).order_by(readiness.c.at)).scalars())


async def test_a_proof_is_one_row_of_its_instance_however_often_it_is_given(
    store: Store, look: Engine, hand: Hand
) -> None:
    await store.ping()
    assert _at(look) == [NOW]
    hand.turn(1)
    await store.ping()
    assert _at(look) == [NOW + 1]


async def test_instances_that_are_gone_for_a_day_are_forgotten(store: Store, engine: Engine, hand: Hand) -> None:
    await store.ping()
    await asyncio.to_thread(store.close)
    hand.turn(DAY + 1)
    later = Store(engine, hand)
    await later.ping()
    await asyncio.to_thread(later.close)
    assert _at(engine) == [hand.at]


@pytest.mark.timing
async def test_readiness_waits_for_nobody_who_changes_the_schema_or_proves_the_same(postgresql_url: str) -> None:
    engines = [database.writing_engine(postgresql_url) for _ in range(3)]
    first, second = (Store(engine, Hand(NOW), commit_within=HANG) for engine in engines[:2])
    try:
        await first.ping()
        with engines[2].connect() as other:
            other.execute(select(readiness).with_for_update())  # the first's row is somebody's
            await second.ping()
            other.rollback()
        assert len(_at(engines[2])) == 2
    finally:
        for one in (first, second):
            await asyncio.to_thread(one.close)
        for engine in engines:
            engine.dispose()
