"""Where a tenant of SuperOffice Online is: found, kept, found again when it moved, and waited for while it is away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from clocks import Hand
from running import Stopwatch
from structlog.testing import capture_logs

from bridge.model import Attempt, Outcome, PauseReason, Unclear
from bridge.observing import logs
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.superoffice.send_event import SuperOffice
from bridge.superoffice.tenant.state import SHORTEST
from bridge.target_state import TenantState
from superoffice.support import Call, Server, claim, compiled, patience, playing

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

NOW = 1_795_500_000_000
HOUR = 3_600_000
ID = "Cust12345"
STATE = f"state/{ID}"


@pytest.fixture
def hand() -> Hand:
    return Hand(NOW)


@pytest.fixture
def sandbox(hand: Hand) -> Sandbox:
    return Sandbox(now=hand)


@asynccontextmanager
async def online(environment: str, hand: Hand, **settings: Any) -> AsyncIterator[SuperOffice]:
    """A target whose tenant is asked for at an environment's URL."""
    target = compiled("", online={"environment": environment, "tenant": ID}, clock=hand, **settings)
    try:
        yield target
    finally:
        await target.close()


@pytest.fixture
async def url(sandbox: Sandbox, anyio_backend: Any) -> AsyncIterator[str]:
    async with serving(sandbox) as url:
        yield url


@pytest.fixture
async def crm(url: str, hand: Hand) -> AsyncIterator[SuperOffice]:
    async with online(url, hand) as target:
        yield target


async def sent(target: SuperOffice, count: int = 1) -> list[Attempt]:
    return list(await asyncio.gather(*(target.send(claim(f"n={number}")) for number in range(count))))


def asked(sandbox: Sandbox) -> int:
    """How often it was asked where the tenant is."""
    return sum(sandbox.requests.get(STATE, {}).values())


def posted(sandbox: Sandbox) -> int:
    """How often an event was posted, wherever to."""
    return sum(sum(counts.values()) for name, counts in sandbox.requests.items() if name != STATE)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# Found, and kept while the answer holds


async def test_an_event_goes_to_where_the_tenant_is_said_to_be(sandbox: Sandbox, crm: SuperOffice) -> None:
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.status, attempt.pause) == (Outcome.DELIVERED, 200, None)
    assert [event.tenant for event in sandbox.events()] == [f"online1/{ID}"]


async def test_what_is_selected_is_asked_of_a_tenant_too(sandbox: Sandbox, url: str, hand: Hand) -> None:
    async with online(url, hand, select=["EventType"]) as crm:
        await sent(crm)
    assert [event.select for event in sandbox.events()] == ["EventType"]


async def test_all_events_that_wait_share_one_question(sandbox: Sandbox, crm: SuperOffice) -> None:
    assert {attempt.outcome for attempt in await sent(crm, 20)} == {Outcome.DELIVERED}
    assert asked(sandbox) == 1


async def test_it_is_asked_again_when_the_answer_s_time_is_over(sandbox: Sandbox, crm: SuperOffice, hand: Hand) -> None:
    sandbox.tenants.set(ID, valid_for=3600)
    await sent(crm)
    hand.at += HOUR - 1
    await sent(crm)
    assert asked(sandbox) == 1
    sandbox.tenants.set(ID, host="online2")
    hand.at += 1
    await sent(crm)
    assert asked(sandbox) == 2
    assert sandbox.requests[f"online2/{ID}"] == {"200": 1}
    assert sandbox.requests[f"online1/{ID}"] == {"200": 2}


@pytest.mark.parametrize("step", [24 * HOUR, -24 * HOUR])
async def test_an_answer_holds_as_long_as_it_really_does(
    sandbox: Sandbox, crm: SuperOffice, hand: Hand, step: int
) -> None:
    sandbox.tenants.set(ID, valid_for=3600)
    await sent(crm)
    hand.set_wall(step)
    hand.turn(HOUR - 1)
    await sent(crm)
    assert asked(sandbox) == 1
    hand.turn(1)
    await sent(crm)
    assert asked(sandbox) == 2


