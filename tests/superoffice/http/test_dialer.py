"""Look-ups of names are shared by all who wait for one, and stopped by nobody."""

import asyncio

import pytest

from bridge.superoffice.http.dialer import Dialer

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


async def test_all_who_wait_for_the_same_name_share_one_look_up() -> None:
    dialer = Dialer()
    first, *others = await asyncio.gather(*(dialer.look_up("localhost", 80) for _ in range(8)))
    assert all(other is first for other in others)
    assert await dialer.look_up("localhost", 80) is not first  # what is known is soon out of date


async def test_one_that_stops_waiting_for_a_name_stops_it_for_nobody_else() -> None:
    dialer = Dialer()
    one, other = (asyncio.create_task(dialer.look_up("localhost", 80)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other
    assert one.cancelled()
