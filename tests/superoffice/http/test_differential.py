"""Our transport and httpx's own make the same of some hundred odd answers, but where we mean to differ.

Each answer goes over a real socket to httpx's client on either transport: once whole, once byte by byte.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.superoffice.http.connection import ClientConnection
from bridge.superoffice.http.tls import system_trust
from bridge.superoffice.http.transport import Transport

from .odd_answers import KINDS, OddAnswer
from .test_connection import Wire, body_of

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

_BYTEWISE = 1000  # bytes at most of an answer that is sent byte by byte

# The differences that are meant, by their reasons. First those where only we refuse to read:
WE_REFUSE = {
    "two lengths, though alike, or two ways to say where the body ends: a proxy may have gone by the other one": [
        "length b'24, 24'",
        "length b'24,24'",
        "lengths (b'24', b'24')",
        "lengths (b'24', b'24, 24')",
        "chunks beside b'Transfer-Encoding: chunked\\r\\nContent-Length: 24\\r\\n'",
        "chunks beside b'Content-Length: 24\\r\\nTransfer-Encoding: chunked\\r\\n'",
        "chunks beside b'Content-Length: 3\\r\\nTransfer-Encoding: chunked\\r\\n'",
        "chunks b'3\\r\\nabc\\r\\n0\\r\\nX: y\\r\\nContent-Length: 9\\r\\n\\r\\n'",
    ],
    "chunk extensions that are none (RFC 9112, 7.1.1)": [
        "chunks b'3;\\r\\nabc\\r\\n0\\r\\n\\r\\n'",
        "chunks b'3;;\\r\\nabc\\r\\n0\\r\\n\\r\\n'",
        "chunks b'3;a=\\xe4\\r\\nabc\\r\\n0\\r\\n\\r\\n'",
    ],
    "a version that nobody has defined": ["line b'HTTP/1.2 200 OK'"],
    "llhttp takes a tab behind `chunked` for a part of it, so that the body has no end": ["coding b' chunked\\t'"],
    "an interim answer that ends its connection: nothing may follow": [
        "after b'HTTP/1.0 100 Continue\\r\\n\\r\\n'",
        "HEAD after b'HTTP/1.0 100 Continue\\r\\n\\r\\n'",
        "after b'HTTP/1.1 100 Continue\\r\\nConnection: close\\r\\n\\r\\n'",
        "HEAD after b'HTTP/1.1 100 Continue\\r\\nConnection: close\\r\\n\\r\\n'",
    ],
}
# Those that only we read. An event that was taken must not be sent again because its answer is odd.
WE_READ = {
    "empty lines before the answer": [
        "line b'\\r\\nHTTP/1.1 200 OK'",
        "line b'\\r\\n\\r\\n\\r\\nHTTP/1.1 200 OK'",
        "line b'\\nHTTP/1.1 200 OK'",
    ],
    "a status line of RTSP, which llhttp reads, too": ["line b'RTSP/1.0 200 OK'"],
    "control characters in a text that ends no line": [
        "line b'HTTP/1.1 200 O\\x00K'",
        "header b'X-Odd: a\\x00b\\r\\n'",
    ],
    "a blank before the first header": ["header b' X-First: a\\r\\n'"],
    "codings beside `chunked`, which a reader may undo; without it, the body ends with the connection (RFC 9112)": [
        "coding b'identity'",
        "coding b'gzip'",
        "coding b'gzip, chunked'",
        "coding b'chunked, chunked'",
        "coding b'chunke'",
        "coding b'identity, chunked'",
        "coding b', chunked'",
        "codings twice",
        "codings in two",
    ],
    "a line end of LF alone around a chunk": [
        "chunks b'3\\r\\nabc\\n0\\r\\n\\r\\n'",
        "chunks b'4\\r\\nabc\\r\\n0\\r\\n\\r\\n'",
    ],
    "a chunk's size with many zeros": ["chunks b'00000000000000000000003\\r\\nabc\\r\\n0\\r\\n\\r\\n'"],
}
# And those that both read, not quite the same.
BOTH_READ = {
    "values stay as they were written, capitals and the tab of a folded line": [
        "header b'X-Folded: a\\r\\n\\tb\\r\\n'",
        "coding b'Chunked'",
        "coding b'CHUNKED'",
    ],
}


class Read(NamedTuple):
    """What a client has of an answer."""

    version: bytes
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()  # it is never used, and dear


TRANSPORTS: tuple[Callable[[], httpx.AsyncBaseTransport], ...] = (
    lambda: Transport(1, system_trust),
    lambda: httpx.AsyncHTTPTransport(verify=_context(), trust_env=False),
)


async def read(transport: httpx.AsyncBaseTransport, method: str, url: str) -> Read | type[Exception]:
    """What httpx's client makes of an answer over a transport: it, or the kind of error."""
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
        try:
            async with client.stream(method, url) as response:
                body = b"".join([piece async for piece in response.aiter_raw()])
        except httpx.TransportError as error:
            return type(error)
        headers = sorted((name.lower(), value) for name, value in response.headers.raw)
        version, reason = (response.extensions[name] for name in ("http_version", "reason_phrase"))
        return Read(version, response.status_code, reason, headers, body)


