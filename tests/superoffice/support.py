"""What the tests of this room share: targets from what ops would write, an event, and servers that misbehave."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import Any

from bridge.clock import Clock
from bridge.model import Claim, OnUnknown
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.http.tls import compile_trust
from bridge.superoffice.login.authorization import compile_authorization
from bridge.superoffice.send_event import SuperOffice

BASIC = {"scheme": "basic", "username": "sandbox", "password": "sandbox"}
RESULT = b'{"EventType":"SaleSold","Attributes":"done","TableRight":null,"FieldProperties":null}'


def patience(fault: str) -> str:
    """A time-out: short only where it is what ends the attempt, since a busy machine is slow and not silent."""
    return "1s" if fault.startswith(("hang", "slow")) else "30s"


def compiled(url: str, *, clock: Clock | None = None, **settings: Any) -> SuperOffice:
    """A target, from what stands under its name in `bridge.yaml`; one with `online` has no URL."""
    place = {"url": url} if url else {}
    section = Section(Document("bridge.yaml", place | {"authorization": BASIC} | settings))
    parsed, problems = parse(section, TargetSettings)
    assert parsed is not None, problems
    authorization, problems = compile_authorization(section["authorization"])
    assert authorization is not None, problems
    trust, problems = compile_trust("crm", parsed.tls, section["tls"])
    assert problems == []
    return SuperOffice("crm", parsed, authorization, clock, trust)


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[SuperOffice]:
    """A target that is closed in the end."""
    target = compiled(url, **settings)
    try:
        yield target
    finally:
        await target.close()


@asynccontextmanager
async def tenant(sandbox: Sandbox, **settings: Any) -> AsyncIterator[SuperOffice]:
    """A target that leads to a sandbox."""
    async with serving(sandbox) as url, opened(f"{url}/crm/api", **settings) as target:
        yield target


def claim(text: str = "sale=17", *, type_: str = "SaleSold", id_: str = "ev_1") -> Claim:
    """An event, leased for its first attempt."""
    return Claim(
        event_id=id_,
        webhook_id="wh_1",
        source="shop",
        rule="sold",
        target="crm",
        type=type_,
        text=text,
        attempt=1,
        retries=0,
        on_unknown=OnUnknown.RETRY,
        stored_at=0,
        expires_at=1,
    )


@dataclass(slots=True)
class Call:
    """One request on one connection, whole, and the way to answer it."""

    head: str
    body: bytes
    connection: int  # counts from 1
    writer: asyncio.StreamWriter

    @property
    def headers(self) -> dict[str, str]:
        """Every header line; names in lower case."""
        lines = [line.partition(": ") for line in self.head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        assert len(headers) == len(lines), "a header came twice"
        return headers

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = RESULT, *, status: int = 200, headers: str = "") -> None:
        """Answer in proper HTTP."""
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.send(head.encode() + body)

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        its_socket: socket = self.writer.get_extra_info("socket")
        its_socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(slots=True)
class Server:
    """A server that a test plays itself."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)  # a client left
    listener: asyncio.Server = field(init=False)  # connections outlive it


Behaviour = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def playing(
    behaviour: Behaviour, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """Serve from a port of this machine: `behaviour` gets each request once it is there as a whole."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        number = server.connections
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0] or 0)
                    call = Call(head, await reader.readexactly(length), number, writer)
                    server.calls.append(call)
                    server.called.set()
                    await behaviour(call)
                    if writer.is_closing():
                        break
            server.hung_up.set()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            tasks.discard(task)

    server.listener = await asyncio.start_server(connected, host, 0, ssl=tls)
    scheme = "https" if tls else "http"
    place = f"[{host}]" if ":" in host else host
    server.url = f"{scheme}://{place}:{server.listener.sockets[0].getsockname()[1]}/crm/api"
    try:
        yield server
    finally:
        server.listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.listener.wait_closed()


async def forever() -> None:
    """Wait until the test is over."""
    await asyncio.Event().wait()
