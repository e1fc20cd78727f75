"""Which requests share a connection, how long it is kept, and what is written on it."""

import asyncio
import socket

import httpx
import pytest
from clocks import Hand
from forwarding.world import Loop

from bridge.settings.tls_and_proxy import ProxySettings
from bridge.superoffice.decoding import body_of
from bridge.superoffice.http.tls import system_trust
from bridge.superoffice.http.transport import Transport
from superoffice.support import RESULT, Call, playing

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


async def test_the_whole_answer_comes_back_as_it_was_sent() -> None:
    async def answering(call: Call) -> None:
        await call.answer(status=418, headers="Content-Encoding: gzip\r\nX-Two: 1\r\nX-Two: 2\r\n")

    async with playing(answering) as server:
        transport = Transport(1, system_trust)
        response = await transport.handle_async_request(httpx.Request("GET", server.url + "/a b?x=ö"))
        await transport.aclose()
    assert response.status_code == 418
    assert await body_of(response) == RESULT  # nothing is decoded: what it expands to has no bound
    assert response.headers.get_list("x-two") == ["1", "2"]
    assert server.calls[0].head.startswith("GET /crm/api/a%20b?x=%C3%B6 HTTP/1.1\r\n")


async def test_a_header_that_would_begin_another_is_never_sent() -> None:
    async with playing(Call.answer) as server:
        transport = Transport(1, system_trust)
        for headers in ({"X-A": "b\r\nX-B: c"}, {"X-A": "b\nX-B: c"}, {"X-A": "b\rc"}, {"X-A\r\nX-B": "c"}):
            with pytest.raises(httpx.LocalProtocolError, match="end of a line"):
                await transport.handle_async_request(httpx.Request("GET", server.url, headers=headers))
        await transport.aclose()
    assert server.connections == 0


async def test_what_nobody_uses_is_closed_after_a_while() -> None:
    async with playing(Call.answer) as server:
        transport = Transport(1, system_trust, keep_idle=0.05)
        await transport.handle_async_request(httpx.Request("GET", server.url))
        await asyncio.wait_for(server.hung_up.wait(), 5)
        await transport.handle_async_request(httpx.Request("GET", server.url))
        await transport.aclose()
    assert server.connections == 2


@pytest.mark.parametrize(("told", "kept_for"), [("timeout=1", 500), ("timeout=4, max=9", 3000), ("timeout=99", 15_000)])
def test_what_nobody_uses_is_closed_before_the_target_would(told: str, kept_for: int) -> None:
    hand = Hand()

    async def telling(call: Call) -> None:
        await call.answer(headers=f"Keep-Alive: {told}\r\n")

    async def story() -> None:
        async with playing(telling) as server:
            transport = Transport(1, system_trust)
            for _ in range(2):
                await transport.handle_async_request(httpx.Request("GET", server.url))
                hand.at += kept_for - 1
                for _ in range(3):  # for a timer's turn to come
                    await asyncio.sleep(0)
            assert server.connections == 1
            hand.at += 2
            await server.hung_up.wait()
            await transport.handle_async_request(httpx.Request("GET", server.url))
            await transport.aclose()
            assert server.connections == 2

    with asyncio.Runner(loop_factory=lambda: Loop(hand)) as runner:
        runner.run(story())


async def test_what_is_kept_is_closed_with_the_transport() -> None:
    async with playing(Call.answer) as server:
        transport = Transport(1, system_trust)
        await transport.handle_async_request(httpx.Request("GET", server.url))
        await transport.aclose()
        await asyncio.wait_for(server.hung_up.wait(), 5)


async def test_only_the_same_place_shares_a_connection() -> None:
    async with playing(Call.answer) as one, playing(Call.answer) as other:
        transport = Transport(4, system_trust)
        for server in (one, other, one, other):
            await transport.handle_async_request(httpx.Request("GET", server.url))
        await transport.handle_async_request(httpx.Request("GET", one.url.replace("127.0.0.1", "localhost")))
        await transport.aclose()
    assert (one.connections, other.connections) == (2, 1)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    async with playing(Call.answer, host="::1") as server:
        transport = Transport(1, system_trust)
        await transport.handle_async_request(httpx.Request("GET", server.url))
        await transport.aclose()
    assert server.calls[0].headers["host"].startswith("[::1]:")


async def test_a_proxy_is_told_an_address_of_ipv6_in_brackets() -> None:
    async def refusing(call: Call) -> None:
        await call.answer(status=403)

    async with playing(refusing) as server:
        proxy = ProxySettings(url=server.url.removesuffix("/crm/api"))
        transport = Transport(1, system_trust, proxy)
        with pytest.raises(Exception, match="403"):
            await transport.handle_async_request(httpx.Request("GET", "https://[2001:db8::1]/"))
        await transport.aclose()
    assert server.calls[0].head == "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"


async def test_who_stops_waiting_leaves_no_connection_behind_for_the_next() -> None:
    async def answering(call: Call) -> None:
        if call.connection > 1:
            await call.answer()

    async with playing(answering) as server:
        transport = Transport(1, system_trust)
        asking = asyncio.create_task(transport.handle_async_request(httpx.Request("GET", server.url)))
        await server.called.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.hung_up.wait()
        assert (await transport.handle_async_request(httpx.Request("GET", server.url))).status_code == 200
        await transport.aclose()
    assert [call.connection for call in server.calls] == [1, 2]
