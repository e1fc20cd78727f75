"""Large bodies are verified off the loop, one of a source at a time, that of the address that failed least first."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand
from databases import sqlite_at
from msgspec.structs import replace

from bridge.errors import NotVerified, Refused
from bridge.model import Request, WebhookState
from bridge.observing.metrics import Metrics
from bridge.receiving.off_loop import OffLoop
from bridge.service import composition
from bridge.store.store import Store, owned
from receiving.support import Receiving

from .test_intake import BRIDGE
from .verification.genuine import MAILGUN_SECRET, mailgun_signature
from .verification.support import NOW, request

pytestmark = pytest.mark.anyio
SOURCE = f"verify: {{scheme: mailgun, secrets: [{MAILGUN_SECRET}]}}\nfailures: {{at_once: 100, rate: 1/h}}\nrules: []\n"
GITHUB = "verify: {scheme: github, secrets: [a]}\nrules: []\n"
LARGE = 70_000


class House:
    """An intake with a source of Mailgun's, whose clock stands still."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.off_loop = OffLoop()
        sources = composition.build(directory / "config").sources
        self.intake = Receiving(
            sources, store, Metrics(), lambda _: None, off_loop=self.off_loop, monotonic=lambda: 1000.0
        )

    async def receive(self, asked: Request) -> str:
        """Its state, or why it is refused."""
        try:
            return (await self.intake.receive(asked)).state
        except (NotVerified, Refused) as error:
            return error.reason

    def failed(self, client: str) -> float:
        return self.intake.intake._address_limiter.spent("mail", client)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "config" / "sources").mkdir(parents=True)
    (tmp_path / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE))
    (tmp_path / "config" / "sources" / "mail.yaml").write_text(SOURCE)
    (tmp_path / "config" / "sources" / "github.yaml").write_text(GITHUB)
    with owned(sqlite_at(tmp_path / "bridge.db")) as engine:
        store = Store(engine, Hand(NOW))
        made = House(tmp_path, store)
        try:
            yield made
        finally:
            made.off_loop.close()
            store.close()


def event(token: str, size: int, client: str = "192.0.2.1", **signature: Any) -> Request:
    """An event of Mailgun's."""
    signed = mailgun_signature(NOW, token.ljust(50, "t")) | signature
    body = json.dumps({"signature": signed, "x": "y" * size}).encode()
    return replace(request(body, {"content-type": "application/json"}), source="mail", client=client)


async def test_a_large_body_waits_for_its_turn_and_a_small_one_does_not(house: House) -> None:
    async with house.off_loop.turn("mail", 1):
        large = asyncio.create_task(house.receive(event("a", LARGE)))
        assert await house.receive(event("b", 100)) == "ignored"
        assert not large.done()
    assert await large is WebhookState.IGNORED
    assert await house.receive(event("c", LARGE, signature="00" * 32)) == "signature_mismatch"


async def test_what_is_only_hashed_is_verified_at_once_up_to_a_mib(house: House) -> None:
    async with house.off_loop.turn("github", 1):
        for size in (LARGE, 1 << 20):
            asked = replace(request(b"x" * size, {"x-hub-signature-256": "sha256=" + "00" * 32}), source="github")
            assert await house.receive(asked) == "signature_mismatch"
        larger = asyncio.create_task(house.receive(replace(asked, body=b"x" * (1 << 20) + b"x")))
        await asyncio.sleep(0)
        assert not larger.done()
    assert await larger == "signature_mismatch"


async def test_the_address_that_failed_least_comes_first(house: House) -> None:
    order: list[str] = []

    async def send(client: str) -> None:
        await house.receive(event(client, LARGE, client))
        order.append(client)

    for client, times in (("192.0.2.3", 3), ("192.0.2.1", 1), ("192.0.2.2", 2)):
        for _ in range(times):
            await house.receive(event("x", 10, client, signature="00" * 32))
    async with house.off_loop.turn("mail", 1):
        clients = ["192.0.2.3", "192.0.2.2", "192.0.2.9", "192.0.2.1"]
        tasks = [asyncio.create_task(send(client)) for client in clients]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == ["192.0.2.9", "192.0.2.1", "192.0.2.2", "192.0.2.3"]


async def test_who_used_up_its_failures_while_it_waited_is_not_looked_at(house: House) -> None:
    async with house.off_loop.turn("mail", 1):
        waiting = [asyncio.create_task(house.receive(event(name, LARGE, client))) for name, client in CLIENTS.items()]
        await asyncio.sleep(0)
        for _ in range(100):
            assert await house.receive(event("x", 10, CLIENTS["forger"], signature="00" * 32)) == "signature_mismatch"
    assert await asyncio.gather(*waiting) == ["too_many_failures", "ignored"]


CLIENTS = {"forger": "198.51.100.1", "sender": "192.0.2.1"}


async def test_a_failure_that_took_long_counts_as_many(house: House) -> None:
    head = b'Content-Disposition: form-data; name="' + b"\\\\" * 3900 + b'"'
    forged = (b"--b\r\n" + head + b"\r\n\r\n\r\n") * 120 + b"--b--"  # nothing takes longer
    asked = request(forged, {"content-type": "multipart/form-data; boundary=b"})
    assert await house.receive(replace(asked, source="mail", client="198.51.100.1")) == "signature_missing"
    assert house.failed("198.51.100.1") > 2
    assert await house.receive(event("x", LARGE, "198.51.100.2", signature="00" * 32)) == "signature_mismatch"
    assert house.failed("198.51.100.2") >= 1


async def test_what_is_verified_on_the_loop_is_charged_by_its_size(house: House) -> None:
    for size, client in ((10, "192.0.2.1"), (60_000, "192.0.2.2")):
        assert await house.receive(event("a", size, client, signature="00" * 32)) == "signature_mismatch"
    assert house.failed("192.0.2.1") == 1
    assert house.failed("192.0.2.2") > 2
