"""httpx's own client over our transport: streams, large bodies, time limits, and errors that say what was sent."""

import asyncio
import gzip
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import h11
import httpx
import pytest

from bridge.superoffice.http.tls import system_trust
from bridge.superoffice.http.transport import Transport
from superoffice.support import Call, forever, playing

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

LARGE = bytes(range(256)) * 20_000  # 5 MB
SOON = 0.1  # seconds: what is never done takes longer


@asynccontextmanager
async def client(connections: int = 1, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    transport = Transport(connections, system_trust)
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None, **settings) as one:  # type: ignore[arg-type]
        yield one


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(handle: Handler) -> AsyncIterator[str]:
    """Host and port of a server that handles each connection so; none is left in the end."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(OSError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """A server by h11 that answers each request with its own body, and how that was framed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        request, body = None, b""
        while data := await reader.read(65_536):
            connection.receive_data(data)
            while (event := connection.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
                if isinstance(event, h11.Request):
                    request, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage) and request:
                    fields = dict(request.headers)
                    framing = fields.get(b"transfer-encoding") or fields.get(b"content-length") or b"none"
                    lines = [(b"x-framing", framing), (b"x-host", fields[b"host"]), (b"x-method", request.method)]
                    lines.append((b"content-length", b"%d" % len(body)))
                    for out in (h11.Response(status_code=200, headers=lines), h11.Data(body), h11.EndOfMessage()):
                        writer.write(connection.send(out) or b"")
                    await writer.drain()
                    connection.start_next_cycle()

    async with served(serve) as place:
        yield f"http://{place}/"


async def pieces(*of: bytes) -> AsyncIterator[bytes]:
    for piece in of:
        yield piece


async def test_a_body_is_framed_as_its_request_says() -> None:
    async with echoing() as url, client() as one:
        for request, framing, body in (
            (one.build_request("GET", url), "none", b""),
            (one.build_request("DELETE", url), "none", b""),
            (one.build_request("POST", url), "0", b""),
            (one.build_request("PUT", url), "0", b""),
            (one.build_request("PATCH", url, json={"a": 1}), "7", b'{"a":1}'),
            (one.build_request("POST", url, content=LARGE), str(len(LARGE)), LARGE),
            (one.build_request("POST", url, content=pieces()), "chunked", b""),
            (one.build_request("POST", url, content=pieces(b"a", b"", b"bc")), "chunked", b"abc"),
            (one.build_request("POST", url, content=pieces(*[LARGE[:70_000]] * 50)), "chunked", LARGE[:70_000] * 50),
            (
                one.build_request("POST", url, content=pieces(b"a", b"bc"), headers={"Content-Length": "3"}),
                "3",
                b"abc",
            ),
            (
                one.build_request("POST", url, content=b"abc", headers={"transfer-encoding": "chunked"}),
                "chunked",
                b"abc",
            ),
            (one.build_request("POST", url, content=b"abc", headers={"content-length": "3"}), "3", b"abc"),
        ):
            response = await one.send(request)
            assert (response.headers["x-framing"], response.headers["x-method"]) == (framing, request.method)
            assert response.content == body
        response = await one.get(url, headers={"host": "another.example"})
        assert response.headers["x-host"] == "another.example"


async def test_a_client_of_httpx_follows_redirects_keeps_cookies_and_decodes() -> None:
    async def answering(call: Call) -> None:
        if call.head.startswith("GET /crm/api/again"):
            packed = gzip.compress(call.headers["cookie"].encode())
            await call.answer(packed, headers="Content-Encoding: gzip\r\n")
        else:
            await call.answer(b"", status=302, headers="Location: /crm/api/again\r\nSet-Cookie: a=b\r\n")

    async with playing(answering) as server, client(follow_redirects=True) as one:
        response = await one.get(server.url)
    assert (response.text, response.http_version, response.reason_phrase) == ("a=b", "HTTP/1.1", "Whatever")
    assert server.connections == 1


async def test_a_body_is_read_as_it_comes() -> None:
    read = asyncio.Event()

    async def answering(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two", b"three"):
            await call.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            await read.wait()
            read.clear()
        await call.send(b"0\r\n\r\n")

    async with playing(answering) as server, client() as one:
        seen = []
        for _ in range(2):
            async with one.stream("GET", server.url) as response:
                async for piece in response.aiter_raw():
                    seen.append(piece)
                    read.set()
    assert seen == [b"one", b"two", b"three"] * 2
    assert server.connections == 1


async def test_a_large_body_comes_whole_and_no_faster_than_it_is_read() -> None:
    sent = 0

    async def answering(call: Call) -> None:
        nonlocal sent
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * len(LARGE)))
        for _ in range(20):
            await call.send(LARGE)
            sent += len(LARGE)

    async with playing(answering) as server, client() as one, one.stream("GET", server.url) as response:
        await asyncio.sleep(SOON)
        assert sent < 10 * len(LARGE)
        read, size = hashlib.sha256(), 0
        async for piece in response.aiter_raw():
            read.update(piece)
            size += len(piece)
    assert (size, read.digest()) == (20 * len(LARGE), hashlib.sha256(LARGE * 20).digest())