async def test_one_that_a_wrong_clock_took_for_over_is_not_believed_for_a_day_once_it_is_right() -> None:
    hand = Hand(NOW)
    sandbox = Sandbox(now=lambda: hand.at)
    async with serving(sandbox) as url, online(url, hand) as crm:
        hand.set_wall(24 * HOUR)
        await sent(crm)
        hand.set_wall(0)
        hand.turn(SHORTEST)
        await sent(crm)
    assert asked(sandbox) == 2


async def test_an_answer_that_is_over_before_it_comes_is_asked_for_once_a_minute(
    sandbox: Sandbox, crm: SuperOffice, hand: Hand
) -> None:
    sandbox.tenants.set(ID, valid_for=-3600)
    for _ in range(3):
        await sent(crm, 5)
    assert asked(sandbox) == 1
    hand.at += SHORTEST
    await sent(crm, 5)
    assert asked(sandbox) == 2
    assert posted(sandbox) == 20


async def test_the_question_carries_no_credentials_and_no_event() -> None:
    async def answering(call: Call) -> None:
        await call.answer(json.dumps({"ContextIdentifier": ID, "IsRunning": False, "State": "Suspended"}).encode())

    async with playing(answering) as server, online(server.url.removesuffix("/crm/api"), Hand(NOW)) as crm:
        await sent(crm)
    (call,) = server.calls
    assert call.head.startswith(f"GET /api/state/{ID} HTTP/1.1\r\n")
    assert {"authorization", "cookie", "so-apptoken", "content-type"} & set(call.headers) == set()
    assert call.body == b""


@asynccontextmanager
async def gated() -> AsyncIterator[tuple[Server, asyncio.Event]]:
    """An environment and a tenant in one server, which answers questions once the gate is open."""
    gate = asyncio.Event()

    async def answering(call: Call) -> None:
        if call.head.startswith("POST"):
            await call.answer()
            return
        await gate.wait()
        answer = {"ContextIdentifier": ID, "IsRunning": True, "Api": server.url}
        await call.answer(json.dumps(answer).encode())

    async with playing(answering) as server:
        yield server, gate


async def test_an_event_that_no_longer_waits_does_not_stop_the_question_for_the_others() -> None:
    async with gated() as (server, gate), online(server.url.removesuffix("/crm/api"), Hand(NOW)) as crm:
        first = asyncio.create_task(crm.send(claim("first")))
        second = asyncio.create_task(crm.send(claim("second")))
        await server.called.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.set()
        assert (await second).outcome is Outcome.DELIVERED
    question, event = server.calls
    assert question.head.startswith("GET")
    assert b"second" in event.body


async def test_closing_ends_a_question_that_hangs() -> None:
    async with gated() as (server, _):
        async with online(server.url.removesuffix("/crm/api"), Hand(NOW)) as crm:
            waiting = asyncio.create_task(crm.send(claim()))
            await server.called.wait()
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not any("_ask" in repr(task) for task in asyncio.all_tasks())


# Moved


@pytest.mark.parametrize("left_behind", [421, 404, 503])
async def test_an_event_follows_the_tenant_that_moved_within_one_attempt(
    sandbox: Sandbox, crm: SuperOffice, left_behind: int
) -> None:
    await sent(crm)
    sandbox.tenants.set(ID, host="online2", left_behind=left_behind)
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.status) == (Outcome.DELIVERED, 200)
    assert sandbox.requests[f"online1/{ID}"] == {"200": 1, str(left_behind): 1}
    assert sandbox.requests[f"online2/{ID}"] == {"200": 1}
    await sent(crm)
    assert sandbox.requests[f"online2/{ID}"] == {"200": 2}
    assert asked(sandbox) == 2


