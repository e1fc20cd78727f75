"""OAuth by a refresh token, against the sandbox and against services that misbehave."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from clocks import Hand

from bridge.errors import StoreUnavailable
from bridge.model import Outcome, Unclear
from bridge.settings.expansion import Expansion
from bridge.superoffice.login.refresh_token import TokenStore
from bridge.times import iso
from superoffice.logging_in import HOUR, NOW, a_sandbox, logged, logging_in, oauth, path, service
from superoffice.support import Call, claim, forever, opened, patience

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

TOKENS = "/login/common/oauth/tokens"


class Shelf:
    """Keeps one token, or fails to."""

    def __init__(self) -> None:
        self.sealed: bytes | None = None
        self.broken = False

    async def load(self) -> bytes | None:
        self._check()
        return self.sealed

    async def save(self, sealed: bytes) -> None:
        self._check()
        self.sealed = sealed

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is full")


async def attempt_at(behaviour: Any, *, patience: str = "2s", **changed: Any) -> Any:
    """What an attempt shows whose log-in service behaves so. SuperOffice itself is never asked."""
    hand = Hand(NOW)
    async with (
        service(behaviour) as (url, server),
        opened(server.url, clock=hand, authorization=oauth(url, **changed), timeout=patience) as crm,
    ):
        attempt = await crm.send(claim())
    assert [path(call) for call in server.calls] == [TOKENS]
    return attempt


async def test_a_token_is_fetched_and_used_for_all_events() -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        attempts = await asyncio.gather(*(crm.send(claim()) for _ in range(100)))
    assert {attempt.outcome for attempt in attempts} == {Outcome.DELIVERED}
    assert sandbox.log_ins.count == {"oauth": 1}
    assert sandbox.requests == {"log-in": {"200": 1}, "crm": {"200": 100}}


async def test_secrets_go_in_the_body_and_never_in_the_query() -> None:
    async def answering(call: Call) -> None:
        await call.answer(b'{"access_token": "8A:new", "token_type": "Bearer", "expires_in": 3600}')

    async with (
        service(answering) as (url, server),
        opened(
            server.url,
            authorization=oauth(url, client_secret="s&=é", refresh_token="r+/=", redirect_uri="https://a/b?c"),
        ) as crm,
    ):
        await crm.send(claim())
    log_in, event = server.calls
    assert log_in.head.startswith(f"POST {TOKENS} HTTP/1.1\r\n")
    assert log_in.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(log_in.body.decode()) == {
        "grant_type": ["refresh_token"],
        "client_id": ["sandbox"],
        "client_secret": ["s&=é"],
        "refresh_token": ["r+/="],
        "redirect_uri": ["https://a/b?c"],
    }
    assert "authorization" not in log_in.headers
    assert event.headers["authorization"] == "Bearer 8A:new"
    assert "so-apptoken" not in event.headers


async def test_it_is_renewed_ahead_of_its_end() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "oauth", hand) as crm:
        await crm.send(claim())
        hand.at += HOUR - 5 * 60_000
        await asyncio.gather(*(crm.send(claim()) for _ in range(20)))
        hand.at += 5 * 60_000
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.log_ins.count == {"oauth": 2}
    assert sandbox.requests["crm"] == {"200": 22}


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        ("3600", 3600),
        (1200, 1200),
        (None, 1200),
        ("soon", 1200),
        (0, 10),
        (-5, 10),
        (10**30, 30 * 24 * 3600),
        (1.5, 10),
    ],
)
async def test_expires_in_is_trusted_within_reason(expires_in: Any, seconds: int) -> None:
    async def answering(call: Call) -> None:
        await call.answer(json.dumps({"access_token": "8A:x", "expires_in": expires_in}).encode())

    with logged() as lines:
        async with (
            service(answering) as (url, server),
            opened(server.url, clock=Hand(NOW), authorization=oauth(url)) as crm,
        ):
            await crm.send(claim())
    (renewed,) = [line for line in lines if line["event"] == "login.renewed"]
    assert renewed["ends_at"] == iso(NOW + seconds * 1000)


async def test_a_token_that_ended_early_is_renewed_and_the_event_sent_once_more() -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        await crm.send(claim())
        sandbox.log_ins.forget()
        attempts = await asyncio.gather(*(crm.send(claim()) for _ in range(8)))
    assert {(attempt.outcome, attempt.status) for attempt in attempts} == {(Outcome.DELIVERED, 200)}
    assert sandbox.log_ins.count == {"oauth": 2}
    assert sandbox.requests["crm"] == {"200": 9, "401": 8}


@pytest.mark.parametrize(("fault", "unclear"), [("cut-after", None), ("502", None), ("204", Unclear.ANSWER)])
async def test_what_is_sent_once_more_is_judged_by_itself(fault: str, unclear: Unclear | None) -> None:
    sandbox = a_sandbox(Hand(), ("401 tenant=crm", f"{fault} tenant=crm"))
    async with logging_in(sandbox, "oauth", Hand()) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.unclear) == (Outcome.UNKNOWN, unclear)
    assert sandbox.requests["crm"] == {"401": 1, fault: 1}


@pytest.mark.parametrize("status", ["401", "403"])
async def test_a_second_refusal_is_unauthorized(status: str) -> None:
    sandbox = a_sandbox(Hand(NOW), (f"{status}*2 tenant=crm",))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status) == (Outcome.UNAUTHORIZED, int(status))
    assert sandbox.log_ins.count == {"oauth": 2}
    assert sandbox.requests["crm"] == {status: 2}


async def test_where_the_renewal_after_a_refusal_fails_the_event_was_not_sent() -> None:
    sandbox = a_sandbox(Hand(NOW), ("401 tenant=crm",))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        await crm.log_in()
        sandbox.script.add(["503 tenant=log-in retry-after=7"])
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status, attempt.retry_after) == (Outcome.UNAVAILABLE, None, 7_000)
    assert attempt.detail == "the log-in answered 503"


async def test_an_event_that_breaks_when_sent_again_is_unknown() -> None:
    sandbox = a_sandbox(Hand(NOW), ("401 tenant=crm", "cut-after tenant=crm"))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        attempt = await crm.send(claim())
    assert attempt.outcome is Outcome.UNKNOWN
    assert len(sandbox.events()) == 1


# Refusals and services that misbehave


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"client_secret": "wrong"}, "the log-in was refused (401) invalid_client, check the target's authorization"),
        ({"refresh_token": "wrong"}, "the log-in was refused (400) invalid_grant, check the target's authorization"),
    ],
)
async def test_wrong_secrets_are_unauthorized(changed: dict[str, Any], detail: str) -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "oauth", Hand(NOW), changed) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status, attempt.detail) == (Outcome.UNAUTHORIZED, None, detail)
    assert attempt.result is None
    assert "crm" not in sandbox.requests


@pytest.mark.parametrize(
    ("fault", "outcome", "wait"),
    [
        ("500", Outcome.UNAVAILABLE, None),
        ("502", Outcome.UNAVAILABLE, None),
        ("503 retry-after=7", Outcome.UNAVAILABLE, 7_000),
        ("429 retry-after=7", Outcome.UNAVAILABLE, 7_000),
        ("401", Outcome.UNAUTHORIZED, None),
        ("404", Outcome.UNAUTHORIZED, None),
        ("redirect", Outcome.MISCONFIGURED, None),
        ("html200", Outcome.MISCONFIGURED, None),
        ("garbage", Outcome.MISCONFIGURED, None),
        ("null", Outcome.MISCONFIGURED, None),
        ("error", Outcome.MISCONFIGURED, None),
        ("huge", Outcome.MISCONFIGURED, None),
        ("hang", Outcome.UNAVAILABLE, None),
        ("cut-before", Outcome.UNAVAILABLE, None),
        ("cut-after", Outcome.UNAVAILABLE, None),
        ("cut-middle", Outcome.UNAVAILABLE, None),
    ],
)
@pytest.mark.parametrize("scheme", ["oauth", "system_user"])
async def test_a_log_in_that_fails_is_never_unknown_and_no_event_is_sent(
    scheme: str, fault: str, outcome: Outcome, wait: int | None
) -> None:
    sandbox = a_sandbox(Hand(NOW), (f"{fault} tenant=log-in",))
    async with logging_in(sandbox, scheme, Hand(NOW), timeout=patience(fault)) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status, attempt.retry_after) == (outcome, None, wait)
    assert "crm" not in sandbox.requests


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    async with opened("http://127.0.0.1:9/api", authorization=oauth("http://127.0.0.1:9")) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.detail) == (
        Outcome.UNAVAILABLE,
        "the log-in cannot be reached: connection refused",
    )


async def test_a_slow_service_takes_no_longer_than_the_attempt() -> None:
    async def dripping(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        await forever()

    attempt = await attempt_at(dripping, patience="300ms")
    assert (attempt.outcome, attempt.detail) == (Outcome.UNAVAILABLE, "the log-in took longer than 0.27 s")


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def pouring(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await call.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    attempt = await attempt_at(pouring)
    assert (attempt.outcome, attempt.detail) == (
        Outcome.MISCONFIGURED,
        "the answer is too long for a log-in's, check the environment",
    )


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"access_token": None},
        {"access_token": 7},
        {"access_token": ""},
        {"access_token": "8A:x\r\nX-Injected: 1"},
        {"access_token": "8A:ä"},
        {"access_token": "8A:" + "x" * 20_000},
        {"access_token": "8A:x", "token_type": "mac"},
        {"access_token": ["8A:x"]},
    ],
)
async def test_an_answer_without_a_token_that_can_be_sent_is_misconfigured(given: dict[str, Any]) -> None:
    async def answering(call: Call) -> None:
        await call.answer(json.dumps(given).encode())

    assert (await attempt_at(answering)).outcome is Outcome.MISCONFIGURED


async def test_a_redirect_is_not_followed() -> None:
    async def redirecting(call: Call) -> None:
        await call.answer(b"", status=307, headers="Location: /elsewhere\r\n")

    assert (await attempt_at(redirecting)).outcome is Outcome.MISCONFIGURED


# A secret file that changes


async def test_a_secret_that_is_corrected_in_its_file_is_used_by_the_next_log_in(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("wrong\n")
    text, _ = Expansion({}, tmp_path).expand("${file:secret}")
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "oauth", hand, {"client_secret": text}) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNAUTHORIZED
        file.write_text("sandbox\n")
        hand.at += 2_000
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
        file.write_text("rotated\n")
        sandbox.log_ins.client_secret = "rotated"
        sandbox.log_ins.forget()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


# Another refresh token


async def test_a_refresh_token_that_comes_back_is_used_from_then_on_and_after_a_restart() -> None:
    hand, shelf = Hand(NOW), Shelf()
    sandbox = a_sandbox(hand, rotates=True)
    for number in (1, 2):
        async with logging_in(sandbox, "oauth", hand) as crm:
            crm.keep_by(shelf)
            for _ in range(3):
                assert (await crm.send(claim())).outcome is Outcome.DELIVERED
                hand.at += HOUR
        assert sandbox.log_ins.count == {"oauth": 3 * number}
    assert shelf.sealed is not None
    assert sandbox.log_ins.refresh_token.encode() not in shelf.sealed


async def test_without_the_store_the_configured_token_is_not_sent_in_its_place() -> None:
    hand, shelf = Hand(NOW), Shelf()
    sandbox = a_sandbox(hand, rotates=True)
    shelf.broken = True
    async with logging_in(sandbox, "oauth", hand) as crm:
        crm.keep_by(shelf)
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.detail) == (
        Outcome.UNAVAILABLE,
        "the store cannot be asked for the refresh token (StoreUnavailable)",
    )
    assert sandbox.requests == {}


async def test_a_new_token_that_cannot_be_kept_is_told_and_kept_with_the_next_log_in() -> None:
    hand, shelf = Hand(NOW), Shelf()
    sandbox = a_sandbox(hand, rotates=True)
    with logged() as lines:
        async with logging_in(sandbox, "oauth", hand) as crm:
            crm.keep_by(_Failing(shelf))
            assert (await crm.send(claim())).outcome is Outcome.DELIVERED
            assert shelf.sealed is None
            hand.at += HOUR
            assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert [line for line in lines if line["event"] == "login.unkept"] == [
        {"event": "login.unkept", "log_level": "error", "client_id": "sandbox", "error": "StoreUnavailable"}
    ]
    assert shelf.sealed is not None


class _Failing:
    """A store that fails the first time that it is to keep something."""

    def __init__(self, shelf: TokenStore) -> None:
        self._shelf = shelf
        self._failed = False

    async def load(self) -> bytes | None:
        return await self._shelf.load()

    async def save(self, sealed: bytes) -> None:
        if not self._failed:
            self._failed = True
            raise StoreUnavailable("the disk is full")
        await self._shelf.save(sealed)
