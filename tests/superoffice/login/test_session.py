"""When a log-in happens: once for all who wait, ahead of the end, once more after a refusal, and not too often."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from clocks import Hand

from bridge.clock import Clock
from bridge.model import Outcome
from bridge.observing import logs
from bridge.superoffice.login.session import Grant, LoginSession
from bridge.superoffice.login.token_service import TokenAnswer, TokenExchange
from bridge.superoffice.outcome import NotSent
from bridge.times import iso
from superoffice.logging_in import HOUR, NOW, logged

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


class Door:
    """A log-in that a test opens: every one waits for `open`, then gives the next of `results`, or a new grant."""

    scheme = "door"

    def __init__(self, *results: Grant | Exception, lifetime: int = HOUR, sliding: bool = False) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.results = list(results)
        self.lifetime = lifetime
        self.sliding = sliding
        self.asked = 0

    async def log_in(self, exchange: TokenExchange, clock: Clock) -> Grant:  # noqa: ARG002
        self.asked += 1
        await self.open.wait()
        result = self.results.pop(0) if self.results else self.grant(self.asked)
        if isinstance(result, Exception):
            raise result
        return result

    def grant(self, number: int) -> Grant:
        return Grant(headers={"Authorization": f"Ticket {number}"}, lifetime=self.lifetime, sliding=self.sliding)


def logged_in(door: Door, hand: Hand, within: float = 5.0) -> LoginSession:
    async def nowhere(_: httpx.Request) -> TokenAnswer:
        raise AssertionError

    return LoginSession(door, "crm", nowhere, hand, within)


async def sent(authorization: LoginSession, *statuses: int) -> list[str]:
    """What one attempt shows in Authorization, each time that it is sent; the server answers `statuses`."""
    shown = []
    answers = iter(statuses or (200,))
    flow = authorization.async_auth_flow(httpx.Request("POST", "http://127.0.0.1/"))
    try:
        request = await anext(flow)
        while True:
            shown.append(request.headers["Authorization"])
            request = await flow.asend(httpx.Response(next(answers)))
    except StopAsyncIteration:
        return shown


async def all_ended() -> None:
    """Let a log-in in the background end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_hundred_that_wait_share_one_log_in() -> None:
    door = Door()
    door.open.clear()
    authorization = logged_in(door, Hand(NOW))
    waiting = [asyncio.create_task(sent(authorization)) for _ in range(100)]
    await all_ended()
    assert door.asked == 1
    door.open.set()
    assert await asyncio.gather(*waiting) == [["Ticket 1"]] * 100
    assert door.asked == 1


async def test_a_hundred_that_wait_share_one_failure() -> None:
    door = Door(NotSent(Outcome.UNAVAILABLE, "it is away", 7_000))
    door.open.clear()
    authorization = logged_in(door, Hand(NOW))
    waiting = [asyncio.create_task(sent(authorization)) for _ in range(100)]
    await all_ended()
    door.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {(type(result), str(result)) for result in results} == {(NotSent, "it is away")}
    assert len({id(result) for result in results}) == 100  # one exception for all would gather all their frames
    assert door.asked == 1


async def test_one_that_stops_waiting_does_not_stop_the_log_in() -> None:
    door = Door()
    door.open.clear()
    authorization = logged_in(door, Hand(NOW))
    first, second = (asyncio.create_task(sent(authorization)) for _ in range(2))
    await all_ended()
    first.cancel()
    door.open.set()
    assert await second == ["Ticket 1"]
    assert door.asked == 1


async def test_it_is_renewed_ahead_of_its_end_and_nobody_waits_for_that() -> None:
    hand, door = Hand(NOW), Door()
    authorization = logged_in(door, hand)
    assert await sent(authorization) == ["Ticket 1"]
    hand.at = NOW + HOUR - 5 * 60_000 - 1
    assert await sent(authorization) == ["Ticket 1"]
    await all_ended()
    assert door.asked == 1
    hand.at += 1
    door.open.clear()
    assert await asyncio.gather(*(sent(authorization) for _ in range(100))) == [["Ticket 1"]] * 100
    assert door.asked == 2
    door.open.set()
    await all_ended()
    assert await sent(authorization) == ["Ticket 2"]


