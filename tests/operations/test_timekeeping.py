"""A wall clock that was set is told, once; and where the clocks stand is kept for the next run."""

import pytest
from structlog.testing import capture_logs

from bridge.observing import logs
from bridge.operations import timekeeping
from bridge.store import clock, reader

from .support import Office

pytestmark = pytest.mark.anyio

DAY = 86_400_000


async def told(office: Office) -> list[float]:
    """What a look at the clocks tells."""
    with capture_logs() as lines:
        await timekeeping.look(office.store)
    return [line["seconds"] for line in lines if line["event"] == logs.CLOCK_STEPPED]


async def test_each_setting_of_the_wall_clock_is_told_once(office: Office) -> None:
    assert await told(office) == []
    office.hand.set_wall(DAY)
    assert await told(office) == [86_400]
    assert await told(office) == []
    office.hand.set_wall(0)
    assert await told(office) == [-86_400]


async def test_where_the_clocks_stand_is_kept_for_the_next_run(office: Office) -> None:
    office.hand.set_wall(DAY)
    office.hand.turn(30_000)
    await timekeeping.look(office.store)
    with reader.reading(office.url) as connection:
        assert clock.load(connection, [None]) == [office.hand.seen()]


async def test_a_store_that_cannot_keep_it_stops_nothing(office: Office) -> None:
    office.store.close()
    office.hand.set_wall(DAY)
    assert await told(office) == [86_400]
