"""Requests are read the same however their bytes come: in pieces, one upon the other, with other readers' quirks."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from web.test_public import until

from .test_fast_path import connected

pytestmark = pytest.mark.anyio

Request = tuple[str, str, bytes]


async def read(*pieces: bytes) -> tuple[list[Request], bytes]:
    """What the application gets of the pieces, and what it or the connection answered."""
    seen: list[Request] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                seen.append((scope["method"], scope["path"], body))
                break
        else:
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    connection, transport = connected(app)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    await until(lambda: connection.body is None or not connection.body.left_unread)
    for _ in range(20 * len(pieces)):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, b"".join(transport.written)


def post(*lines: bytes, path: bytes = b"/", method: bytes = b"POST") -> bytes:
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", b"Host: a", *lines, b"", b""])


# Each with what is read of it. A body may look like a request, or like the end of chunks.
KINDS: Sequence[tuple[bytes, Request]] = (
    (post(method=b"GET", path=b"/get"), ("GET", "/get", b"")),
    (post(b"Content-Length: 0"), ("POST", "/", b"")),
    (post(b"Content-Length: 2", path=b"/two") + b"{}", ("POST", "/two", b"{}")),
    (post(b"Content-Length: 6") + b"\r\n\r\n\r\n", ("POST", "/", b"\r\n\r\n\r\n")),
    (post(b"CONTENT-LENGTH: %d" % len(post())) + post(), ("POST", "/", post())),
    (post(b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", ("POST", "/", b"{}")),
    (
        post(b"transfer-encoding: Chunked") + b"7 ; a = b\r\n0\r\n\r\n..\r\n0\r\nX: y\r\n\r\n",
        ("POST", "/", b"0\r\n\r\n.."),
    ),
    (post(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 2") + b"{}", ("POST", "/", b"{}")),
    (post(b"Connection: Upgrade", b"Upgrade: websocket", method=b"GET"), ("GET", "/", b"")),
    (
        post(b"Connection: upgrade", b"Upgrade: h2c", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        ("POST", "/", b"{}"),
    ),
    (b"\r\n\r\n" + post(b"Content-Length: 2") + b"{}", ("POST", "/", b"{}")),
    (post(b"Transfer-Encoding: chunked") + b"1\r\n.\r\n" * 600 + b"0\r\n\r\n", ("POST", "/", b"." * 600)),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=5), st.lists(st.integers(0, 700), max_size=6))
def test_requests_in_a_row_are_told_apart_wherever_they_are_cut(kinds: list[int], cuts: list[int]) -> None:
    requests = [KINDS[kind] for kind in kinds]
    data = b"".join(sent for sent, _ in requests)
    ends = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(ends) if start < end]
    seen, answered = asyncio.run(read(*pieces))
    assert seen == [request for _, request in requests]
    assert answered.count(b"HTTP/1.1 204") == len(requests)


@pytest.mark.parametrize("kind", KINDS, ids=range(len(KINDS)))
async def test_requests_are_read_byte_by_byte(kind: tuple[bytes, Request]) -> None:
    sent, request = kind
    assert (await read(*(bytes([byte]) for byte in sent * 2)))[0] == [request] * 2


@pytest.mark.parametrize(
    "faulty",
    [
        b"noise\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        post().replace(b"1.1", b"2.0"),
        post(b"Host: b"),
        post(b"Content-Length: 2", b"Content-Length: 2") + b"{}",
        post(b"Transfer-Encoding: gzip") + b"2\r\n{}\r\n0\r\n\r\n",
        post(b"Transfer-Encoding: xchunked") + b"2\r\n{}\r\n0\r\n\r\n",
        post(b"Transfer-Encoding: chunked, gzip") + b"2\r\n{}\r\n0\r\n\r\n",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip") + b"2\r\n{}\r\n0\r\n\r\n",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 2") + b"2\r\n{}\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("kind", KINDS, ids=range(len(KINDS)))
async def test_what_comes_before_a_fault_is_read_and_nothing_after_it(
    faulty: bytes, kind: tuple[bytes, Request]
) -> None:
    sent, request = kind
    seen, answered = await read(sent + faulty + sent)
    assert seen == [request]
    assert answered.count(b"HTTP/1.1 ") == 1
    seen, answered = await read(faulty + sent)
    assert seen == []
    assert answered.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))


async def test_a_head_may_be_as_large_as_it_may_be_where_a_body_comes_with_it() -> None:
    body = b"x" * 200_000
    for size, fine in ((65_000, True), (65_600, False)):
        head = post(b"Content-Length: 200000")
        head = head.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * (size - len(head) - 5) + b"\r\n\r\n")
        assert len(head) == size
        seen, answered = await read(head + body)
        assert seen == ([("POST", "/", body)] if fine else [])
        assert fine or answered.startswith(b"HTTP/1.1 431 ")
