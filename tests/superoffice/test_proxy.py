"""A target behind a forward proxy: a small real one, which sees names and no content where there is TLS."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from authorities import authority, server_tls

from bridge.model import Outcome
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings

from .support import BASIC, Call, claim, opened, playing
from .test_send_event import unused_port

pytestmark = pytest.mark.anyio

AUTHORITY = authority()
SERVER = AUTHORITY.issue("127.0.0.1", "crm.example.com")
CA = {"ca": AUTHORITY.pem.decode()}
USER = {"username": "bridge", "password": "hush"}
LOGIN = "Basic " + b64encode(b"bridge:hush").decode()


@dataclass
class Proxy:
    """What a proxy was asked for, and where it sends everybody, whatever name they ask for."""

    port: int = 0
    to: int = 0
    login: str = ""
    heads: list[str] = field(default_factory=list)
    seen: bytes = b""  # what went through to the server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def proxying(server_url: str, login: str = "") -> AsyncIterator[Proxy]:
    """A proxy that tunnels (CONNECT) and forwards (absolute URLs) to one server; with `login`, for one user only."""
    proxy = Proxy(to=int(server_url.split(":")[2].split("/")[0]), login=login)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if watched:
                    proxy.seen += data
                writer.write(data)
        with suppress(OSError):
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers = [writer]
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            proxy.heads.append(head)
            if proxy.login and f"proxy-authorization: {proxy.login}".lower() not in head.lower():
                writer.write(b"HTTP/1.1 407 Log In\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                writers.clear()
                writer.close()
                return
            its_reader, its_writer = await asyncio.open_connection("127.0.0.1", proxy.to)
            writers.append(its_writer)
            if head.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                method, url, rest = head.split(" ", 2)
                its_writer.write(f"{method} /{url.split('/', 3)[3]} {rest}".encode())
            await asyncio.gather(copy(reader, its_writer, watched=True), copy(its_reader, writer, watched=False))
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for one in writers:
                one.transport.abort()
            tasks.discard(task)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_tls_goes_through_to_a_name_that_only_the_proxy_knows() -> None:
    async with (
        playing(Call.answer, tls=server_tls(SERVER)) as server,
        proxying(server.url) as proxy,
        opened("https://crm.example.com/api", tls=CA, proxy={"url": proxy.url}) as crm,
    ):
        for _ in range(2):
            assert (await crm.send(claim("sale=17"))).outcome is Outcome.DELIVERED
    (head,) = proxy.heads
    assert head.startswith("CONNECT crm.example.com:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization" not in head
    assert b"SendEvent" not in proxy.seen
    assert len(server.calls) == 2


async def test_the_proxys_log_in_goes_to_the_proxy_alone() -> None:
    async with (
        playing(Call.answer, tls=server_tls(SERVER)) as server,
        proxying(server.url, LOGIN) as proxy,
        opened("https://crm.example.com/api", tls=CA, proxy={"url": proxy.url, **USER}) as crm,
    ):
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert "sandbox" not in proxy.heads[0]  # the target's own log-in
    assert "authorization: basic" not in proxy.heads[0].lower().replace("proxy-authorization", "")
    assert "proxy-authorization" not in server.calls[0].headers
    assert server.calls[0].headers["authorization"].startswith("Basic ")


async def test_plain_http_is_forwarded_with_the_proxys_log_in() -> None:
    sandbox = Sandbox()
    async with (
        serving(sandbox) as url,
        proxying(url, LOGIN) as proxy,
        opened(f"{url}/crm/api", proxy={"url": proxy.url, **USER}) as crm,
    ):
        assert (await crm.send(claim("sale=17"))).outcome is Outcome.DELIVERED
    assert proxy.heads[0].startswith(f"POST {url}/crm/api/v1/Agents/Workflow/SendEvent HTTP/1.1\r\n")
    assert [event.attributes for event in sandbox.events()] == ["sale=17"]


async def test_a_proxy_that_refuses_got_no_event_and_the_password_is_not_told() -> None:
    wrong = {"username": "bridge", "password": "guess"}
    async with (
        playing(Call.answer, tls=server_tls(SERVER)) as server,
        proxying(server.url, LOGIN) as proxy,
        opened("https://crm.example.com/api", tls=CA, proxy={"url": proxy.url, **wrong}) as crm,
    ):
        found = await crm.send(claim())
    assert found.outcome is Outcome.UNAVAILABLE
    assert found.detail == "the proxy answered 407, check the target's proxy"
    assert server.calls == []


async def test_a_proxy_that_is_not_there_is_said_to_be_the_proxy() -> None:
    proxy = {"url": f"http://127.0.0.1:{unused_port()}"}
    async with opened("https://crm.example.com/api", proxy=proxy) as crm:
        found = await crm.send(claim())
    assert found.outcome is Outcome.UNAVAILABLE
    assert found.detail == "the proxy cannot be reached: connection refused"


async def test_a_proxy_whose_name_is_not_found_is_said_to_be_the_proxy() -> None:
    async with opened("https://crm.example.com/api", proxy={"url": "http://nowhere.invalid:3128"}) as crm:
        attempt = await crm.send(claim())
    assert attempt.outcome is Outcome.UNAVAILABLE
    assert attempt.detail == "the proxy cannot be reached: its name is not found"


async def test_the_certificate_behind_the_proxy_is_checked_all_the_same() -> None:
    async with (
        playing(Call.answer, tls=server_tls(SERVER)) as server,
        proxying(server.url) as proxy,
        opened("https://other.example.com/api", tls=CA, proxy={"url": proxy.url}) as crm,
    ):
        found = await crm.send(claim())
    assert (found.outcome, found.detail) == (Outcome.UNAVAILABLE, "the host's TLS certificate is not valid")
    assert server.calls == []


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    async with serving(Sandbox()) as url, opened(f"{url}/crm/api") as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ({}, "proxy.url: is missing"),
        ({"url": "proxy:3128"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "http://proxy"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "https://proxy:3128"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "http://proxy:99999"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "http://proxy:3128/x"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "http://pro xy:3128"}, "proxy.url: is not the URL of a proxy"),
        ({"url": "http://u:hush@proxy:3128"}, "proxy.url: holds a user name or a password"),
        ({"url": "http://proxy:3128", "username": "u"}, "proxy: has only one of username and password"),
        ({"url": "http://proxy:3128", "password": "hush"}, "proxy: has only one of username and password"),
        ({"url": "http://proxy:3128", "username": "a:b", "password": "hush"}, "proxy.username: is no user name"),
    ],
)
async def test_what_is_wrong_with_a_proxy_is_told_at_load(proxy: Any, problem: str) -> None:
    written = {"url": "https://a.example/api", "authorization": BASIC, "proxy": proxy}
    (found,) = parse(Section(Document("f", written)), TargetSettings)[1]
    assert f"{found.path}: {found.message}" == problem
    assert "hush" not in str(found)
