"""The contract of the transport: every way in which an exchange breaks on a real socket, and what it teaches.

"unavailable" promises that nothing can have reached SuperOffice; once the request went out, everything is "unknown".
"""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from authorities import authority, server_tls
from clocks import Hand
from running import HANG

from bridge.model import Attempt, Outcome, Unclear
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.superoffice.http import tls

from .support import RESULT, Call, claim, compiled, forever, opened, playing, tenant

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

AUTHORITY = authority()
HERE = AUTHORITY.issue("127.0.0.1")
ELSEWHERE = AUTHORITY.issue("crm.example.com")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A machine that trusts the tests' authority, and nobody else."""
    (tmp_path / "authority.pem").write_bytes(AUTHORITY.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    tls.system_trust.cache_clear()
    yield
    tls.system_trust.cache_clear()


async def sent_to(url: str, patience: str = "10s") -> Attempt:
    async with opened(url, timeout=patience) as crm:
        return await crm.send(claim())


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_unavailable(attempt: Attempt, detail: str) -> bool:
    return (attempt.outcome, attempt.status, attempt.detail) == (Outcome.UNAVAILABLE, None, detail)


def is_unknown(attempt: Attempt, detail: str) -> bool:
    whole = f"{detail}, SuperOffice may have taken the event"
    return (attempt.outcome, attempt.status, attempt.detail) == (Outcome.UNKNOWN, None, whole)


# Nothing can have reached the server


async def test_a_refused_connection_is_unavailable() -> None:
    assert is_unavailable(await sent_to(f"http://127.0.0.1:{unused_port()}/api"), "connection refused")


async def test_a_name_that_is_not_found_is_unavailable() -> None:
    assert is_unavailable(await sent_to("https://crm.invalid/api"), "the host's name is not found")


async def test_a_connection_that_never_comes_about_is_unavailable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # more than the backlog holds: further ones get no answer at all
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            attempt = await sent_to(f"http://127.0.0.1:{address[1]}/api", "300ms")
        finally:
            for one in waiting:
                one.close()
    assert is_unavailable(attempt, "no connection within 0.3 s")
    assert attempt.duration >= 299  # uvloop counts in whole milliseconds


async def test_a_tls_handshake_that_never_ends_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = await sent_to(f"https://127.0.0.1:{listener.getsockname()[1]}/api", "300ms")
    assert is_unavailable(attempt, "no connection within 0.3 s")


async def test_a_certificate_that_nobody_vouches_for_is_unavailable() -> None:
    async with playing(Call.answer, tls=server_tls(HERE)) as server:
        attempt = await sent_to(server.url)
    assert is_unavailable(attempt, "the host's TLS certificate is not valid")
    assert server.calls == []


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_for_another_name_is_unavailable() -> None:
    async with playing(Call.answer, tls=server_tls(ELSEWHERE)) as server:
        attempt = await sent_to(server.url)
    assert is_unavailable(attempt, "the host's TLS certificate is not valid")
    assert server.calls == []


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_that_this_machine_trusts_is_good() -> None:
    async with playing(Call.answer, tls=server_tls(HERE)) as server:
        assert (await sent_to(server.url)).outcome is Outcome.DELIVERED


async def test_plain_text_where_tls_is_expected_is_unavailable() -> None:
    async with serving(Sandbox()) as url:
        assert is_unavailable(await sent_to(url.replace("http:", "https:") + "/api"), "TLS failed")


# The request went out


async def test_a_reset_instead_of_an_answer_is_unknown() -> None:
    async def resetting(call: Call) -> None:
        call.reset()

    async with playing(resetting) as server:
        attempt = await sent_to(server.url)
    assert is_unknown(attempt, "the connection broke before the answer")
    assert len(server.calls) == 1


async def test_a_connection_closed_without_an_answer_is_unknown() -> None:
    async def closing(call: Call) -> None:
        call.writer.close()

    async with playing(closing) as server:
        attempt = await sent_to(server.url)
    assert is_unknown(attempt, "the connection broke before the answer")
    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [200, 400, 503])
async def test_an_answer_that_ends_in_its_middle_is_unknown_whatever_its_status(status: int) -> None:
    async def cutting(call: Call) -> None:
        await call.send(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(RESULT)}\r\n\r\n".encode() + RESULT[:20])
        call.writer.close()

    async with playing(cutting) as server:
        assert is_unknown(await sent_to(server.url), "the connection broke before the answer")


