"""What uvicorn leaves to a proxy is bounded on the public port: heads, clocks, connections, what is sent ahead."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from databases import sqlite_at

from bridge.observing.metrics import Metrics
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.request_limits import Limits
from bridge.service import composition
from bridge.store.store import Store, owned
from bridge.web import public
from bridge.web.protocol.connections import Connections
from bridge.web.serving import Serving, listen
from web.test_public import BRIDGE, SOURCE, Connection, Port, chunk, ended, head, usable

MAX_BODY = 200_000
SMALL = Limits(
    head=2000,
    headers=20,
    head_within=0.2,
    idle=1,
    body_within=1.5,
    connections=10,
    pipelined=5,
    linger=0.2,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

BOTH_LOOPS = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": True}), ("asyncio", {"use_uvloop": False})],
    ids=["uvloop", "asyncio"],
)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    """A public port with limits that a test can reach."""
    (tmp_path / "config" / "sources").mkdir(parents=True)
    (tmp_path / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE | {"listen": {"max_body": MAX_BODY}}))
    (tmp_path / "config" / "sources" / "github.yaml").write_text(SOURCE + "failures: {at_once: 100000}\n")
    sources = composition.build(tmp_path / "config").sources
    url = sqlite_at(tmp_path / "bridge.db")

    async def ready() -> bool:
        return True

    with owned(url) as engine:
        store, metrics = Store(engine), Metrics()
        reporter = IntakeReporter(metrics)
        webhooks = public.Webhooks(Intake(store, reporter, lambda _: None), reporter, lambda: sources, limits=SMALL)
        listener = listen("127.0.0.1", 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that answers left unread are soon felt
        serving = Serving(public.application(webhooks, ready), listener, webhooks.connections)
        serving.start()
        yield Port(listener.getsockname()[1], webhooks, metrics, url)
        await serving.stop()
        store.close()


async def flood(connection: Connection, piece: bytes, most: int = 100_000_000) -> int:
    """Send a piece again and again until the other side has had enough; how many bytes that took."""
    sent = 0
    try:
        while sent < most and not connection.reader.at_eof():
            await connection.write(piece)
            sent += len(piece)
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    return sent


async def test_a_connection_that_sends_nothing_is_closed_in_time(port: Port) -> None:
    async with port.connection() as connection:
        assert await connection.closed()
    assert port.refused("head_too_slow", source="") is None


@pytest.mark.parametrize("beginning", [b"P", b"POST /webhooks/github HTTP/1.1\r\nX: y\r\n", b"\r\n"])
async def test_a_head_that_is_too_slow_is_408(port: Port, beginning: bytes) -> None:
    async with port.connection() as connection:
        await connection.write(beginning)
        status, headers, content = await connection.answer()
        assert (status, headers["connection"], content["status"]) == (408, "close", 408)
        assert await connection.closed()
    assert port.refused("head_too_slow", source="") == 1


async def test_the_head_of_a_later_request_has_its_time_too_but_a_pause_before_it_does_not_count(port: Port) -> None:
    async with port.connection() as connection:
        assert await usable(connection)
        await asyncio.sleep(2 * SMALL.head_within)
        assert await usable(connection)
        await connection.write(b"POST")
        assert (await connection.answer())[0] == 408


async def test_a_connection_that_rests_after_an_answer_is_closed_in_time(port: Port) -> None:
    async with port.connection() as connection, asyncio.timeout(5):
        assert await usable(connection)
        began = asyncio.get_running_loop().time()
        assert await connection.closed()
        assert asyncio.get_running_loop().time() - began > 0.9 * SMALL.idle
    assert port.refused("head_too_slow", source="") is None


async def test_a_trickled_head_is_408_however_lively(port: Port) -> None:
    async with port.connection() as connection, asyncio.timeout(5):
        await connection.write(b"POST / HTTP/1.1\r\n")
        await flood(connection, b"a", 1500)
        assert (await connection.answer())[0] == 408


async def test_the_clock_of_the_head_stands_while_a_body_arrives_in_pieces(port: Port) -> None:
    async with port.connection() as connection:
        for piece in (
            head(b"{}", content_length="", transfer_encoding="chunked"),
            b"2\r\n",
            b"{}",
            b"\r\n0",
            b"\r\n\r\n",
        ):
            await connection.write(piece)
            await asyncio.sleep(SMALL.head_within * (0.2 if piece.startswith(b"POST") else 1.1))
        assert (await connection.answer())[0] == 202
    assert port.stored() == [2]


@pytest.mark.parametrize("pieces", ["declared", "chunked"])
async def test_a_trickled_body_is_408_however_lively(port: Port, pieces: str) -> None:
    length, encoding, piece = ("", "chunked", chunk(b"x")) if pieces == "chunked" else (1000, "", b"x")
    async with port.connection() as connection:
        await connection.write(head(content_length=length, transfer_encoding=encoding))
        async with asyncio.timeout(5):
            while not connection.reader.at_eof() and not port.refused("body_too_slow"):
                await connection.write(piece)
                await asyncio.sleep(0.05)
        assert (await connection.answer())[0] == 408
    assert port.stored() == []


@pytest.mark.parametrize(
    ("beginning", "piece", "expected", "reason"),
    [
        (b"POST /", b"a" * 1000, 414, "target_too_long"),
        (b"POST / HTTP/1.1\r\nX: ", b"y" * 1000, 431, "headers_too_large"),
        (b"POST / HTTP/1.1\r\n", b"X: y\r\n" * 10, 431, "headers_too_large"),
        (b"", b"\r\n" * 500, 431, "headers_too_large"),
    ],
    ids=["path", "one header", "many headers", "nothing but line ends"],
)
async def test_a_head_that_never_ends_is_refused_soon(
    port: Port, beginning: bytes, piece: bytes, expected: int, reason: str
) -> None:
    async with port.connection() as connection:
        await connection.write(beginning)
        await flood(connection, piece, 2500)
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (expected, "close")
    async with port.connection() as connection:
        await connection.write(beginning)
        assert await flood(connection, piece) < 50_000_000
    assert port.refused(reason, source="") == 2


@pytest.mark.parametrize("path", ["/webhooks/github", "/healthz", "/nothing"])
async def test_a_whole_head_is_bounded_at_every_path(port: Port, path: str) -> None:
    for request, expected in (
        (head(b"{}", path=path + "?" + "q" * 2000), 414),
        (head(b"{}", path=path, x="y" * 2000), 431),
        (head(b"{}", path=path).replace(b"\r\n\r\n", b"\r\nX: y" * 20 + b"\r\n\r\n"), 431),
    ):
        async with port.connection() as connection:
            await connection.write(request + b"{}")
            status, headers, content = await connection.answer()
            assert (status, headers["connection"], content["status"]) == (expected, "close", expected)
            assert await connection.closed()
    assert port.refused("target_too_long", source="") == 1
    assert port.refused("headers_too_large", source="") == 2
    assert port.stored() == []


WHOLE = head(b"{}") + b"{}"
LINE = b"POST /webhooks/github HTTP/1.1"


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize(
    ("changed", "by", "status", "reason"),
    [
        (b"Host: localhost\r\n", b"", 400, "host_invalid"),
        (b"Host: localhost", b"Host: localhost\r\nhost: localhost", 400, "host_invalid"),
        (b"Host: localhost", b"Host:", 400, "host_invalid"),
        (b"Host: localhost", b"Host: local host", 400, "host_invalid"),
        (b"Host: localhost", b"Host: me@localhost", 400, "host_invalid"),
        (b"Host: localhost", b"Host: http://localhost", 400, "host_invalid"),
        (b"HTTP/1.1", b"HTTP/1.0", 202, ""),
        (LINE + b"\r\nHost: localhost", LINE.replace(b"1.1", b"1.0"), 202, ""),
        (LINE + b"\r\nHost:", LINE.replace(b"1.1", b"1.0") + b"\r\nHost: a\r\nHost:", 400, "host_invalid"),
        (LINE, b"\r\n\r\n" + LINE, 202, ""),
        *(
            (b"HTTP/1.1", version, 505, "version_not_supported")
            for version in (b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9")
        ),
        (WHOLE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported"),
        *(
            (b" HTTP/1.1", version, 400, "bad_request")
            for version in (b"", b" ", b" HTTP/1.10", b" HTTP/11", b" http/1.1", b" RTSP/1.0", b" HTTP/1.1 ")
        ),
    ],
)
async def test_a_head_is_one_of_http_1(
    port: Port, changed: bytes, by: bytes, status: int, reason: str, size: int
) -> None:
    request = WHOLE.replace(changed, by, 1)
    assert request != WHOLE
    async with port.connection() as connection:
        for start in range(0, len(request), size):
            await connection.write(request[start : start + size])
            await asyncio.sleep(0)
        found, headers, content = await connection.answer()
        assert found == status
        if reason:
            assert (headers["content-type"], headers["connection"]) == ("application/problem+json", "close")
            assert (content["status"], content["type"], bool(content["detail"])) == (status, "about:blank", True)
            assert await ended(connection)
    assert port.refused(reason, source="") == (1 if reason else None)
    assert port.stored() == ([] if reason else [2])


@pytest.mark.parametrize(
    "tail", [b"0\r\nX: " + b"y" * 5000, b"0\r\n" + b"X: y\r\n" * 900, b"1;" + b"x" * 5000], ids=["one", "many", "chunk"]
)
async def test_what_stands_around_a_chunked_body_is_bounded(port: Port, tail: bytes) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length="", transfer_encoding="chunked") + chunk(b"{}"))
        await asyncio.sleep(0.05)
        await connection.write(tail)
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (431, "close")
        assert await connection.closed()
    assert port.refused("headers_too_large", source="") == 1
    assert port.stored() == []


async def test_fields_after_the_body_are_no_headers(port: Port) -> None:
    unsigned, signature = head(b"{}", signed=False, content_length="", transfer_encoding="chunked"), head(b"{}")
    line = next(line for line in signature.split(b"\r\n") if line.startswith(b"X-Hub-Signature-256"))
    async with port.connection() as connection:
        await connection.write(unsigned + chunk(b"{}") + b"0\r\n" + line + b"\r\n\r\n")
        assert (await connection.answer())[0] == 401
        signed = head(b"{}", content_length="", transfer_encoding="chunked")
        await connection.write(signed + chunk(b"{}") + b"0\r\nX-After: 1\r\n" + line + b"\r\n\r\n")
        assert (await connection.answer())[0] == 202
    assert port.refused("signature_missing") == 1


async def test_the_wish_for_another_protocol_is_ignored(port: Port) -> None:
    requests = b""
    for protocol, connection_field in (("h2c", "Upgrade, HTTP2-Settings"), ("websocket", "keep-alive, upgrade")):
        requests += head(b"{}", connection=connection_field, upgrade=protocol, x_more="1") + b"{}"
        wish = head(b"{}", connection="Upgrade", upgrade=protocol, content_length="", transfer_encoding="chunked")
        requests += wish + chunk(b"{}") + b"0\r\n\r\n"
    for size in (len(requests), 1000, 7):
        async with port.connection() as connection:
            for start in range(0, len(requests), size):
                await connection.write(requests[start : start + size])
                if size < len(requests):
                    await asyncio.sleep(0)
            assert [(await connection.answer())[0] for _ in range(4)] == [202, 202, 202, 202]
    assert port.stored() == [2] * 12


async def test_a_handshake_of_websockets_is_a_plain_request(port: Port) -> None:
    wish = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    for path, status in ((b"/healthz", 200), (b"/webhooks/github", 405), (b"/nothing", 404)):
        async with port.connection() as connection:
            await connection.write(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + wish)
            assert (await connection.answer())[0] == status
            assert status != 200 or await usable(connection)


@pytest.mark.parametrize("size", [1, 2, 5, 10_000])
async def test_requests_are_read_the_same_in_pieces_of_any_size(port: Port, size: int) -> None:
    chunked = (
        head(b'{"a": 1}', content_length="", transfer_encoding="chunked") + b"8 ; a = b\r\n" + b'{"a": 1}\r\n0\r\n\r\n'
    )
    empty = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    upgrade = head(b"{}", connection="Upgrade", upgrade="h2c") + b"{}"
    requests = WHOLE + chunked + empty + upgrade + b"\r\n" + empty
    async with port.connection() as connection:
        for start in range(0, len(requests), size):
            await connection.write(requests[start : start + size])
            await asyncio.sleep(0)
        assert [(await connection.answer())[0] for _ in range(5)] == [202, 202, 200, 202, 200]
    assert port.stored() == [2, 8, 2]


async def test_a_chunk_that_nobody_would_take_is_400_at_once(port: Port) -> None:
    for size in (b"FFFFFFFFFFFFFFFF", b"7FFFFFFFFFFFFFFF", b"100000000"):
        async with port.connection() as connection:
            await connection.write(head(content_length="", transfer_encoding="chunked") + size + b"\r\n")
            assert (await connection.answer())[0] == 400
    assert port.refused("bad_request", source="") == 3
    assert port.refused("body_too_slow") is None


async def test_requests_sent_ahead_are_answered_in_order_up_to_a_limit_then_the_connection_ends(port: Port) -> None:
    fits = SMALL.pipelined + 1  # one is being answered
    async with port.connection() as connection:
        await connection.write((head(b"{}") + b"{}") * 1000)
        statuses = [(await connection.answer())[0] for _ in range(fits)]
        assert statuses == [202] * fits
        assert await ended(connection)
    assert port.stored() == [2] * fits
    assert port.refused("bad_request", source="") == 1


async def test_many_requests_in_a_row_are_all_answered_by_a_client_that_reads(port: Port) -> None:
    async with port.connection() as connection:
        for _ in range(10):
            await connection.write((head(b"{}") + b"{}") * SMALL.pipelined)
            assert [(await connection.answer())[0] for _ in range(SMALL.pipelined)] == [202] * SMALL.pipelined
    assert len(port.stored()) == 10 * SMALL.pipelined


async def test_a_genuine_webhook_before_noise_gets_its_own_answer(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(b"{}") + b"{}" + b"noise\r\n\r\n")
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (202, "close")
        assert await connection.closed()
    assert port.stored() == [2]


async def test_noise_within_a_body_is_400(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length="", transfer_encoding="chunked") + chunk(b"{}") + b"noise\r\n")
        status, headers, content = await connection.answer()
        assert (status, headers["content-type"], content["status"]) == (400, "application/problem+json", 400)
        assert port.refused("body_cut_off") == 1  # nobody waits for the rest of it
        assert await connection.closed()
    assert port.stored() == []


@pytest.mark.parametrize("path", ["/healthz", "/nothing"])
async def test_a_body_that_nobody_reads_ends_with_the_answer(port: Port, path: str) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length=10**12, path=path, signed=False))
        assert (await connection.answer())[0] in (404, 405)
        assert await ended(connection)


async def test_the_connection_that_waited_longest_makes_room_for_a_new_one(port: Port) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(port.connection())
        busy = await stack.enter_async_context(port.connection())
        await busy.write(b"POST")
        slow = await stack.enter_async_context(port.connection())
        await slow.write(head(content_length=100) + b"{")
        later = [await stack.enter_async_context(port.connection()) for _ in range(SMALL.connections)]
        for connection in (first, busy, slow):
            assert await ended(connection)
        assert await usable(later[-1])
        assert port.refused("too_many_connections", source="") == 3


class Waiting:
    """A connection, as far as its place among others goes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.transport = self
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


