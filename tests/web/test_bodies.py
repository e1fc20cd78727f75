"""Bodies that arrive in pieces share a room: it may be filled, and whoever fills it gives way when others come."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.observing.metrics import Metrics
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.addresses import Callers
from bridge.receiving.limits.request_limits import Limits
from bridge.service import composition
from bridge.store.store import Store, owned
from bridge.web import public
from bridge.web.bodies import BodyMemory, UnfinishedBody
from bridge.web.serving import Serving, listen

from .test_public import BRIDGE, SOURCE, Connection, Port, head, until

ROOM = 305_000
FEW = 5_000  # bytes that pieces have besides what is in them
MAX_BODY = 200_000
LAST = b"the end"
LARGE_SOURCE = SOURCE + "max_body: 400KiB\n"

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    """A public port with a small room, whose clients say where they are by X-Forwarded-For."""
    (tmp_path / "config" / "sources").mkdir(parents=True)
    (tmp_path / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE | {"listen": {"max_body": MAX_BODY}}))
    more = "failures: {at_once: 100000}\ntrusted_proxies: [127.0.0.1]\n"
    (tmp_path / "config" / "sources" / "github.yaml").write_text(SOURCE + more)
    (tmp_path / "config" / "sources" / "large.yaml").write_text(LARGE_SOURCE + more)
    sources = composition.build(tmp_path / "config").sources
    url = f"sqlite:///{tmp_path}/bridge.db"

    async def ready() -> bool:
        return True

    with owned(url) as engine:
        store, metrics = Store(engine), Metrics()
        reporter = IntakeReporter(metrics)
        intake = Intake(store, reporter, lambda _: None)
        callers = Callers((ip_network("127.0.0.1"),))
        webhooks = public.Webhooks(
            intake, reporter, lambda: sources, limits=Limits(bodies=ROOM, linger=0.2), callers=callers
        )
        listener = listen("127.0.0.1", 0)
        serving = Serving(public.application(webhooks, ready), listener, webhooks.connections)
        serving.start()
        yield Port(listener.getsockname()[1], webhooks, metrics, url)
        await serving.stop()
        store.close()


class Senders:
    """Connections that each send one body, but for its last bytes."""

    def __init__(self, port: Port, stack: AsyncExitStack) -> None:
        self._port = port
        self._stack = stack

    async def begins(self, client: str, size: int, *, goes: int = 0, of: int = 0) -> Connection:
        """One more, from an address, that has sent so much of a body; `goes` bytes of others give way to it."""
        room = self._port.webhooks.bodies.memory
        held = room.held + size - goes
        connection = await self._stack.enter_async_context(self._port.connection())
        path = "/webhooks/large" if size > MAX_BODY else "/webhooks/github"
        body = b"x" * max(size, of) + LAST
        await connection.write(head(body, path=path, x_forwarded_for=client) + body[:size])
        await until(lambda: abs(room.held - held) < FEW)
        return connection


@pytest.fixture
async def senders(port: Port) -> AsyncIterator[Senders]:
    async with AsyncExitStack() as stack:
        yield Senders(port, stack)


async def gives_way(connection: Connection) -> bool:
    status, headers, content = await connection.answer()
    assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
    assert "send it again" in content["detail"]
    return True


async def finishes(connection: Connection) -> bool:
    """Whether the last bytes make it a webhook (one that is no JSON, but genuine)."""
    await connection.write(LAST)
    return (await connection.answer())[0] == 202


async def test_one_address_may_hold_all_the_room_that_there_is(port: Port, senders: Senders) -> None:
    bodies = [await senders.begins("192.0.2.1", 100_000) for _ in range(3)]
    assert port.webhooks.bodies.memory.held >= 300_000
    for body in bodies:
        assert await finishes(body)
    assert port.webhooks.bodies.memory.held == 0
    assert port.refused("too_many_bodies") is None


async def test_a_newcomer_is_let_in_by_the_longest_held_of_the_address_that_holds_most(
    port: Port, senders: Senders
) -> None:
    neighbour = await senders.begins("192.0.2.2", 90_000)
    first, second = [await senders.begins("192.0.2.1", 100_000) for _ in range(2)]
    newcomer = await senders.begins("192.0.2.3", 60_000, goes=100_000)
    assert await gives_way(first)
    assert port.refused("too_many_bodies") == 1
    for body in (neighbour, second, newcomer):
        assert await finishes(body)


async def test_a_newcomer_of_the_address_that_holds_most_is_let_in_too(port: Port, senders: Senders) -> None:
    first, second = [await senders.begins("192.0.2.1", 140_000) for _ in range(2)]
    newcomer = await senders.begins("192.0.2.1", 30_000, goes=140_000)
    assert await gives_way(first)
    assert await finishes(newcomer)
    assert await finishes(second)


async def test_who_holds_most_gives_way_to_itself_as_well(port: Port, senders: Senders) -> None:
    neighbours = [await senders.begins(f"192.0.2.{n}", 80_000) for n in (1, 2)]
    most = await senders.begins("192.0.2.3", 140_000, of=MAX_BODY - len(LAST))
    await most.write(b"x" * 10_000)
    assert await gives_way(most)
    for body in neighbours:
        assert await finishes(body)


async def test_a_network_of_ipv6_is_one_holder(port: Port, senders: Senders) -> None:
    several = [await senders.begins(f"2001:db8:0:1::{n}", 50_000) for n in range(1, 4)]
    one = await senders.begins("2001:db8:0:2::1", 120_000)
    newcomer = await senders.begins("2001:db8:0:3::1", 60_000, goes=50_000)
    assert await gives_way(several[0])
    assert await finishes(one)
    assert await finishes(newcomer)


async def test_as_many_give_way_as_it_takes(port: Port, senders: Senders) -> None:
    small = [await senders.begins("192.0.2.1", 60_000) for _ in range(5)]
    await senders.begins("192.0.2.2", 100_000, goes=120_000)
    assert [await gives_way(body) for body in small[:2]] == [True, True]
    assert port.refused("too_many_bodies") == 2


async def test_a_body_larger_than_the_room_fits_where_its_source_takes_such_and_it_is_alone(senders: Senders) -> None:
    assert await finishes(await senders.begins("192.0.2.1", 370_000))
    large = await senders.begins("192.0.2.1", 370_000)
    newcomer = await senders.begins("192.0.2.2", 50_000, goes=370_000)
    assert await gives_way(large)
    assert await finishes(newcomer)


async def test_a_sender_that_leaves_leaves_its_room(port: Port, senders: Senders) -> None:
    for _ in range(3):
        leaving = await senders.begins("192.0.2.1", 100_000)
        leaving.writer.transport.abort()
        await until(lambda: port.webhooks.bodies.memory.held == 0)
    assert port.refused("body_cut_off") == 3


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 600)), max_size=60))
def test_whatever_comes_the_room_is_never_overfull_and_never_forgets(pieces: list[tuple[int, int, int]]) -> None:
    """`pieces`: which body of which address gets how many bytes more."""

    async def run() -> None:
        room = BodyMemory(1000)
        bodies: dict[tuple[int, int], UnfinishedBody] = {}
        for address, number, size in pieces:
            key = (address, number)
            if key not in bodies or bodies[key].evicted:
                bodies[key] = UnfinishedBody(str(address), await asyncio.timeout(None).__aenter__())
            body = bodies[key]
            is_new, is_alone, held = not body.pieces, room.held == body.held, room.held
            before = [one for one in bodies.values() if not one.evicted]
            holders: Counter[str] = Counter()
            for one in before:
                holders[one.address] += one.held
            room.hold(body, b"x" * size, 100)
            gone = [one for one in before if one.evicted]
            assert not (is_new and body.evicted)
            assert not (is_alone and gone)
            assert not gone or (
                held + size > 950 and any(holders[one.address] == max(holders.values()) for one in gone)
            )
            kept = [one for one in bodies.values() if not one.evicted]
            assert room.held == sum(one.held for one in kept)
            assert room.held <= 1000 or [one for one in kept if one.held] == [body]
            assert not any(one.pieces for one in bodies.values() if one.evicted)
        for body in bodies.values():
            room.leave(body)
        assert room.held == 0

    asyncio.run(run())