@pytest.mark.parametrize(("fault", "unclear"), [("cut-after", None), ("502", None), ("204", Unclear.ANSWER)])
async def test_what_becomes_of_it_where_the_tenant_moved_to_is_judged_by_itself(
    sandbox: Sandbox, crm: SuperOffice, fault: str, unclear: Unclear | None
) -> None:
    await sent(crm)
    sandbox.tenants.set(ID, host="online2")
    sandbox.script.add([f"{fault} tenant=online2/{ID}"])
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.unclear) == (Outcome.UNKNOWN, unclear)
    assert posted(sandbox) == 3


async def test_an_event_follows_to_another_port(sandbox: Sandbox, crm: SuperOffice) -> None:
    await sent(crm)
    other = Sandbox()
    async with serving(other) as elsewhere:
        sandbox.tenants.set(ID, host="gone", api=f"{elsewhere}/{ID}/api")
        (attempt,) = await sent(crm)
    assert attempt.outcome is Outcome.DELIVERED
    assert len(other.events(ID)) == 1


async def test_events_that_find_it_gone_at_once_share_one_question(sandbox: Sandbox, crm: SuperOffice) -> None:
    await sent(crm)
    sandbox.tenants.set(ID, host="online2")
    assert {attempt.outcome for attempt in await sent(crm, 8)} == {Outcome.DELIVERED}
    assert asked(sandbox) == 2
    assert sandbox.requests[f"online2/{ID}"] == {"200": 8}


async def test_a_second_move_in_a_row_counts_as_unavailable(sandbox: Sandbox, crm: SuperOffice, url: str) -> None:
    await sent(crm)
    sandbox.tenants.set(ID, host="online3", api=f"{url}/online2/{ID}/api")
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.status, attempt.pause) == (Outcome.UNAVAILABLE, 421, None)
    assert attempt.detail == "SuperOffice answered 421, as where the tenant has moved, again"
    assert posted(sandbox) == 3
    sandbox.tenants.set(ID, api=None)
    assert (await sent(crm))[0].outcome is Outcome.DELIVERED
    assert asked(sandbox) == 3


@pytest.mark.parametrize("status", [421, 404, 503])
async def test_where_it_is_still_there_nothing_is_sent_again_at_once(
    sandbox: Sandbox, crm: SuperOffice, status: int
) -> None:
    await sent(crm)
    sandbox.script.add([f"{status} retry-after=7"])
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.status, attempt.retry_after) == (Outcome.UNAVAILABLE, status, 7_000)
    assert attempt.detail == f"SuperOffice answered {status}, as where the tenant has moved, but it is still there"
    assert (asked(sandbox), posted(sandbox)) == (2, 2)
    assert (await sent(crm))[0].outcome is Outcome.DELIVERED
    assert asked(sandbox) == 2


async def test_a_connection_that_fails_makes_the_next_one_ask(sandbox: Sandbox, crm: SuperOffice) -> None:
    sandbox.tenants.set(ID, api=f"http://127.0.0.1:{unused_port()}/{ID}/api")
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.detail) == (Outcome.UNAVAILABLE, "connection refused")
    sandbox.tenants.set(ID, api=None)
    assert (await sent(crm))[0].outcome is Outcome.DELIVERED
    assert asked(sandbox) == 2


@pytest.mark.parametrize("fault", ["cut-before", "cut-after", "cut-middle"])
async def test_a_connection_that_breaks_after_sending_is_unknown_and_makes_the_next_one_ask(
    sandbox: Sandbox, crm: SuperOffice, fault: str
) -> None:
    sandbox.script.add([fault])
    assert (await sent(crm))[0].outcome is Outcome.UNKNOWN
    assert (await sent(crm))[0].outcome is Outcome.DELIVERED
    assert (asked(sandbox), posted(sandbox)) == (2, 2)


@pytest.mark.parametrize("fault", ["rejected", "error", "401", "429", "500"])
async def test_other_answers_say_nothing_of_where_it_is(sandbox: Sandbox, crm: SuperOffice, fault: str) -> None:
    sandbox.script.add([fault])
    assert (await sent(crm))[0].outcome is not Outcome.MOVED
    await sent(crm)
    assert asked(sandbox) == 1


