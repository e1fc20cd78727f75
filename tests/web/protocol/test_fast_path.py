"""Answers that go out in one write, and bodies that are taken whole, on a connection of uvicorn's without a network."""

import asyncio
from collections.abc import Callable

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from bridge.receiving.limits.request_limits import Limits
from bridge.web.problems import RawAnswer
from bridge.web.protocol.connections import Connections, ServerConnection
from bridge.web.protocol.fast_path import answer_at_once, whole_body

ANSWER: RawAnswer = (202, [(b"content-type", b"text/plain"), (b"content-length", b"3")], b"ok\n")

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)})
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write_eof(self) -> None:
        pass


def connected(app: ASGIApp) -> tuple[ServerConnection, Transport]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, ws="none", proxy_headers=False)
    config.load()
    state, transport = ServerState(), Transport()
    state.default_headers = [(b"date", b"today")]
    connections = Connections(Limits(), lambda *_: None)
    connection = connections(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())
    connection.connection_made(transport)
    return connection, transport


async def exchange(
    answer: RawAnswer, request: bytes, *later: bytes
) -> tuple[list[bytes | None], Transport, list[bool]]:
    """Send a request by pieces to an application that answers at once, or else by ASGI."""
    bodies: list[bytes | None] = []
    at_once: list[bool] = []

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        bodies.append(whole_body(receive))
        at_once.append(answer_at_once(receive, answer))
        if not at_once[-1]:
            status, headers, body = answer
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    connection, transport = connected(app)
    for piece in (request, *later):
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    ended = transport.closing
    connection.connection_lost(None)
    transport.closing = ended
    return bodies, transport, at_once


def post(*lines: bytes, method: bytes = b"POST", length: int = 2) -> bytes:
    return b"\r\n".join([method + b" / HTTP/1.1", b"Host: a", b"Content-Length: %d" % length, *lines, b"", b""])


async def test_a_whole_request_is_answered_in_one_write() -> None:
    bodies, transport, _ = await exchange(ANSWER, post() + b"{}", post() + b"[]")
    assert bodies == [b"{}", b"[]"]
    fields = b"date: today\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n"
    assert transport.written == [b"HTTP/1.1 202 Accepted\r\n" + fields + b"\r\nok\n"] * 2


async def test_it_reads_as_what_uvicorn_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for request in (post() + b"{}", post(b"Connection: close") + b"{}"):
        _, transport, at_once = await exchange(ANSWER, request)
        assert at_once == [True]
        written.append((b"".join(transport.written), transport.closing))
    monkeypatch.setitem(globals(), "answer_at_once", lambda *_: False)
    for request, expected in zip((post() + b"{}", post(b"Connection: close") + b"{}"), written, strict=True):
        _, transport, at_once = await exchange(ANSWER, request)
        assert at_once == [False]
        assert (b"".join(transport.written), transport.closing) == expected
    assert [closing for _, closing in written] == [False, True]


@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        ((204, [], b""), post() + b"{}"),
        ((205, [], b""), post() + b"{}"),
        (ANSWER, post(method=b"HEAD", length=0)),
    ],
    ids=["204", "205", "HEAD"],
)
async def test_answers_that_have_no_body_are_left_to_uvicorn(answer: RawAnswer, request_: bytes) -> None:
    _, transport, at_once = await exchange(answer, request_)
    assert at_once == [False]
    assert b"ok\n" not in b"".join(transport.written)


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\0b"])
async def test_no_value_begins_another_header(value: bytes) -> None:
    status, headers, body = ANSWER
    _, transport, at_once = await exchange((status, [*headers, (b"x-echo", value)], body), post() + b"{}")
    assert at_once == [False]
    assert (transport.written, transport.closing) == ([], True)


async def test_a_body_that_is_not_whole_is_none() -> None:
    bodies, _, _ = await exchange(ANSWER, post() + b"{")
    assert bodies == [None]


async def test_a_client_that_waits_for_its_body_to_be_wanted_is_told_so_first() -> None:
    bodies, _, _ = await exchange(ANSWER, post(b"Expect: 100-continue") + b"{}")
    assert bodies == [None]


@pytest.mark.parametrize("other", [asyncio.sleep, lambda: None])
async def test_elsewhere_there_is_nothing_to_be_had(other: Callable[..., object]) -> None:
    assert whole_body(other) is None  # type: ignore[arg-type]
    assert not answer_at_once(other, ANSWER)  # type: ignore[arg-type]