async def test_a_chunked_answer_that_ends_early_is_unknown() -> None:
    async def cutting(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n55\r\n" + RESULT + b"\r\n")
        call.writer.close()

    async with playing(cutting) as server:
        assert is_unknown(await sent_to(server.url), "the connection broke before the answer")


@pytest.mark.parametrize("garbage", [b"\x15\x03\x01\x00\x02\x02\x0a", b"220 mail.example.com ESMTP\r\n", b"\0" * 9000])
async def test_an_answer_that_is_not_http_is_unknown(garbage: bytes) -> None:
    async def talking(call: Call) -> None:
        await call.send(garbage)
        call.writer.close()

    async with playing(talking) as server:
        assert is_unknown(await sent_to(server.url), "the connection broke before the answer")


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
async def test_silence_after_the_request_is_unknown(start: bytes) -> None:
    async def silent(call: Call) -> None:
        await call.send(start)
        await forever()

    async with playing(silent) as server:
        attempt = await sent_to(server.url, "300ms")
        assert is_unknown(attempt, "no answer within 0.3 s")
        assert attempt.duration >= 299  # uvloop counts in whole milliseconds


async def test_an_answer_in_drops_does_not_outlast_the_time_out() -> None:
    async def dripping(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
        while True:
            await call.send(b" ")
            await asyncio.sleep(0.02)

    async with playing(dripping) as server, asyncio.timeout(5):
        assert is_unknown(await sent_to(server.url, "300ms"), "no answer within 0.3 s")


async def test_plain_text_at_a_tls_port_is_unknown() -> None:
    """The server cannot have understood it, but from here that looks like any closed connection."""
    async with playing(Call.answer, tls=server_tls(HERE)) as server:
        attempt = await sent_to(server.url.replace("https:", "http:"))
    assert is_unknown(attempt, "the connection broke before the answer")
    assert server.calls == []


async def test_an_answer_without_end_is_read_up_to_a_limit() -> None:
    written = 0

    async def pouring(call: Call) -> None:
        nonlocal written
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await call.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            written += 0x10000

    async with playing(pouring) as server:
        attempt = await sent_to(server.url)
    assert (attempt.outcome, attempt.unclear) == (Outcome.UNKNOWN, Unclear.ANSWER)
    assert attempt.status == 200
    assert attempt.result == "x" * 2048
    assert written < 32 * 1024 * 1024  # the socket's buffers may hold some of it


# Connections that are kept


async def test_a_connection_is_used_again() -> None:
    async with playing(Call.answer) as server, opened(server.url) as crm:
        assert [(await crm.send(claim())).outcome for _ in range(3)] == [Outcome.DELIVERED] * 3
    assert server.connections == 1


async def test_an_idle_connection_that_the_server_closed_meanwhile_does_no_harm() -> None:
    async def closing_after(call: Call) -> None:
        await call.answer()
        call.writer.close()

    async with playing(closing_after) as server, opened(server.url) as crm, opened(server.url) as another:
        first = await crm.send(claim())
        await another.send(claim())  # a round trip, in which the end of the first connection is heard of, too
        second = await crm.send(claim())
    assert first.outcome is second.outcome is Outcome.DELIVERED
    assert server.connections == 3


async def test_a_kept_connection_that_dies_under_a_request_is_unknown_and_nothing_is_sent_twice() -> None:
    async def once(call: Call) -> None:
        if len(server.calls) == 1:
            await call.answer()
        else:
            call.reset()

    async with playing(once) as server, opened(server.url) as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
        assert is_unknown(await crm.send(claim()), "the connection broke before the answer")
    assert len(server.calls) == 2
    assert server.connections == 1


async def test_there_are_never_more_connections_than_attempts_in_flight() -> None:
    async with playing(Call.answer) as server, opened(server.url, max_in_flight=3) as crm:
        await asyncio.gather(*(crm.send(claim()) for _ in range(30)))
    assert len(server.calls) == 30
    assert server.connections <= 3


# Several at once


async def test_attempts_at_the_same_time_keep_their_progress_apart() -> None:
    """One event is at the server when another cannot even be sent: each must be told by its own."""

    async def holding(call: Call) -> None:
        await release.wait()
        call.reset()

    release = asyncio.Event()
    async with playing(holding) as server, opened(server.url) as crm:
        under_way = asyncio.create_task(crm.send(claim("first=1")))
        await server.called.wait()
        server.listener.close()
        assert is_unavailable(await crm.send(claim("second=1")), "connection refused")
        release.set()
        assert is_unknown(await under_way, "the connection broke before the answer")


async def test_a_finished_attempt_does_not_taint_the_next_one_of_the_same_task() -> None:
    async def closing(call: Call) -> None:
        call.writer.close()

    async with playing(closing) as server, opened(server.url) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNKNOWN
        server.listener.close()
        assert (await crm.send(claim())).outcome is Outcome.UNAVAILABLE


async def test_cancellation_is_passed_on_and_ends_the_exchange() -> None:
    async def silent(call: Call) -> None:
        if len(server.calls) > 1:
            await call.answer()

    async with playing(silent) as server, opened(server.url) as crm:
        task = asyncio.create_task(crm.send(claim()))
        await server.called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await server.hung_up.wait()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert server.connections == 2


# What surrounds a request


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with tenant(Sandbox()) as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


async def test_cookies_of_an_answer_are_not_sent_back() -> None:
    async def setting(call: Call) -> None:
        await call.answer(headers="Set-Cookie: ASP.NET_SessionId=1; path=/\r\n")

    async with playing(setting) as server, opened(server.url) as crm:
        await crm.send(claim())
        await crm.send(claim())
    assert ["cookie" in call.headers for call in server.calls] == [False, False]


async def test_a_redirect_is_not_followed() -> None:
    async def redirecting(call: Call) -> None:
        await call.answer(b"", status=307, headers=f"Location: {server.url}/elsewhere\r\n")

    async with playing(redirecting) as server:
        attempt = await sent_to(server.url)
    assert (attempt.outcome, attempt.status) == (Outcome.MISCONFIGURED, 307)
    assert len(server.calls) == 1


async def test_the_time_of_an_attempt_is_kept() -> None:
    async with tenant(Sandbox(["slow seconds=0.1"]), clock=Hand(1_764_003_600_000)) as crm:
        attempt = await crm.send(claim())
    assert attempt.started_at == 1_764_003_600_000
    assert 99 <= attempt.duration < HANG * 1000


async def test_a_target_that_was_never_used_can_be_closed() -> None:
    await compiled("https://crm.example.com/api").close()
