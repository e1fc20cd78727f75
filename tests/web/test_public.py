"""The public port on a real socket: what a stranger sends is bounded in size and time, and never breaks the next one.

Requests are written byte by byte where a client library would be too well-behaved.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from databases import sqlite_at
from forwarding.support import logged
from running import HANG, NO_TLS, by_github

from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.request_limits import Limits
from bridge.service import composition
from bridge.store import reader
from bridge.store.store import Store, owned
from bridge.web import public
from bridge.web.serving import Serving, listen

MAX_BODY = 1000
WITHIN = 0.3
SOURCE = "verify: {scheme: github, secrets: [a-secret-of-the-tests]}\nrules: []\n"
BRIDGE = {"targets": {"crm": {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}}}

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


@dataclass(frozen=True)
class Port:
    number: int
    webhooks: public.Webhooks
    metrics: Metrics
    store: str

    def stored(self) -> list[int]:
        """The sizes of the stored bodies, oldest first."""
        with reader.reading(self.store) as connection:
            return [webhook["size"] for webhook in reversed(reader.list_webhooks(connection, reader.Filter()))]

    def refused(self, reason: str, source: str = "github") -> float | None:
        return self.metrics.registry.get_sample_value(
            "bridge_webhooks_refused_total", {"source": source, "reason": reason}
        )

    def connection(self) -> AbstractAsyncContextManager["Connection"]:
        return connect(self.number)


@dataclass(frozen=True)
class Connection:
    """One TCP connection, spoken to in bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """The next answer: status, headers, JSON."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status = int(head.split(" ", 2)[1])
            fields = re.findall(r"^([\w-]+): (.*?)\r$", head, flags=re.MULTILINE)
            headers = {name.lower(): value for name, value in fields}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return status, headers, json.loads(body) if body.startswith(b"{") else body

    async def closed(self) -> bool:
        """Whether the other side ends the connection, in order and without another word."""
        async with asyncio.timeout(10):
            return await self.reader.read() == b""


async def ended(connection: Connection) -> bool:
    """Whether the other side ends the connection, in whatever way, and says nothing."""
    try:
        return await connection.closed()
    except ConnectionError:
        return True


@asynccontextmanager
async def connect(port: int, host: str = "127.0.0.1") -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def until(enough: Callable[[], bool]) -> None:
    """Let the loop turn until it has come to that."""
    while not enough():  # noqa: ASYNC110 - it is a state of the port's, which sets no event
        await asyncio.sleep(0)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    (tmp_path / "config" / "sources").mkdir(parents=True)
    (tmp_path / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE | {"listen": {"max_body": MAX_BODY}}))
    (tmp_path / "config" / "sources" / "github.yaml").write_text(SOURCE)
    sources = composition.build(tmp_path / "config").sources
    url = sqlite_at(tmp_path / "bridge.db")

    async def ready() -> bool:
        return True

    with owned(url) as engine:
        store, metrics = Store(engine), Metrics()
        reporter = IntakeReporter(metrics)
        intake = Intake(store, reporter, lambda _: None)
        webhooks = public.Webhooks(intake, reporter, lambda: sources, limits=Limits(body_within=WITHIN, linger=WITHIN))
        listener = listen("127.0.0.1", 0)
        serving = Serving(public.application(webhooks, ready), listener, webhooks.connections)
        serving.start()
        yield Port(listener.getsockname()[1], webhooks, metrics, url)
        await serving.stop()
        store.close()


def head(body: bytes = b"", *, path: str = "/webhooks/github", signed: bool = True, **headers: str | int) -> bytes:
    """The head of a POST; `content_length=...` and such replace or add headers, "" leaves one out."""
    fields: dict[str, Any] = {"Host": "localhost", "Content-Length": len(body)} | (by_github(body) if signed else {})
    fields |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value != "")]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def usable(connection: Connection) -> bool:
    """Whether a genuine webhook is accepted on this connection."""
    await connection.write(head(b"{}") + b"{}")
    return (await connection.answer())[0] == 202


async def test_a_body_up_to_the_limit_is_accepted_whole_or_in_chunks(port: Port) -> None:
    body = b'"' + b"x" * (MAX_BODY - 2) + b'"'
    async with port.connection() as connection:
        await connection.write(head(body) + body)
        assert (await connection.answer())[0] == 202
        await connection.write(head(body, content_length="", transfer_encoding="chunked"))
        for start in range(0, MAX_BODY, 300):
            await connection.write(chunk(body[start : start + 300]))
        await connection.write(b"0\r\n\r\n")
        assert (await connection.answer())[0] == 202
    assert port.stored() == [MAX_BODY, MAX_BODY]


async def test_a_content_length_over_the_limit_is_413_before_a_byte_of_it_is_read(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length=MAX_BODY + 1))
        status, headers, content = await connection.answer()
        assert (status, headers["content-type"], headers["connection"]) == (413, "application/problem+json", "close")
        assert content["status"] == 413
        assert str(MAX_BODY) in content["detail"]
        assert await connection.closed()
    assert port.refused("body_too_large") == 1
    assert port.stored() == []


async def test_a_chunked_body_over_the_limit_is_413_as_soon_as_it_is(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length="", transfer_encoding="chunked"))
        await connection.write(chunk(b"x" * MAX_BODY) + chunk(b"x"))
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (413, "close")
        assert await connection.closed()
    assert port.refused("body_too_large") == 1


async def test_a_sender_that_asks_first_is_told_before_it_sends(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length=MAX_BODY + 1, expect="100-continue"))
        assert (await connection.answer())[0] == 413
    async with port.connection() as connection:
        await connection.write(head(b"{}", expect="100-continue"))
        assert (await connection.answer())[0] == 100
        await connection.write(b"{}")
        assert (await connection.answer())[0] == 202


async def test_a_large_body_sent_in_one_go_gets_its_413(port: Port) -> None:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port.number}", trust_env=False, verify=NO_TLS, timeout=HANG
    ) as client:
        for content in (b"x" * 50_000, b"x" * 5_000_000):
            try:
                answer = await client.post("/webhooks/github", content=content)
            except httpx.TransportError:  # the kernel may drop what was answered to a sender that goes on sending
                continue
            assert answer.status_code == 413
        assert (await client.post("/webhooks/github", content=b"{}", headers=by_github(b"{}"))).status_code == 202
    assert port.refused("body_too_large") == 2


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "1, 2", "five", "99999999999999999999999"])
async def test_a_content_length_that_is_none_is_400(port: Port, length: str) -> None:
    async with port.connection() as connection:
        await connection.write(head(content_length=length) + b"{}")
        assert (await connection.answer())[0] in (400, 413)
        assert await connection.closed()
    assert port.stored() == []


async def test_two_lengths_at_once_are_refused(port: Port) -> None:
    for second in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
        async with port.connection() as connection:
            await connection.write(head(b"{}").replace(b"\r\n\r\n", b"\r\n" + second + b"\r\n\r\n") + b"{} ")
            assert (await connection.answer())[0] == 400
            assert await connection.closed()
    assert port.stored() == []


async def test_a_content_length_shorter_than_the_body_proves_nothing_and_hides_nothing(port: Port) -> None:
    body = b'{"a": 1}'
    async with port.connection() as connection:
        await connection.write(head(body, content_length=4) + body)
        # The signature is that of the whole body (401), and the rest is no request (400); which is told is a race.
        assert (await connection.answer())[0] in (400, 401)
        await connection.reader.read()
    assert port.refused("signature_mismatch") == 1
    assert port.stored() == []


@pytest.mark.parametrize("content_length", [100, ""], ids=["declared", "chunked"])
async def test_a_body_that_is_too_slow_is_408(port: Port, content_length: int | str) -> None:
    chunked = "" if content_length else "chunked"
    async with port.connection() as connection:
        await connection.write(
            head(content_length=content_length, transfer_encoding=chunked) + (b"5\r\nx" if chunked else b"")
        )
        status, headers, content = await connection.answer()
        assert (status, headers["connection"], content["status"]) == (408, "close", 408)
        assert await connection.closed()
    assert port.refused("body_too_slow") == 1
    assert port.stored() == []


async def test_a_slow_sender_harms_nobody_else(port: Port) -> None:
    async with port.connection() as slow, port.connection() as quick:
        await slow.write(head(content_length=100) + b"{")
        assert await usable(quick)
        assert (await slow.answer())[0] == 408


async def test_a_body_that_is_cut_off_is_not_stored(port: Port) -> None:
    body = b'{"a": 1}'
    chunked = head(body, content_length="", transfer_encoding="chunked")
    for beginning in (head(body) + body[:4], chunked + chunk(body)):
        async with port.connection() as connection:
            await connection.write(beginning)
            connection.writer.write_eof()
            await connection.reader.read()
    async with port.connection() as connection:
        assert await usable(connection)
    assert port.stored() == [2]
    assert port.refused("body_cut_off") == 2


async def test_a_connection_stays_usable_after_a_forged_webhook(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(b"{}", signed=False) + b"{}")
        status, headers, _ = await connection.answer()
        assert (status, headers.get("connection")) == (401, None)
        assert headers["www-authenticate"] == 'Signature realm="webhooks"'
        assert await usable(connection)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(b"{}", path="/webhooks/gitlab") + b"{}", 404),
        (head(b"{}", path="/webhooks/..%2fgithub") + b"{}", 404),
        (head(b"{}").replace(b"POST", b"PUT") + b"{}", 405),
        (head(b"{}", x_long="x" * 70_000) + b"{}", 431),
        (head(b"{}", path="/webhooks/github?" + "x" * 65_600) + b"{}", 414),
    ],
    ids=["unknown source", "no source at all", "method", "headers", "target"],
)
async def test_a_connection_is_closed_in_order_after_a_request_that_is_not_read(
    port: Port, request_: bytes, status: int
) -> None:
    async with port.connection() as connection:
        await connection.write(request_)
        found, headers, _ = await connection.answer()
        assert found == status
        assert headers.get("connection") == "close" or await usable(connection)
        if "connection" in headers:
            assert await connection.closed()


async def test_requests_in_a_row_are_answered_in_that_order(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(b"{}") + b"{}" + head(b"[]", signed=False) + b"[]" + head(b"1") + b"1")
        assert [(await connection.answer())[0] for _ in range(3)] == [202, 401, 202]
    assert port.stored() == [2, 1]


async def test_an_unknown_source_tells_nothing_but_that_and_is_counted_without_its_name(port: Port) -> None:
    async with port.connection() as connection:
        await connection.write(head(b"{}", path="/webhooks/gitlab") + b"{}")
        status, _, content = await connection.answer()
    assert (status, content["detail"]) == (404, "there is no such source")
    assert port.refused("unknown_source", source="") == 1
    assert port.stored() == []


@pytest.mark.parametrize(
    ("path", "reason", "told"),
    [
        ("/webhooks/github/", "unknown_path", "/webhooks/github/"),
        ("/webhook/github", "unknown_path", "/webhook/github"),
        ("//webhooks/github", "unknown_path", "//webhooks/github"),
        ("/webhooks/github%20", "unknown_source", "/webhooks/github%20"),
        ("/webhooks/git%1b%5b2Jhub?token=secret", "unknown_source", "/webhooks/git%1b%5b2Jhub"),
        ("/?token=secret", "unknown_path", "/"),
        ("/healthz", "method", "/healthz"),
        ("/" + "x" * 1000, "unknown_path", "/" + "x" * 199),
        ("http://localhost/webhooks/shop?token=secret", "unknown_source", "/webhooks/shop"),
    ],
)
async def test_a_url_that_is_mistyped_at_a_sender_is_found_in_the_log(
    port: Port, path: str, reason: str, told: str
) -> None:
    with logged() as log:
        async with port.connection() as connection:
            await connection.write(head(b"{}", path=path) + b"{}")
            status, headers, content = await connection.answer()
    assert status == (405 if reason == "method" else 404)
    assert headers.get("allow") == ("GET, HEAD" if reason == "method" else None)
    assert (headers["content-type"], content["status"]) == ("application/problem+json", status)
    assert content["detail"]
    (line,) = log.named(logs.WEBHOOK_REFUSED)
    assert (line["source"], line["reason"], line["path"], line["client"]) == (None, reason, told, "127.0.0.1")
    assert port.refused(reason, source="") == 1


async def test_a_method_that_a_source_does_not_take_is_told_with_the_path(port: Port) -> None:
    with logged() as log:
        async with port.connection() as connection:
            await connection.write(head(b"{}").replace(b"POST", b"PUT") + b"{}")
            status, headers, _ = await connection.answer()
    assert (status, headers["allow"]) == (405, "POST")
    (line,) = log.named(logs.WEBHOOK_REFUSED)
    assert (line["source"], line["reason"], line["path"]) == ("github", "method", "/webhooks/github")


async def test_a_flood_of_unknown_paths_is_counted_in_one_place_and_told_by_a_bounded_number_of_lines(
    port: Port,
) -> None:
    with logged() as log:
        async with port.connection() as connection:
            for number in range(400):
                await connection.write(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert (await connection.answer())[0] == 404
    assert 300 <= len(log.named(logs.WEBHOOK_REFUSED)) < 400
    assert port.refused("unknown_path", source="") == 400


async def test_a_closing_bridge_asks_senders_to_come_again(port: Port) -> None:
    port.webhooks.closing = True
    async with port.connection() as connection:
        await connection.write(head(b"{}") + b"{}")
        status, headers, content = await connection.answer()
        assert (status, headers["retry-after"], content["status"]) == (503, "5", 503)
        port.webhooks.closing = False
        assert await usable(connection)
    assert port.stored() == [2]


async def test_noise_is_answered_400_and_ends_its_connection_only(port: Port) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST /webhooks/github\r\n\r\n"):
        async with port.connection() as connection:
            await connection.write(noise)
            assert (await connection.reader.read()).startswith(b"HTTP/1.1 400 ")
    async with port.connection() as connection:
        assert await usable(connection)


async def test_a_port_that_fails_itself_says_so_as_a_problem(port: Port) -> None:
    async def ready() -> bool:
        raise RuntimeError("confidential")

    transport = httpx.ASGITransport(public.application(port.webhooks, ready), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge", verify=NO_TLS, timeout=HANG) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["status"], "confidential" in answer.text) == (500, False)