async def test_a_target_of_one_s_own_knows_no_other_place(sandbox: Sandbox, url: str) -> None:
    crm = compiled(f"{url}/crm/api")
    for fault, outcome in (("421", Outcome.MOVED), ("404", Outcome.REJECTED), ("503", Outcome.UNAVAILABLE)):
        sandbox.script.add([fault])
        assert (await sent(crm))[0].outcome is outcome
    assert crm.tenant is None
    await crm.close()
    assert set(sandbox.requests) == {"crm"}


# Away


@pytest.mark.parametrize(
    "state", ["OfflineMaintenance", "OnlineMaintenance", "Suspended", "MigrationPending", "Deleted"]
)
async def test_nothing_is_sent_to_a_tenant_that_is_not_running(sandbox: Sandbox, crm: SuperOffice, state: str) -> None:
    sandbox.tenants.set(ID, state=state)
    for attempt in await sent(crm, 3):
        assert (attempt.outcome, attempt.status, attempt.pause) == (Outcome.UNAVAILABLE, None, PauseReason.TENANT)
        assert attempt.detail == f"the tenant is not running ({state})"
    assert (asked(sandbox), posted(sandbox)) == (1, 0)
    await sent(crm)  # that it is away is never kept
    assert asked(sandbox) == 2
    sandbox.tenants.set(ID, state="Running")
    assert (await sent(crm))[0].outcome is Outcome.DELIVERED


async def test_a_tenant_that_goes_away_is_noticed_by_its_answer(sandbox: Sandbox, crm: SuperOffice) -> None:
    await sent(crm)
    sandbox.tenants.set(ID, state="OfflineMaintenance")
    (attempt,) = await sent(crm)
    assert (attempt.outcome, attempt.pause) == (Outcome.UNAVAILABLE, PauseReason.TENANT)
    assert posted(sandbox) == 2


# The state endpoint fails: no event is sent, so nothing is unknown


@pytest.mark.parametrize(
    ("fault", "outcome", "detail"),
    [
        ("503 retry-after=30", Outcome.UNAVAILABLE, "asked where the tenant is, SuperOffice answered 503"),
        ("500", Outcome.UNAVAILABLE, "asked where the tenant is, SuperOffice answered 500"),
        ("429", Outcome.UNAVAILABLE, "asked where the tenant is, SuperOffice answered 429"),
        (
            "cut-before",
            Outcome.UNAVAILABLE,
            "it cannot be asked where the tenant is: the connection broke before the answer",
        ),
        (
            "cut-middle",
            Outcome.UNAVAILABLE,
            "it cannot be asked where the tenant is: the connection broke before the answer",
        ),
        ("hang", Outcome.UNAVAILABLE, "it cannot be asked where the tenant is: no answer within 0.5 s"),
        ("garbage", Outcome.MISCONFIGURED, "what answers is no state endpoint of SuperOffice Online"),
        ("html200", Outcome.MISCONFIGURED, "what answers is no state endpoint of SuperOffice Online"),
        ("null", Outcome.MISCONFIGURED, "what answers is no state endpoint of SuperOffice Online"),
        ("huge", Outcome.MISCONFIGURED, "what answers is no state endpoint of SuperOffice Online"),
        ("404", Outcome.MISCONFIGURED, "asked where the tenant is, SuperOffice answered 404"),
        ("401", Outcome.MISCONFIGURED, "asked where the tenant is, SuperOffice answered 401"),
        ("redirect", Outcome.MISCONFIGURED, "asked where the tenant is, SuperOffice answered 302"),
    ],
)
async def test_a_question_that_fails_is_an_outcome_and_the_event_is_not_sent(
    sandbox: Sandbox, url: str, hand: Hand, fault: str, outcome: Outcome, detail: str
) -> None:
    sandbox.script.add([f"{fault} tenant={STATE}"])
    async with online(url, hand, timeout=patience(fault)) as crm:
        (attempt,) = await sent(crm)
        assert (attempt.outcome, attempt.status) == (outcome, None)
        assert attempt.detail.startswith(detail)
        assert attempt.retry_after == (30_000 if "retry-after" in fault else None)
        assert posted(sandbox) == 0
        assert (await sent(crm))[0].outcome is Outcome.DELIVERED


