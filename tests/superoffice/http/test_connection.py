"""One connection, fed by hand: whose answer is what, however the bytes come, and what it never believes."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from math import inf
from typing import NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.superoffice.http.connection import ClientConnection

BODY = b'{"EventType": "SaleSold"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
)
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
UNBOUNDED = b"HTTP/1.1 200 OK\r\n\r\nabcdefg"


class Wire(asyncio.Transport):
    """The other side: it keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading_paused = False

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False


class Answered(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


Broken = (httpx.RemoteProtocolError, httpx.ReadError)


async def body_of(connection: ClientConnection) -> bytes:
    """What there is of a body."""
    body = b""
    while piece := await connection.read():
        body += piece
    return body


async def exchange(connection: ClientConnection, request: bytes) -> Answered:
    """One exchange, to the end of its answer."""
    connection.begin()
    connection.write(request)
    await connection.answered()
    body = await body_of(connection)
    assert connection.is_complete
    return Answered(connection.status, connection.headers, body)


def exchanged(
    *pieces: bytes, then: Callable[[ClientConnection], None] = lambda _: None
) -> tuple[Answered, ClientConnection]:
    """What a connection makes of the pieces that come as its answer."""

    async def run() -> tuple[Answered, ClientConnection]:
        connection = ClientConnection()
        connection.connection_made(Wire())
        asking = asyncio.create_task(exchange(connection, b"GET / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        then(connection)
        return await asking, connection

    return asyncio.run(run())


def ended(connection: ClientConnection) -> None:
    connection.connection_lost(None)


@given(st.sampled_from((ANSWER, CHUNKED, EARLY + ANSWER, EARLY + EARLY + CHUNKED)), st.data())
def test_an_answer_is_the_same_however_its_bytes_are_cut(whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=8)) | {0, len(whole)})
    answer, connection = exchanged(*(whole[a:b] for a, b in pairwise(cuts)))
    assert answer == exchanged(whole)[0]
    assert answer.body in (BODY, b"abcdefg")
    assert connection.reusable


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED.replace(b"\r\n3\r\n", b"\r\n3  \r\n"),
        CHUNKED.replace(b"\r\n\r\n3", b"\r\nX-Folded: one\r\n two\r\n\r\n3"),
        CHUNKED.replace(b"\r\n\r\n3", b"\r\nX-Odd: \x01\x7f\xff\r\n\r\n3"),
        b"HTTP/1.1 200 OK\nContent-Length: 7\n\nabcdefg",
        b"HTTP/1.1 200\r\nContent-Length: 7\r\n\r\nabcdefg",
    ],
    ids=["padded chunk size", "folded header", "odd header", "bare LF", "no reason"],
)
def test_what_servers_write_and_others_read_is_read(answer: bytes) -> None:
    read, connection = exchanged(answer)
    assert read.body == b"abcdefg"
    assert connection.reusable


def test_an_interim_answer_leaves_nothing_behind() -> None:
    answer, _ = exchanged(EARLY + ANSWER)
    assert answer.status == 200
    assert (b"Link", b"</style.css>") not in answer.headers


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    answer, connection = exchanged(UNBOUNDED, then=ended)
    assert answer == Answered(200, [], b"abcdefg")
    assert not connection.reusable


@pytest.mark.parametrize("cut", [ANSWER[:-1], CHUNKED[:-2], ANSWER[:20], b"", EARLY, b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_ends_early_is_none(cut: bytes) -> None:
    with pytest.raises(Broken):
        exchanged(cut, then=ended)


def test_a_body_without_a_length_on_a_connection_that_failed_is_none() -> None:
    with pytest.raises(Broken):
        exchanged(UNBOUNDED, then=lambda connection: connection.connection_lost(ConnectionResetError()))


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(garbage: bytes) -> None:
    with pytest.raises(Broken):
        exchanged(garbage)


@pytest.mark.parametrize(
    "last",
    [
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"),
        ANSWER + ANSWER,  # an answer that nobody asked for would be the next request's
        ANSWER + b"H",
    ],
)
def test_a_connection_that_ends_or_says_too_much_is_not_used_again(last: bytes) -> None:
    answer, connection = exchanged(last)
    assert answer.body == BODY
    assert not connection.reusable


@pytest.mark.parametrize(
    ("header", "kept_for"),
    [
        (b"Keep-Alive: timeout=5, max=100", 4),
        (b"keep-alive: max=3,TIMEOUT = 20", 19),
        (b"KEEP-ALIVE: timeout=2", 1),
        (b"Keep-Alive: timeout=1", 0.5),
        (b"Keep-Alive: timeout=999999999", 999_999_998),
        (b"Keep-Alive: timeout=9999999999", inf),
        (b"Keep-Alive: timeout=-1", inf),
        (b"Keep-Alive: soon", inf),
        (b"Keep-Alives: timeout=5", inf),
        (b"Connection: keep-alive", inf),
    ],
)
def test_a_target_says_how_long_it_keeps_a_connection(header: bytes, kept_for: float) -> None:
    _, connection = exchanged(ANSWER.replace(b"Content-Type: application/json", header))
    assert connection.reusable
    assert connection.kept_for == kept_for
    _, connection = exchanged(EARLY, CHUNKED.replace(b"Trailer: t", header))
    assert connection.kept_for == inf  # what stands behind a body is no header


def test_a_connection_that_is_kept_for_no_time_is_not_used_again() -> None:
    _, connection = exchanged(ANSWER.replace(b"Content-Type: application/json", b"Keep-Alive: timeout=0"))
    assert not connection.reusable


def test_what_comes_between_two_requests_closes_the_connection() -> None:
    _, connection = exchanged(ANSWER, then=lambda idle: idle.data_received(ANSWER))
    assert not connection.reusable


def test_a_body_that_nobody_reads_is_not_taken_on_and_on() -> None:
    async def run() -> None:
        wire, connection = Wire(), ClientConnection()
        connection.connection_made(wire)
        connection.begin()
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not wire.reading_paused:
            connection.data_received(b"x" * 10_000)
        assert len(await connection.read()) < 300_000
        assert not wire.reading_paused

    asyncio.run(run())


def test_an_answer_to_head_has_no_body_whatever_its_head_says() -> None:
    async def run() -> None:
        connection = ClientConnection()
        connection.connection_made(Wire())
        for pieces in ([ANSWER[: -len(BODY)]], [CHUNKED[:50], CHUNKED[50 : CHUNKED.index(b"\r\n\r\n") + 4]]):
            connection.begin(bodiless=True)
            for piece in pieces:
                connection.data_received(piece)
            await connection.answered()
            assert (connection.is_complete, await connection.read()) == (True, b"")
        connection.begin()
        connection.data_received(ANSWER)
        assert (await connection.read(), connection.reusable) == (BODY, True)
        connection.begin(bodiless=True)
        connection.data_received(ANSWER)  # with a body all the same, which would be the next one's answer
        assert (await connection.read(), connection.reusable) == (b"", False)

    asyncio.run(run())


def test_a_connection_carries_one_request_after_the_other() -> None:
    async def run() -> None:
        wire, connection = Wire(), ClientConnection()
        connection.connection_made(wire)
        for answer in (ANSWER, CHUNKED, EARLY + ANSWER):
            asking = asyncio.create_task(exchange(connection, b"GET / HTTP/1.1\r\n\r\n"))
            await asyncio.sleep(0)
            connection.data_received(answer)
            assert (await asking).status == (201 if answer is CHUNKED else 200)
        assert wire.written == b"GET / HTTP/1.1\r\n\r\n" * 3

    asyncio.run(run())