async def test_the_address_that_has_most_connections_makes_room() -> None:
    told: list[str] = []
    connections = Connections(SMALL, lambda _, client: told.append(client))
    genuine, *others = [Waiting(f"192.0.2.{number}") for number in range(4)]
    silent = [Waiting("198.51.100.1") for _ in range(2 * SMALL.connections)]
    for waiting in (genuine, *silent, *others):
        connections.add_waiting(cast("Any", waiting))
    assert [waiting.is_aborted for waiting in silent].count(True) == SMALL.connections + 4
    assert [waiting.is_aborted for waiting in silent[: SMALL.connections + 4]].count(False) == 0
    assert not any(waiting.is_aborted for waiting in (genuine, *others))
    assert set(told) == {"198.51.100.1"}
    for waiting in (genuine, *silent, *others):
        connections.remove_waiting(cast("Any", waiting))
    assert not connections.waiting


async def test_no_number_of_silent_connections_keeps_a_webhook_out(port: Port) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            for _ in range(SMALL.connections):
                await stack.enter_async_context(port.connection())
            good = await stack.enter_async_context(port.connection())
            assert await usable(good)


async def test_a_connection_between_two_requests_waits_for_its_client_too(port: Port) -> None:
    async with AsyncExitStack() as stack:
        idle = await stack.enter_async_context(port.connection())
        assert await usable(idle)
        for _ in range(SMALL.connections - 1):
            await stack.enter_async_context(port.connection())
        assert await usable(idle)  # and so has waited shortest now
        await stack.enter_async_context(port.connection())
        assert await usable(idle)
        for _ in range(SMALL.connections):
            await stack.enter_async_context(port.connection())
        assert await ended(idle)


