"""What takes long is mapped off the loop, behind what its source has there, and not where it repeats what is stored."""

import asyncio
import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from forwarding.support import logged
from msgspec.structs import replace

from bridge.errors import Refused
from bridge.mapping.rules import Rules
from bridge.mapping.steps import Steps
from bridge.model import Content, Receipt, Webhook, WebhookState
from bridge.observing import logs
from bridge.receiving.off_loop import OffLoop
from bridge.receiving.processing import Processor, process, steps
from receiving.support import Receiving
from receiving.test_intake import House, house_in, request

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path) as made:
        yield made


@pytest.fixture
def off_loop() -> Iterator[OffLoop]:
    made = OffLoop()
    yield made
    made.close()


class Long(Rules):
    """Rules that always take long."""

    ended: ClassVar[list[str]] = []  # the ids of webhooks; each test has a class of its own

    def steps(self, webhook: Webhook, body: Any, *, explain: bool = False) -> Steps:
        yield self._dedupe_key(webhook, {"body": body, "headers": webhook.headers, "query": {}, "source": ""}) or ""
        self.ended.append(webhook.id)
        return (yield from super().steps(webhook, body, explain=explain))


def long_intake(house: House, off_loop: OffLoop) -> tuple[Receiving, type[Long]]:
    kind = type("Long", (Long,), {"ended": []})
    rules = house.source.rules
    source = dataclasses.replace(
        house.source, rules=kind(**{name: getattr(rules, name) for name in rules.__dataclass_fields__})
    )
    sources = {"github": source, "other": dataclasses.replace(house.source, name="other")}
    return Receiving(sources, house.store, house.metrics, lambda _: None, off_loop=off_loop), kind


async def test_what_takes_long_waits_behind_its_own_source_and_others_do_not(house: House, off_loop: OffLoop) -> None:
    intake, rules = long_intake(house, off_loop)
    async with off_loop.turn("github", 1):
        waiting = asyncio.create_task(intake.receive(request(b'{"number": 7}', "one")))
        quick = await intake.receive(replace(request(b'{"number": 8}'), source="other"))
        assert quick.state is WebhookState.MAPPED
        assert not waiting.done()
    receipt = await waiting
    assert (receipt.state, receipt.duplicate, len(receipt.event_ids)) == (WebhookState.MAPPED, False, 1)
    assert rules.ended == [receipt.webhook_id]


async def test_a_duplicate_that_would_take_long_is_told_before_it_is_mapped(house: House, off_loop: OffLoop) -> None:
    intake, rules = long_intake(house, off_loop)
    first = await intake.receive(request(b'{"number": 7}', "one"))
    with logged() as log:
        again = await intake.receive(request(b'{"number": 7}', "one"))
    assert again == Receipt(
        webhook_id=first.webhook_id, event_ids=first.event_ids, state=WebhookState.MAPPED, duplicate=True
    )
    assert rules.ended == [first.webhook_id]
    (line,) = log.named(logs.WEBHOOK_ACCEPTED)
    assert (line["webhook_id"], line["duplicate"], line["events"]) == (first.webhook_id, True, 1)
    assert house.count("webhook_duplicates", source="github") == 1


async def test_of_some_that_come_together_the_later_are_told_when_their_turn_comes(
    house: House, off_loop: OffLoop
) -> None:
    intake, rules = long_intake(house, off_loop)
    receipts = await asyncio.gather(*(intake.receive(request(b'{"number": 7}', "one")) for _ in range(3)))
    assert sorted(receipt.duplicate for receipt in receipts) == [False, True, True]
    assert len({receipt.webhook_id for receipt in receipts}) == 1
    assert len(rules.ended) == 1


async def test_a_webhook_without_an_id_is_no_duplicate_of_another(house: House, off_loop: OffLoop) -> None:
    intake, rules = long_intake(house, off_loop)
    receipts = [await intake.receive(request(b'{"number": 7}')) for _ in range(2)]
    assert [receipt.duplicate for receipt in receipts] == [False, False]
    assert len(rules.ended) == 2


async def test_a_duplicate_of_a_failed_one_is_mapped_again_though_it_takes_long(
    house: House, off_loop: OffLoop
) -> None:
    intake, rules = long_intake(house, off_loop)
    failed = await intake.receive(request(b'{"number": "x"}', "one"))
    assert failed.state is WebhookState.FAILED
    again = await intake.receive(request(b'{"number": "x"}', "one"))
    assert (again.duplicate, again.state) == (True, WebhookState.FAILED)
    assert rules.ended == [failed.webhook_id] * 2


async def test_a_source_that_is_too_busy_asks_its_sender_to_come_again(house: House) -> None:
    off_loop = OffLoop(room=100_000)
    intake, _ = long_intake(house, off_loop)
    async with off_loop.turn("github", 1):
        waiting = asyncio.create_task(intake.receive(request(b'{"number": 7}', "one")))
        await asyncio.sleep(0)
        with logged() as log, pytest.raises(Refused) as refused:
            await intake.receive(request(b'{"number": 8}', "two"))
    assert (refused.value.reason, refused.value.retry_after) == ("source_busy", 10)
    assert [line["reason"] for line in log.named(logs.WEBHOOK_REFUSED)] == ["source_busy"]
    assert (await waiting).state is WebhookState.MAPPED
    assert len(house.webhooks()) == 1
    off_loop.close()


async def test_a_stored_webhook_is_mapped_aside_however_short_it_takes(house: House, off_loop: OffLoop) -> None:
    webhook = house.source.verifier.verify(request(b'{"number": 7}', "one"), request(b"").received_at)
    async with off_loop.turn("github", 1):
        aside = asyncio.create_task(Processor(off_loop).process_aside(house.source.rules, webhook))
        await asyncio.sleep(0)
        assert not aside.done()
    assert await aside == process(house.source.rules, webhook)


# Bodies that take long to read


@pytest.mark.parametrize(
    ("content", "size", "long"),
    [
        (Content.JSON, 60_000, False),
        (Content.JSON, 70_000, True),
        (Content.FORM, 70_000, True),
        (Content.XML, 30_000, False),
        (Content.XML, 40_000, True),
        (Content.TEXT, 1_000_000, False),
        (Content.ANY, 2_000_000, True),
    ],
)
def test_a_long_body_is_read_off_the_loop(content: Content, size: int, long: bool) -> None:
    rules = Rules((), None, {}, content=content, max_body=4_000_000)
    assert (next(steps(rules, _webhook(b"x" * size)), "none") is None) is long


def test_a_compressed_body_may_be_long() -> None:
    rules = Rules((), None, {})
    short, long = (gzip.compress(b'{"a": "%s"}' % (b"a" * size)) for size in (10, 10_000_000))
    assert next(steps(rules, _webhook(short, **{"content-encoding": "gzip"})), "none") == "none"
    assert next(steps(rules, _webhook(long, **{"content-encoding": "gzip"})), "none") is None
    assert process(rules, _webhook(long, **{"content-encoding": "gzip"})).state is WebhookState.UNREADABLE


def _webhook(body: bytes, **headers: str) -> Webhook:
    return Webhook(
        id="wh_1", source="shop", received_at=0, method="POST", query="", headers=headers, body=body, delivery_id="one"
    )