class Server:
    """It sends the chosen answer in steps of so many bytes, and closes."""

    def __init__(self) -> None:
        self.url = ""
        self.data = b""
        self.step = 1
        self.tasks: list[asyncio.Task[None] | None] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for start in range(0, len(self.data), self.step):
                writer.write(self.data[start : start + self.step])
                await writer.drain()
                if self.step < len(self.data):
                    await asyncio.sleep(0)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    yield server
    listener.close()
    await asyncio.gather(*filter(None, server.tasks), return_exceptions=True)


def names(wanted: dict[str, list[str]]) -> set[str]:
    return {name for some in wanted.values() for name in some}


@pytest.mark.parametrize("step", [1 << 20, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_both_make_the_same_of_an_answer(
    kind: Callable[[], Iterator[OddAnswer]], step: int, server: Server
) -> None:
    server.step = step
    we_refuse, we_read, both_read = set[str](), set[str](), set[str]()
    answers = [one for one in kind() if step > 1 or len(one.data) <= _BYTEWISE]
    for one in answers:
        server.data = one.data
        ours, theirs = [await read(transport(), one.method, server.url) for transport in TRANSPORTS]
        if ours == theirs:
            continue
        if isinstance(ours, type):
            assert isinstance(theirs, Read), (one.name, ours, theirs)
            we_refuse.add(one.name)
        else:
            (both_read if isinstance(theirs, Read) else we_read).add(one.name)
    all_names = {one.name for one in answers}
    assert we_refuse == names(WE_REFUSE) & all_names
    assert we_read == names(WE_READ) & all_names
    assert both_read == names(BOTH_READ) & all_names


def test_the_answers_are_several_hundred_and_every_difference_is_of_one_of_them() -> None:
    every = [one.name for kind in KINDS for one in kind()]
    assert len(set(every)) == len(every) > 500
    assert names(WE_REFUSE) | names(WE_READ) | names(BOTH_READ) <= set(every)


def read_by_h11(data: bytes, method: str) -> tuple[int, bytes] | None:
    """Status and body that another parser finds, where it finds an answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    status, body, has_ended = 0, b"", False
    connection.receive_data(data)
    try:
        while (event := connection.next_event()) is not h11.PAUSED:
            match event:
                case h11.Response():
                    status = event.status_code
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    return status, body
                case h11.NEED_DATA if not has_ended:
                    connection.receive_data(b"")
                    has_ended = True
                case _:
                    return None
    except h11.RemoteProtocolError:
        pass
    return None


def read_by_us(data: bytes, method: str) -> tuple[int, bytes] | None:
    async def run() -> tuple[int, bytes]:
        connection = ClientConnection()
        connection.connection_made(Wire())
        connection.begin(bodiless=method == "HEAD")
        connection.data_received(data)
        connection.connection_lost(None)
        await connection.answered()
        return connection.status, await body_of(connection)

    try:
        return asyncio.run(run())
    except httpx.TransportError:
        return None


SMALL = [one for kind in KINDS for one in kind() if len(one.data) < 400]
PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b"0", b"1", b"3", b"a", b":", b";", b",", b"\0", b"\xff", b"chunked"]
PIECES += [
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.1 200 OK\r\n",
]
EDIT = st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([b"", *PIECES]))


@given(st.sampled_from(SMALL), st.lists(EDIT, min_size=1, max_size=3))
def test_no_broken_answer_has_another_body_than_other_parsers_find(
    one: OddAnswer, edits: list[tuple[int, int, bytes]]
) -> None:
    """Either may refuse it, as above; what would be worse is to read something else."""
    data = one.data
    for at, left_out, put_in in edits:
        data = data[:at] + put_in + data[at + left_out :]
    ours, theirs = read_by_us(data, one.method), read_by_h11(data, one.method)
    assert ours is None or theirs is None or ours == theirs