@pytest.mark.parametrize("environment", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}"])
async def test_an_environment_that_cannot_be_reached_is_unavailable(environment: str) -> None:
    async with online(environment.format(port=unused_port()), Hand(NOW)) as crm:
        (attempt,) = await sent(crm)
    assert attempt.outcome is Outcome.UNAVAILABLE
    assert attempt.detail == "it cannot be asked where the tenant is: connection refused"


async def test_an_answer_without_end_is_read_no_further_than_it_need_be() -> None:
    written = 0

    async def endless(call: Call) -> None:
        nonlocal written
        await call.send(b"HTTP/1.1 200 OK\r\n\r\n{")
        while True:
            await call.send(b" " * 65_536)
            written += 65_536

    async with playing(endless) as server, online(server.url.removesuffix("/crm/api"), Hand(NOW)) as crm:
        (attempt,) = await sent(crm)
        await asyncio.wait_for(server.hung_up.wait(), 5)
    assert attempt.outcome is Outcome.MISCONFIGURED
    assert written < 50 * 1024 * 1024


@pytest.mark.parametrize(
    "api", ["http://evil.example/api", "https://evil.example/api", "https://online3.superoffice.com/api", "x", ""]
)
async def test_nobody_is_sent_to_a_host_of_somebody_else(sandbox: Sandbox, crm: SuperOffice, api: str) -> None:
    sandbox.tenants.set(ID, api=api)
    (attempt,) = await sent(crm)
    assert attempt.outcome is Outcome.MISCONFIGURED
    assert posted(sandbox) == 0


async def test_where_it_moved_to_must_be_told_before_the_attempt_s_time_is_over(
    sandbox: Sandbox, url: str, hand: Hand
) -> None:
    async with online(url, hand, timeout="400ms") as crm:
        await sent(crm)
        sandbox.tenants.set(ID, host="online2")
        sandbox.script.add([f"hang tenant={STATE}"])
        watch = Stopwatch()
        (attempt,) = await sent(crm)
        assert attempt.outcome is Outcome.UNAVAILABLE
        assert watch.seconds() < 0.4
        assert (await sent(crm))[0].outcome is Outcome.DELIVERED


# What is told


async def test_where_it_is_is_logged_once_and_each_answer_is_told(
    sandbox: Sandbox, crm: SuperOffice, hand: Hand, url: str
) -> None:
    told: list[TenantState] = []
    assert crm.tenant is not None
    crm.tenant.on_state = told.append
    structlog.reset_defaults()
    vars(logs.log).pop("bind", None)  # another test may have configured the log, which it then caches
    with capture_logs() as lines:
        await sent(crm, 3)
        hand.at += HOUR
        await sent(crm)
        sandbox.tenants.set(ID, host="online2")
        await sent(crm)
        sandbox.tenants.set(ID, state="OfflineMaintenance")
        await sent(crm)
    first, second = (f"{url}/{host}/{ID}/api" for host in ("online1", "online2"))
    assert [(line["event"], line["target"], line["url"], line["before"]) for line in lines] == [
        (logs.TARGET_LOCATED, "crm", first, None),
        (logs.TARGET_LOCATED, "crm", second, first),
    ]
    assert [(one.url, one.state, one.running, one.asked_at - NOW) for one in told] == [
        (first, "Running", True, 0),
        (first, "Running", True, HOUR),
        (second, "Running", True, HOUR),
        (None, "OfflineMaintenance", False, HOUR),
    ]


async def test_a_tenant_found_is_the_base_for_other_questions(crm: SuperOffice, sandbox: Sandbox, url: str) -> None:
    assert await crm.base() == f"{url}/online1/{ID}/api"
    assert await crm.base() == f"{url}/online1/{ID}/api"
    assert asked(sandbox) == 1
