"""The limits of a source on a real socket: who may call, how much, how often, and what then."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from clocks import Seconds
from databases import sqlite_at
from forwarding.support import logged
from running import NO_TLS, by_github

from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.addresses import Callers
from bridge.service import composition
from bridge.store import reader
from bridge.store.store import Store, owned
from bridge.web import public
from bridge.web.serving import Serving, listen

from .test_public import BRIDGE, SOURCE

pytestmark = [pytest.mark.anyio, pytest.mark.timing]
BODY = b'{"number": 1}'


@dataclass(frozen=True)
class House:
    """A running public port with one source, and what one can see of it."""

    client: httpx.AsyncClient
    metrics: Metrics
    store: str
    hand: Seconds

    async def post(
        self, headers: Mapping[str, str] | None = None, *, body: bytes = BODY, forged: bool = False
    ) -> httpx.Response:
        signed = by_github(body, secret="a guess") if forged else by_github(body)
        return await self.client.post("/webhooks/github", content=body, headers=signed | dict(headers or {}))

    def stored(self) -> list[tuple[int, str]]:
        with reader.reading(self.store) as connection:
            found = reader.list_webhooks(connection, reader.Filter())
        return [(webhook["size"], webhook["state"]) for webhook in reversed(found)]

    def refused(self, reason: str, source: str = "github") -> float:
        labels = {"source": source, "reason": reason}
        return self.metrics.registry.get_sample_value("bridge_webhooks_refused_total", labels) or 0


@asynccontextmanager
async def house(
    directory: Path,
    keys: str = "",
    host: str = "127.0.0.1",
    sources: Mapping[str, str] | None = None,
    **bridge: Any,
) -> AsyncIterator[House]:
    (directory / "config" / "sources").mkdir(parents=True)
    (directory / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE | bridge))
    for name, text in {"github": SOURCE + keys, **(sources or {})}.items():
        (directory / "config" / "sources" / f"{name}.yaml").write_text(text)
    built = composition.build(directory / "config")
    url = sqlite_at(directory / "bridge.db")
    hand = Seconds()

    async def ready() -> bool:
        return True

    with owned(url) as engine:
        store, metrics = Store(engine), Metrics()
        reporter = IntakeReporter(metrics, hand)
        intake = Intake(store, reporter, lambda _: None, monotonic=hand)
        callers = Callers(built.settings.trusted_proxies)
        webhooks = public.Webhooks(intake, reporter, lambda: built.sources, callers=callers)
        listener = listen(host, 0)
        serving = Serving(public.application(webhooks, ready), listener, webhooks.connections)
        serving.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=base, trust_env=False, verify=NO_TLS, timeout=20) as client:
                yield House(client, metrics, url, hand)
        finally:
            await serving.stop()
            store.close()


async def test_forgers_are_refused_unseen_and_the_genuine_of_other_addresses_are_served(tmp_path: Path) -> None:
    async with house(tmp_path, "trusted_proxies: [127.0.0.1]\n") as bridge:
        forger = {"x-forwarded-for": "198.51.100.1"}
        with logged() as log:
            statuses = [(await bridge.post(forger, forged=True)).status_code for _ in range(310)]
        assert statuses == [401] * 300 + [429] * 10
        refused = await bridge.post(forger)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["detail"] == "too many requests of this address failed"
        assert (await bridge.post({"x-forwarded-for": "198.51.100.2"})).status_code == 202
        assert (bridge.refused("signature_mismatch"), bridge.refused("too_many_failures")) == (300, 11)
        line = log.named(logs.WEBHOOK_REFUSED)[-1]
        assert (line["reason"], line["client"], line["size"]) == ("too_many_failures", "198.51.100.1", 0)
        bridge.hand.at += 1.001
        statuses = [(await bridge.post(forger, forged=True)).status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        bridge.hand.at += 60
        assert (await bridge.post(forger)).status_code == 202
    assert len(bridge.stored()) == 2


async def test_forged_requests_that_come_in_together_are_no_more_than_the_limit(tmp_path: Path) -> None:
    async with house(tmp_path, "failures: {at_once: 5, rate: 1/s}\n") as bridge:
        answers = await asyncio.gather(*(bridge.post(forged=True) for _ in range(60)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 55


async def test_webhooks_over_the_rate_are_not_stored_and_told_when_to_come_again(tmp_path: Path) -> None:
    async with house(tmp_path, "rate: 3/m\n") as bridge:
        answers = [await bridge.post() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
        assert answers[-1].headers["retry-after"] == "20"
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert "connection" not in answers[-1].headers
        assert len(bridge.stored()) == 3
        assert bridge.refused("too_many_webhooks") == 2
        assert (await bridge.post(forged=True)).status_code == 401
        bridge.hand.at += 20.001
        assert [(await bridge.post()).status_code for _ in range(2)] == [202, 429]


async def test_forged_webhooks_use_up_nothing_of_the_rate(tmp_path: Path) -> None:
    async with house(tmp_path, "rate: 1/h\n") as bridge:
        for _ in range(5):
            assert (await bridge.post(forged=True)).status_code == 401
        assert (await bridge.post()).status_code == 202


@pytest.mark.parametrize(
    ("keys", "told", "status"),
    [
        ("addresses: [127.0.0.0/8]", {}, 202),
        ("addresses: [192.0.2.0/24, '2001:db8::/32']", {}, 403),
        ("addresses: [192.0.2.0/24]", {"x-forwarded-for": "192.0.2.7"}, 403),
        ("addresses: [192.0.2.0/24]\ntrusted_proxies: [127.0.0.1]", {"x-forwarded-for": "192.0.2.7"}, 202),
        ("addresses: [192.0.2.0/24]\ntrusted_proxies: [127.0.0.1]", {"x-forwarded-for": "192.0.2.7, 6.6.6.6"}, 403),
        ("addresses: [192.0.2.0/24]\ntrusted_proxies: [127.0.0.1]", {"forwarded": "for=192.0.2.7"}, 202),
        ("addresses: [192.0.2.0/24]\ntrusted_proxies: [127.0.0.1]", {}, 403),
        ("addresses: [192.0.2.0/24]\ntrusted_proxies: [10.0.0.1]", {"x-forwarded-for": "192.0.2.7"}, 403),
    ],
)
async def test_only_the_addresses_of_a_source_are_served(
    tmp_path: Path, keys: str, told: dict[str, str], status: int
) -> None:
    async with house(tmp_path, keys + "\n") as bridge:
        answer = await bridge.post(told)
        assert answer.status_code == status
        assert bridge.refused("address_not_allowed") == (status == 403)
        assert len(bridge.stored()) == (status == 202)


async def test_what_the_bridge_says_of_addresses_holds_where_a_source_says_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, addresses=["192.0.2.0/24"], trusted_proxies=["127.0.0.1"]) as bridge:
        assert (await bridge.post()).status_code == 403
        assert (await bridge.post({"x-forwarded-for": "192.0.2.1"})).status_code == 202
        with logged() as log:
            await bridge.client.post("/webhooks/nobody", headers={"x-forwarded-for": "198.51.100.1"})
        assert log.named(logs.WEBHOOK_REFUSED)[0]["client"] == "198.51.100.1"


async def test_a_source_may_say_otherwise(tmp_path: Path) -> None:
    keys = "addresses: [127.0.0.1]\ntrusted_proxies: []\n"
    async with house(tmp_path, keys, addresses=["192.0.2.0/24"], trusted_proxies=["127.0.0.1"]) as bridge:
        assert (await bridge.post({"x-forwarded-for": "192.0.2.1"})).status_code == 202


async def test_the_longest_head_is_that_of_the_source(tmp_path: Path) -> None:
    async with house(tmp_path, "max_headers: 1KiB\n") as bridge:
        assert (await bridge.post()).status_code == 202
        assert (await bridge.post({"X-More": "m" * 1024})).status_code == 431
        assert bridge.refused("headers_too_large") == 1


async def test_the_deepest_body_is_that_of_the_source(tmp_path: Path) -> None:
    async with house(tmp_path, "max_depth: 3\nrespond: {unreadable: 299}\n") as bridge:
        assert (await bridge.post(body=b'{"a": {"b": []}}')).status_code == 202
        assert (await bridge.post(body=b'{"a": {"b": [{}]}}')).status_code == 299


@pytest.mark.parametrize(("keys", "limit"), [("max_body: 100", 100), ("max_body: 2000", 2000), ("", 1000)])
async def test_the_largest_body_is_that_of_the_source(tmp_path: Path, keys: str, limit: int) -> None:
    async with house(tmp_path, keys + "\n", listen={"max_body": 1000}) as bridge:
        body = b'"' + b"x" * (limit - 2) + b'"'
        assert (await bridge.post(body=body)).status_code == 202
        refused = await bridge.post(body=body + b" ")
        assert (refused.status_code, refused.headers["connection"]) == (413, "close")
        assert str(limit) in refused.json()["detail"]
        assert bridge.stored() == [(limit, "ignored")]


@pytest.mark.parametrize("encoding", ["compress", "gzip, br", "snappy"])
async def test_an_encoding_that_nobody_here_can_undo_is_415(tmp_path: Path, encoding: str) -> None:
    async with house(tmp_path) as bridge:
        refused = await bridge.post({"content-encoding": encoding})
        assert (refused.status_code, refused.headers["accept-encoding"]) == (415, "gzip, deflate, br, zstd")
        assert bridge.refused("content_encoding") == 1
        twice = [*by_github(BODY).items(), ("content-encoding", "gzip"), ("content-encoding", "gzip")]
        assert (await bridge.client.post("/webhooks/github", content=BODY, headers=twice)).status_code == 415
        assert bridge.stored() == []


async def test_a_compressed_body_is_verified_and_stored_as_it_came(tmp_path: Path) -> None:
    async with house(tmp_path, "max_body: 1KiB\n") as bridge:
        body, bomb = gzip.compress(BODY), gzip.compress(b"[" + b"0," * 600 + b"0]")
        assert (await bridge.post({"content-encoding": "gzip"}, body=body)).status_code == 202
        assert (await bridge.post({"content-encoding": "gzip"}, body=bomb)).status_code == 202
        assert (await bridge.post({"content-encoding": "br"}, body=b"damaged")).status_code == 202
        assert bridge.stored() == [(len(body), "ignored"), (len(bomb), "unreadable"), (7, "unreadable")]
        with reader.reading(bridge.store) as connection:
            damaged, large, _ = (
                reader.show_webhook(connection, webhook["id"])["error"]
                for webhook in reader.list_webhooks(connection, reader.Filter())
            )
        assert "damaged" in damaged
        assert "larger than 1024 bytes when it is decompressed" in large


async def test_a_flood_of_refusals_is_told_by_a_bounded_number_of_lines(tmp_path: Path) -> None:
    async with house(tmp_path) as bridge:
        with logged() as log:
            for _ in range(400):
                await bridge.client.get("/webhooks/github")
            told = log.named(logs.WEBHOOK_REFUSED)
            assert len(told) == 300
            bridge.hand.at += 1
            await bridge.client.get("/webhooks/github")
        last = log.named(logs.WEBHOOK_REFUSED)[-1]
        assert (last["reason"], last["left_out"]) == ("method", 100)
        assert bridge.refused("method") == 401
