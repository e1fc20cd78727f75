"""What strangers send to both ports, as much of it as they can: nobody else notices, and it takes no memory.

They send from processes of their own, and from an address of their own.
"""

import json
import multiprocessing
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from running import Bridge, by_github

from .neighbours import SOURCE, Neighbour, p99

MIB = 1 << 20
STRANGER, UPLOADER = "127.0.0.2", "127.0.0.3"
SECONDS = 8
HEAD = b"POST /webhooks/neighbour HTTP/1.1\r\nHost: bridge\r\n"
CONNECTIONS = 40

Address = tuple[str, int]
Flood = Callable[[Address], None]


def keep_sending(address: Address, beginning: bytes, piece: bytes, connections: int = CONNECTIONS) -> None:
    """Send a piece again and again on each connection, as fast as it is taken; one that is ended begins anew."""
    with selectors.DefaultSelector() as ready:

        def begin() -> None:
            connection = socket.create_connection(address, timeout=30, source_address=(STRANGER, 0))
            connection.sendall(beginning)
            connection.setblocking(False)
            ready.register(connection, selectors.EVENT_WRITE, memoryview(piece))

        for _ in range(connections):
            begin()
        while True:
            for key, _ in ready.select():
                connection = cast("socket.socket", key.fileobj)
                try:
                    left = key.data[connection.send(key.data) :] or memoryview(piece)
                    ready.modify(connection, selectors.EVENT_WRITE, left)
                except OSError:
                    ready.unregister(connection)
                    connection.close()
                    begin()


def large_bodies(address: Address) -> None:
    keep_sending(address, HEAD + b"Content-Length: %d\r\n\r\n" % MIB, b"x" * 65_536, 150)


def crumbs(address: Address) -> None:
    keep_sending(address, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000)


def headers(address: Address) -> None:
    keep_sending(address, HEAD, b"X-Header: " + b"y" * 50 + b"\r\n")


def one_header(address: Address) -> None:
    keep_sending(address, HEAD + b"X: ", b"y" * 262_144)


def wrong_tokens(address: Address) -> None:
    keep_sending(address, b"", b"GET /metrics HTTP/1.1\r\nHost: bridge\r\nAuthorization: Bearer guess\r\n\r\n")


@contextmanager
def sending(flood: Flood, address: Address) -> Iterator[None]:
    """Let strangers send, in a process that ends with the test."""
    process = multiprocessing.get_context("fork").Process(target=flood, args=(address,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def memory(bridge: Bridge) -> float:
    """MiB that the bridge has in memory."""
    assert bridge.process
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{bridge.process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def started(make_bridge: Callable[..., Bridge]) -> tuple[Bridge, Neighbour]:
    nowhere = {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}
    bridge = make_bridge({"crm": nowhere}, {"neighbour": SOURCE}).start()
    neighbour = Neighbour(bridge)
    neighbour.recover(3)
    return bridge, neighbour


@pytest.mark.faults
@pytest.mark.parametrize("flood", [large_bodies, crumbs, headers, one_header])
def test_the_public_port_under_a_flood(make_bridge: Callable[..., Bridge], flood: Flood) -> None:
    bridge, neighbour = started(make_bridge)
    before = memory(bridge)
    with sending(flood, ("127.0.0.1", bridge.port)), neighbour.beside():
        time.sleep(SECONDS)
        grown = memory(bridge) - before
    print(f"{flood.__name__}: {grown:.0f} MiB more; {neighbour.told()}")  # noqa: T201 - for whoever runs it with -s
    assert grown < 64 + 100
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
def test_uploads_get_through_a_flood_of_others(make_bridge: Callable[..., Bridge]) -> None:
    bridge, neighbour = started(make_bridge)
    body = json.dumps({"n": 1, "more": "x" * 500_000}).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in by_github(body).items())
    request = HEAD + f"Content-Length: {len(body)}\r\n{lines}\r\n".encode() + body
    took: list[float] = []
    with sending(large_bodies, ("127.0.0.1", bridge.port)), neighbour.beside():
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            began = time.perf_counter()
            with socket.create_connection(("127.0.0.1", bridge.port), timeout=30, source_address=(UPLOADER, 0)) as one:
                for start in range(0, len(request), 100_000):
                    one.sendall(request[start : start + 100_000])
                    time.sleep(0.02)
                assert one.recv(65_536).startswith(b"HTTP/1.1 202 ")
            took.append((time.perf_counter() - began) * 1000)
    told = f"{len(took)} uploads, {max(took):.0f} ms at most, of which 120 are its sender's"
    print(f"{told}; {neighbour.told()}")  # noqa: T201 - for whoever runs it with -s
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
@pytest.mark.parametrize("flood", [headers, one_header, wrong_tokens])
def test_the_admin_port_under_a_flood(make_bridge: Callable[..., Bridge], flood: Flood) -> None:
    bridge, neighbour = started(make_bridge)
    before = memory(bridge)
    took: list[float] = []
    with sending(flood, ("127.0.0.1", bridge.admin.base_url.port or 0)), neighbour.beside():
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            began = time.perf_counter()
            assert bridge.admin.get("/readyz").status_code == 200
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.05)
        grown = memory(bridge) - before
    refused = [line for line in bridge.lines() if line["event"] == "admin.refused" and line["client"] == STRANGER]
    told = f"a right token is served in {p99(took):.0f} ms (p99), {grown:.0f} MiB more, {len(refused)} lines"
    print(f"{flood.__name__}: {told}; {neighbour.told()}")  # noqa: T201 - for whoever runs it with -s
    assert refused
    assert grown < 50
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
def test_300_mebibytes_of_headers_at_the_admin_port(make_bridge: Callable[..., Bridge]) -> None:
    bridge, neighbour = started(make_bridge)
    before, sent = memory(bridge), 0
    piece = b"X-Header: " + b"y" * 50 + b"\r\n"
    ends = time.monotonic() + SECONDS / 2
    with neighbour.beside():
        while sent < 300 * MIB or time.monotonic() < ends:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", bridge.admin.base_url.port or 0), timeout=30) as one,
            ):
                one.sendall(b"GET /readyz HTTP/1.1\r\nHost: bridge\r\n")
                for _ in range(10):
                    one.sendall(piece * 16_384)
                    sent += len(piece) * 16_384
        grown = memory(bridge) - before
    print(f"{sent / MIB:.0f} MiB of headers: {grown:.0f} MiB more; {neighbour.told()}")  # noqa: T201
    assert grown < 50
    assert neighbour.is_answered_as_always()
