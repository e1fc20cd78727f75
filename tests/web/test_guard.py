"""The admin port's bounds: who knows no token costs little, and keeps nobody out who does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from clocks import Seconds
from forwarding.support import logged
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.limits.request_limits import Limits
from bridge.settings.secrets import Secret
from bridge.web.guard import Guard
from bridge.web.serving import Serving, listen

from .test_public import connect, ended, until

LIMITS = Limits(head=2000, headers=20, body_within=0.3, bodies=300_000, connections=10, linger=0.2)
TOKEN = "a token of the tests"
RIGHT = f"Bearer {TOKEN}"

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Port:
    number: int
    guard: Guard
    metrics: Metrics
    hand: Seconds

    def refused(self, reason: str) -> float | None:
        return self.metrics.registry.get_sample_value("bridge_admin_refused_total", {"reason": reason})

    async def asked(self, shown: str | None = RIGHT) -> tuple[int, dict[str, str]]:
        """Status and headers of one request on a connection of its own."""
        async with connect(self.number) as connection:
            await connection.write(head(shown))
            status, headers, _ = await connection.answer()
        return status, headers


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    metrics, hand = Metrics(), Seconds()
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    guard = Guard(app, Secret(TOKEN), metrics, LIMITS, hand)
    listener = listen("127.0.0.1", 0)
    serving = Serving(guard, listener, guard.connections)
    serving.start()
    try:
        yield Port(listener.getsockname()[1], guard, metrics, hand)
    finally:
        await serving.stop()


def head(shown: str | None = RIGHT, *lines: str, method: str = "GET") -> bytes:
    authorization = [] if shown is None else [f"Authorization: {shown}"]
    return "\r\n".join([f"{method} / HTTP/1.1", "Host: a", *authorization, *lines, "", ""]).encode()


async def test_a_body_reaches_the_application_whole(port: Port) -> None:
    async with connect(port.number) as connection:
        for _ in range(2):
            await connection.write(head(RIGHT, "Content-Length: 6", method="POST") + b"abc")
            await asyncio.sleep(0)
            await connection.write(b"def")
            assert (await connection.answer())[::2] == (200, b"abcdef")


async def test_wrong_tokens_are_told_counted_and_slowed_down_and_a_right_one_is_served_at_once(port: Port) -> None:
    with logged() as log:
        assert (await port.asked(None))[0] == 401
        statuses = [(await port.asked("Bearer a guess"))[0] for _ in range(305)]
    assert statuses == [401] * 299 + [429] * 6
    assert (port.refused("token_missing"), port.refused("token_mismatch")) == (1, 299)
    assert port.refused("too_many_failures") == 6
    lines = log.named(logs.ADMIN_REFUSED)
    assert 300 <= len(lines) <= 306
    assert {line["reason"] for line in lines} == {"token_missing", "token_mismatch", "too_many_failures"}
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert "guess" not in repr(lines)
    assert (await port.asked())[0] == 200
    status, headers = await port.asked("Bearer a guess")
    assert (status, headers["connection"]) == (429, "close")
    assert int(headers["retry-after"]) >= 1
    port.hand.at += 1.001
    assert [(await port.asked("Bearer a guess"))[0] for _ in range(11)] == [401] * 10 + [429]
    assert (await port.asked())[0] == 200


async def test_what_comes_with_a_wrong_token_is_not_read(port: Port) -> None:
    async with connect(port.number) as connection:
        await connection.write(head("Bearer a guess", "Content-Length: 1000000", method="POST") + b"x" * 100_000)
        status, headers, content = await connection.answer()
        assert (status, headers["connection"], content["status"]) == (401, "close", 401)
        assert headers["www-authenticate"] == "Bearer"
    assert port.guard.bodies.memory.held == 0


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (head(RIGHT, "X: " + "y" * 2000), 431, "headers_too_large"),
        (head(RIGHT, *(["X: y"] * 20)), 431, "headers_too_large"),
        (head(RIGHT).replace(b"/ ", b"/" + b"a" * 2000 + b" "), 414, "target_too_long"),
        (head(RIGHT).replace(b"1.1", b"2.0"), 505, "version_not_supported"),
        (head(RIGHT).replace(b"Host: a\r\n", b""), 400, "host_invalid"),
        (b"noise\r\n\r\n", 400, "bad_request"),
        (head(RIGHT, "Content-Length: 2000000", method="POST"), 413, "body_too_large"),
        (head(RIGHT, "Content-Length: 5", method="POST") + b"abc", 408, "body_too_slow"),
        (head(RIGHT, "Content-Encoding: snappy", "Content-Length: 2", method="POST") + b"{}", 415, "content_encoding"),
    ],
)
async def test_the_public_ports_bounds_hold_here(port: Port, request_: bytes, status: int, reason: str) -> None:
    async with connect(port.number) as connection:
        await connection.write(request_)
        found, headers, content = await connection.answer()
        assert (found, headers["connection"], content["status"]) == (status, "close", status)
        assert (headers["content-type"], bool(content["detail"])) == ("application/problem+json", True)
    assert port.refused(reason) == 1


async def test_no_number_of_silent_connections_keeps_a_right_token_out(port: Port) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connect(port.number)) for _ in range(3 * LIMITS.connections)]
        await until(lambda: port.refused("too_many_connections") == 2 * LIMITS.connections)
        assert (await port.asked())[0] == 200
        assert await ended(silent[0])