async def test_a_body_that_is_left_gives_its_place_to_the_next_request_on_another_connection() -> None:
    async def answering(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")

    async with playing(answering) as server, client(connections=1) as one:
        for _ in range(3):
            async with one.stream("GET", server.url) as response:
                assert response.status_code == 200
    assert [call.connection for call in server.calls] == [1, 2, 3]


async def test_who_answers_before_the_whole_request_came_is_heard() -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        while await reader.read(65_536):
            pass

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    async with served(refusing) as place, client() as one:
        for _ in range(2):
            response = await one.post(f"http://{place}", content=endless())
            assert (response.status_code, response.text) == (413, "no")


# What goes wrong: httpx's exceptions, and whether the request had gone out.

Behaviour = Callable[[Call], Awaitable[None]]


async def failing(behaviour: Behaviour, **request: object) -> tuple[type[BaseException], object]:
    """The kind of error, and its `sent`."""
    async with playing(behaviour) as server, client() as one:
        with pytest.raises(httpx.TransportError) as told:
            await one.request(**{"method": "GET", "url": server.url} | request)  # type: ignore[arg-type]
    return told.type, told.value.sent  # type: ignore[attr-defined]


async def closing(call: Call) -> None:
    call.writer.close()


async def resetting(call: Call) -> None:
    call.reset()


def sending(data: bytes) -> Behaviour:
    async def answering(call: Call) -> None:
        await call.send(data)
        call.writer.close()

    return answering


async def silent(call: Call) -> None:
    await forever()


async def beginning(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun")
    await forever()


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (closing, httpx.RemoteProtocolError),
        (resetting, httpx.ReadError),
        (sending(b"SSH-2.0\r\n"), httpx.RemoteProtocolError),
        (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"), httpx.RemoteProtocolError),
        (sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbegun"), httpx.RemoteProtocolError),
        (sending(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000), httpx.RemoteProtocolError),
    ],
    ids=["end", "reset", "no HTTP", "short", "short chunk", "endless head"],
)
async def test_what_breaks_after_the_request_went_out_says_so(behaviour: Behaviour, kind: type[Exception]) -> None:
    assert await failing(behaviour) == (kind, True)


@pytest.mark.parametrize("behaviour", [silent, beginning])
async def test_a_read_that_takes_too_long_is_a_read_timeout(behaviour: Behaviour) -> None:
    assert await failing(behaviour, timeout=httpx.Timeout(None, read=SOON)) == (httpx.ReadTimeout, True)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({"url": "ftp://127.0.0.1/"}, httpx.UnsupportedProtocol),
        ({"url": "http://nowhere.invalid/"}, httpx.ConnectError),
        ({"url": f"http://{'a' * 70}.invalid/"}, httpx.ConnectError),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, httpx.LocalProtocolError),
        ({"content": pieces(b"a"), "headers": {"Content-Length": "one"}}, httpx.LocalProtocolError),
    ],
    ids=["scheme", "name", "no name", "header", "length"],
)
async def test_what_fails_before_says_so_too(request_: dict[str, object], kind: type[Exception]) -> None:
    assert await failing(Call.answer, **request_) == (kind, False)


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
    assert await failing(Call.answer, url=f"http://{place}") == (httpx.ConnectError, False)


async def test_a_connection_that_takes_too_long_is_a_connect_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # it says nothing to the beginning of TLS
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        limit = httpx.Timeout(None, connect=SOON)
        assert await failing(Call.answer, url=url, timeout=limit) == (httpx.ConnectTimeout, False)


async def test_tls_with_who_speaks_none_is_a_connect_error() -> None:
    async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ready\r\n")
        await reader.read()

    async with served(greeting) as place:
        assert await failing(Call.answer, url=f"https://{place}") == (httpx.ConnectError, False)


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_write_that_takes_too_long_is_a_write_timeout(in_pieces: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        content = pieces(*[LARGE] * 10) if in_pieces else LARGE * 10
        limit = httpx.Timeout(None, write=SOON)
        found = await failing(Call.answer, method="POST", url=url, timeout=limit, content=content)
    assert found == (httpx.WriteTimeout, True)


async def test_who_waits_too_long_for_a_connection_gets_a_pool_timeout() -> None:
    async with playing(beginning) as server, client(connections=1) as one, one.stream("GET", server.url):
        with pytest.raises(httpx.PoolTimeout) as told:
            await one.get(server.url, timeout=httpx.Timeout(None, pool=SOON))
    assert told.value.sent is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(("length", "match"), [("2", "longer"), ("9", "shorter")])
async def test_a_body_of_another_length_than_it_says_is_an_error_of_ours(length: str, match: str) -> None:
    async with echoing() as url, client() as one:
        with pytest.raises(httpx.LocalProtocolError, match=match):
            await one.post(url, content=pieces(b"abc"), headers={"Content-Length": length})
        assert (await one.post(url, content=b"next")).content == b"next"


async def test_what_the_stream_of_a_body_raises_comes_out_and_the_connection_ends() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise KeyError("mine")

    async with echoing() as url, client() as one:
        with pytest.raises(KeyError, match="mine"):
            await one.post(url, content=broken())
        assert (await one.post(url, content=b"next")).content == b"next"