async def test_what_lives_shortly_is_renewed_when_a_fifth_is_left() -> None:
    hand, door = Hand(NOW), Door(lifetime=100_000)
    authorization = logged_in(door, hand)
    for at, asked in ((0, 1), (79_999, 1), (80_000, 2)):
        hand.at = NOW + at
        await sent(authorization)
        await all_ended()
        assert door.asked == asked


async def test_while_it_cannot_be_renewed_it_is_used_to_its_end() -> None:
    hand, door = Hand(NOW), Door()
    authorization = logged_in(door, hand)
    await sent(authorization)
    door.results = [NotSent(Outcome.UNAVAILABLE, "away")] * 99
    hand.at = NOW + HOUR - 60_000
    assert await sent(authorization) == ["Ticket 1"]
    await all_ended()
    hand.at = NOW + HOUR - 1
    assert await sent(authorization) == ["Ticket 1"]
    await all_ended()
    hand.at = NOW + HOUR + 10_000
    with pytest.raises(NotSent, match="away"):
        await sent(authorization)


async def test_a_clock_that_was_set_back_keeps_nobody_from_logging_in() -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "the clock was wrong"))
    hand.set_wall(365 * 24 * HOUR)
    authorization = logged_in(door, hand)
    with pytest.raises(NotSent):
        await sent(authorization)
    hand.set_wall(0)
    hand.turn(1_000)
    assert await sent(authorization) == ["Ticket 2"]


async def test_a_sliding_one_lives_on_with_every_use() -> None:
    hand, door = Hand(NOW), Door(sliding=True)
    authorization = logged_in(door, hand)
    for _ in range(30):
        assert await sent(authorization) == ["Ticket 1"]
        hand.at += HOUR - 5 * 60_000 - 1
    hand.at += 10 * 60_000
    assert await sent(authorization) == ["Ticket 2"]


async def test_after_a_refusal_it_is_renewed_and_sent_once_more() -> None:
    door = Door()
    authorization = logged_in(door, Hand(NOW))
    for status in (401, 403):
        await sent(authorization)
        before = door.asked
        shown = await sent(authorization, status, 200)
        assert shown == [f"Ticket {before}", f"Ticket {before + 1}"]


async def test_after_a_second_refusal_it_ends_and_the_next_one_begins_anew() -> None:
    door = Door()
    authorization = logged_in(door, Hand(NOW))
    assert await sent(authorization, 401, 403) == ["Ticket 1", "Ticket 2"]
    assert await sent(authorization) == ["Ticket 3"]


async def test_all_that_are_refused_at_once_share_one_log_in() -> None:
    door = Door()
    authorization = logged_in(door, Hand(NOW))
    await sent(authorization)
    flows = [authorization.async_auth_flow(httpx.Request("POST", "http://127.0.0.1/")) for _ in range(100)]
    for flow in flows:
        assert (await anext(flow)).headers["Authorization"] == "Ticket 1"
    again = await asyncio.gather(*(flow.asend(httpx.Response(401)) for flow in flows))
    assert {request.headers["Authorization"] for request in again} == {"Ticket 2"}
    assert door.asked == 2
    await close_all(flows)


async def close_all(flows: list[Any]) -> None:
    for flow in flows:
        await flow.aclose()


async def test_a_late_refusal_of_an_earlier_ticket_does_not_end_the_one_of_now() -> None:
    door = Door()
    authorization = logged_in(door, Hand(NOW))
    flow = authorization.async_auth_flow(httpx.Request("POST", "http://127.0.0.1/"))
    await anext(flow)
    await sent(authorization, 401, 200)
    assert (await flow.asend(httpx.Response(401))).headers["Authorization"] == "Ticket 2"
    assert door.asked == 2
    await flow.aclose()


async def test_a_log_in_that_failed_is_not_tried_again_at_once_and_then_with_growing_waits() -> None:
    hand, door = Hand(NOW), Door(*[NotSent(Outcome.UNAUTHORIZED, "refused")] * 99)
    authorization = logged_in(door, hand)
    tried = []
    for step in range(600):
        hand.at = NOW + step * 500
        before = door.asked
        with pytest.raises(NotSent, match="refused"):
            await sent(authorization)
        tried += [step // 2] * (door.asked - before)
    assert [later - earlier for earlier, later in itertools.pairwise(tried)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_after_a_failure_a_log_in_that_succeeds_is_used_at_once() -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "away"))
    authorization = logged_in(door, hand)
    with pytest.raises(NotSent):
        await sent(authorization)
    hand.at += 1_000
    assert await sent(authorization) == ["Ticket 2"]