async def test_a_client_that_reads_no_answers_is_cut_off(port: Port) -> None:
    loop = asyncio.get_running_loop()
    request = head(b"{}", signed=False) + b"{}"

    async def go_on(deaf: socket.socket) -> None:
        for number in range(10_000):
            await loop.sock_sendall(deaf, request)
            for _ in range(10_000):  # what is sent ahead is bounded too, so each waits for its answer
                if (port.refused("signature_missing") or 0) > number:
                    break
                await asyncio.sleep(0)
            else:
                break
        for _ in range(3):
            await loop.sock_sendall(deaf, request)
            await asyncio.sleep(0.05)

    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", port.number))
        with pytest.raises(ConnectionError):
            await go_on(deaf)


async def test_connect_makes_no_tunnel(port: Port) -> None:
    for target in (b"/webhooks/github", b"/healthz", b"/nothing", b"example.com:443"):
        async with port.connection() as connection:
            await connection.write(b"CONNECT " + target + b" HTTP/1.1\r\n\r\n" + head(b"{}") + b"{}")
            status, headers, _ = await connection.answer()
            assert status in (400, 404, 405)
            assert headers["connection"] == "close"
            assert await ended(connection)
    assert port.stored() == []


@BOTH_LOOPS
@pytest.mark.parametrize(
    "request_",
    [
        WHOLE,
        head(b"{}", content_length="", transfer_encoding="chunked") + chunk(b"{}") + b"0\r\n\r\n",
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE + b"POST /webhooks",
    ],
    ids=["whole", "chunked", "HTTP/1.0", "and half a head"],
)
async def test_a_client_that_ends_its_side_gets_the_answer_to_what_it_sent(port: Port, request_: bytes) -> None:
    async with port.connection() as connection:
        await connection.write(request_)
        connection.writer.write_eof()
        status, headers, content = await connection.answer()
        assert (status, headers["connection"]) == (202, "close")
        assert content["id"]
        assert await connection.closed()
    assert port.stored() == [2]


@BOTH_LOOPS
async def test_all_that_was_sent_ahead_is_answered_after_the_client_ended_its_side(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(WHOLE * 3)
        connection.writer.write_eof()
        answers = [await connection.answer() for _ in range(3)]
        assert [status for status, _, _ in answers] == [202] * 3
        assert ["connection" in headers for _, headers, _ in answers] == [False, False, True]
        assert await connection.closed()
    assert port.stored() == [2] * 3


@BOTH_LOOPS
@pytest.mark.parametrize("beginning", [b"", b"\r\n", b"POST /webhooks", head(b"{}"), head(b"{}") + b"{"])
async def test_a_connection_ends_with_the_clients_side_where_nothing_whole_came(port: Port, beginning: bytes) -> None:
    async with port.connection() as connection:
        await connection.write(beginning)
        connection.writer.write_eof()
        assert await connection.closed()
    async with port.connection() as connection:
        assert await usable(connection)
        connection.writer.write_eof()
        assert await connection.closed()
    assert port.stored() == [2]