async def test_retry_after_of_the_log_in_is_obeyed_and_told_to_all() -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "busy", 90_000))
    authorization = logged_in(door, hand)
    for passed, wait in ((0, 90_000), (60_000, 30_000), (89_999, 1)):
        hand.at = NOW + passed
        with pytest.raises(NotSent) as caught:
            await sent(authorization)
        assert (caught.value.outcome, caught.value.retry_after) == (Outcome.UNAVAILABLE, wait)
    assert door.asked == 1
    hand.at = NOW + 90_000
    assert await sent(authorization) == ["Ticket 2"]


async def test_a_retry_after_without_reason_is_obeyed_for_an_hour_at_most() -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "busy", 999 * HOUR))
    authorization = logged_in(door, hand)
    with pytest.raises(NotSent):
        await sent(authorization)
    hand.at += HOUR
    assert await sent(authorization) == ["Ticket 2"]


async def test_a_log_in_that_takes_too_long_is_unavailable() -> None:
    door = Door()
    door.open.clear()
    with pytest.raises(NotSent, match=r"the log-in took longer than 0\.05 s") as caught:
        await sent(logged_in(door, Hand(NOW), within=0.05))
    assert caught.value.outcome is Outcome.UNAVAILABLE


async def test_what_nobody_expected_is_unavailable_and_not_quoted() -> None:
    with pytest.raises(NotSent) as caught:
        await sent(logged_in(Door(ZeroDivisionError("the secret")), Hand(NOW)))
    assert (caught.value.outcome, str(caught.value)) == (Outcome.UNAVAILABLE, "the log-in failed (ZeroDivisionError)")


@pytest.fixture
async def lines() -> AsyncIterator[list[Any]]:
    with logged() as noted:
        yield noted


async def test_each_log_in_is_a_line(lines: list[Any]) -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "away"))
    authorization = logged_in(door, hand)
    with pytest.raises(NotSent):
        await sent(authorization)
    hand.at += 1_000
    await sent(authorization)
    assert lines == [
        {
            "event": "login.failed",
            "log_level": "warning",
            "target": "crm",
            "scheme": "door",
            "outcome": "unavailable",
            "detail": "away",
            "next_log_in_at": "2026-11-24T06:00:01.000Z",
        },
        {
            "event": "login.renewed",
            "log_level": "info",
            "target": "crm",
            "scheme": "door",
            "ends_at": "2026-11-24T07:00:01.000Z",
        },
    ]


async def test_closing_waits_for_a_log_in_that_is_about_to_end() -> None:
    door = Door()
    door.open.clear()
    authorization = logged_in(door, Hand(NOW))
    waiting = asyncio.create_task(sent(authorization))
    await all_ended()
    closing = asyncio.create_task(authorization.close())
    await all_ended()
    door.open.set()
    await closing
    assert await waiting == ["Ticket 1"]


@pytest.mark.parametrize("step", [24 * HOUR, -24 * HOUR, -50 * 365 * 24 * HOUR])
async def test_a_grant_lasts_as_long_as_it_really_does(step: int) -> None:
    hand, door = Hand(NOW), Door()
    authorization = logged_in(door, hand)
    assert await sent(authorization) == ["Ticket 1"]
    hand.set_wall(step)
    hand.turn(HOUR - 1)
    assert await sent(authorization) == ["Ticket 1"]
    hand.turn(1)
    await all_ended()
    assert await sent(authorization) == ["Ticket 2"]


@pytest.mark.parametrize("step", [24 * HOUR, -24 * HOUR])
async def test_the_next_log_in_after_one_that_failed_is_told_by_the_wall_clock(step: int) -> None:
    hand, door = Hand(NOW), Door(NotSent(Outcome.UNAVAILABLE, "away"))
    hand.set_wall(step)
    with logged() as lines, pytest.raises(NotSent):
        await sent(logged_in(door, hand))
    (line,) = [line for line in lines if line["event"] == logs.LOGIN_FAILED]
    assert line["next_log_in_at"] == iso(NOW + step + 1_000)
