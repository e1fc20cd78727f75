"""Webhooks whose proof needs a key from elsewhere: fetched over TLS, then stored; without the key, nothing is."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from authorities import Answer, Elsewhere, authority, publishing
from clocks import Hand
from databases import sqlite_at
from msgspec.structs import replace

from bridge.errors import KeyUnavailable, NotVerified, Refused
from bridge.model import Request
from bridge.observing.metrics import Metrics
from bridge.receiving.verification.remote_keys import Download, download
from bridge.service import composition
from bridge.store import reader
from bridge.store.store import Store, owned
from receiving.support import Receiving

from .verification.genuine import AMAZON, CERT_OF_SNS, PUBLISHED, SCHEMES, TOPIC, signed_by_amazon, sns_message
from .verification.support import NOW, request

AUTHORITY = authority()
HOST = AUTHORITY.issue("sns.eu-west-1.amazonaws.com")
PATH = CERT_OF_SNS.removeprefix("https://sns.eu-west-1.amazonaws.com")
BRIDGE = {
    "targets": {"crm": {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}},
}
RULES = [{"name": "all", "event": {"type": "Run", "attributes": {"id": "{{ body.MessageId }}"}}}]


class House:
    """An intake for messages of SNS, and what it stored."""

    def __init__(self, directory: Path, store: Store, built: composition.Generation, fetch: Download) -> None:
        self._url = f"sqlite:///{directory}/bridge.db"
        self._metrics = Metrics()
        self.intake = Receiving(built.sources, store, self._metrics, lambda _: None, fetch)

    async def receive(self, asked: Request) -> str:
        """The state of the webhook, or why it is none."""
        try:
            return (await self.intake.receive(replace(asked, source="sns"))).state
        except KeyUnavailable as error:
            return f"later: {error.reason}"
        except (NotVerified, Refused) as error:
            return error.reason

    def refusals(self, reason: str) -> float:
        labels = {"source": "sns", "reason": reason}
        return self._metrics.registry.get_sample_value("bridge_webhooks_refused_total", labels) or 0

    def stored(self) -> int:
        with reader.reading(self._url) as connection:
            return len(reader.list_webhooks(connection, reader.Filter()))


@contextmanager
def house_in(directory: Path, fetch: Download) -> Iterator[House]:
    (directory / "config" / "sources").mkdir(parents=True, exist_ok=True)
    (directory / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE))
    failures = {"at_once": 1, "rate": "1/h"}
    for name, scheme in (("sns", "aws-sns"), ("grid", "bearer")):
        source = {"verify": SCHEMES[scheme].settings, "rules": RULES, "failures": failures}
        (directory / "config" / "sources" / f"{name}.yaml").write_text(json.dumps(source))
    path = directory / "bridge.db"
    with owned(f"sqlite:///{path}" if path.exists() else sqlite_at(path)) as engine:
        store = Store(engine, Hand(NOW))
        try:
            yield House(directory, store, composition.build(directory / "config"), fetch)
        finally:
            store.close()


def message(number: int, **changed: str) -> Request:
    signed = signed_by_amazon(sns_message(NOW, MessageId=str(number), **changed))
    return request(json.dumps(signed).encode(), {"content-type": "text/plain; charset=UTF-8"})


@pytest.mark.anyio
async def test_a_certificate_is_fetched_once_for_all_that_need_it(tmp_path: Path) -> None:
    async with publishing(HOST, {PATH: Answer(AMAZON.pem, after=0.02)}) as published:
        with house_in(tmp_path, partial(download, transport=Elsewhere(published.port, AUTHORITY))) as house:
            told = await asyncio.gather(*(house.receive(message(number)) for number in range(20)))
            assert told == ["mapped"] * 20
            assert house.stored() == 20
            assert published.asked == {PATH: 1}


@pytest.mark.anyio
async def test_while_the_certificate_cannot_be_had_the_sender_is_asked_to_come_again(tmp_path: Path) -> None:
    async with publishing(HOST, {PATH: Answer(status=503)}) as published:
        with house_in(tmp_path, partial(download, transport=Elsewhere(published.port, AUTHORITY))) as house:
            told = [await house.receive(message(number)) for number in range(3)]
            assert told == ["later: key_unavailable"] * 3  # and is not taken for a forger
            assert house.stored() == 0
            assert house.refusals("key_unavailable") == 3
            assert published.asked == {PATH: 1}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (replace(message(1), body=message(1).body.replace(b"An order", b"No order")), "signature_mismatch"),
        (message(1, SigningCertURL="https://evil.example/x.pem"), "key_url_refused"),
        (message(1, TopicArn=TOPIC + "s"), "topic_refused"),
    ],
)
async def test_what_is_forged_is_refused_and_not_stored(tmp_path: Path, asked: Request, reason: str) -> None:
    async with publishing(HOST, {PATH: Answer(AMAZON.pem)}) as published:
        with house_in(tmp_path, partial(download, transport=Elsewhere(published.port, AUTHORITY))) as house:
            assert await house.receive(asked) == reason
            assert house.stored() == 0
            assert published.asked == ({PATH: 1} if reason == "signature_mismatch" else {})
            assert await house.receive(asked) == "too_many_failures"


@pytest.mark.anyio
async def test_one_address_cannot_use_up_the_fetches_of_a_source(tmp_path: Path) -> None:
    """Else a stranger who names certificates that do not exist keeps the genuine one from being fetched."""
    asked: list[str] = []

    async def fetch(url: str) -> bytes:
        asked.append(url)
        if url != CERT_OF_SNS:
            raise KeyUnavailable("key_unavailable")
        return AMAZON.pem

    with house_in(tmp_path, fetch) as house:
        for number in range(50):
            forged = message(number, SigningCertURL=CERT_OF_SNS.replace(".pem", f"{number}.pem"))
            await house.receive(replace(forged, client="198.51.100.9"))
        assert len(asked) == 5
        assert await house.receive(message(1)) == "mapped"


def forged(number: int, client: str) -> Request:
    """A message whose certificate has a name that somebody made up."""
    made_up = CERT_OF_SNS.replace(".pem", f"{number}.pem")
    return replace(message(number, SigningCertURL=made_up), client=client)


class Fetching:
    """What publishes one certificate, and notes what else it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if url != CERT_OF_SNS:
            raise KeyUnavailable("key_unavailable")
        return AMAZON.pem


@pytest.mark.anyio
async def test_many_networks_of_one_site_have_the_fetches_of_one_address(tmp_path: Path) -> None:
    with house_in(tmp_path, fetch := Fetching()) as house:
        for number in range(50):
            await house.receive(forged(number, f"2001:db8:0:{number:02x}::1"))
        assert len(fetch.asked) == 5
        await house.receive(forged(50, "2001:db8:0:100::1"))
        assert len(fetch.asked) == 6


@pytest.mark.anyio
async def test_strangers_everywhere_leave_fetches_for_where_genuine_webhooks_came_from(tmp_path: Path) -> None:
    with house_in(tmp_path, fetch := Fetching()) as house:
        other = CERT_OF_SNS.replace(".pem", "other.pem")
        assert await house.receive(message(0)) == "mapped"
        for number in range(100):
            await house.receive(forged(number, f"198.51.100.{number}"))
        before = len(fetch.asked)
        assert await house.receive(replace(message(1, SigningCertURL=other), client="198.51.100.200")) == (
            "later: key_unavailable"
        )
        assert len(fetch.asked) == before
        await house.receive(message(2, SigningCertURL=other))
        assert fetch.asked[before:] == [other]


@pytest.mark.anyio
async def test_a_certificate_that_proved_itself_is_fetched_after_a_restart_whatever_strangers_ask_for(
    tmp_path: Path,
) -> None:
    with house_in(tmp_path, Fetching()) as house:
        assert await house.receive(message(0)) == "mapped"
    with house_in(tmp_path, fetch := Fetching()) as house:
        await house.intake.start()
        for number in range(100):
            await house.receive(forged(number, f"198.51.100.{number}"))
        assert CERT_OF_SNS not in fetch.asked
        assert await house.receive(message(1)) == "mapped"


@pytest.mark.anyio
async def test_event_grid_is_answered_at_set_up_only_where_it_shows_a_token(tmp_path: Path) -> None:
    question = b'[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "5a"}}]'

    async def keys(url: str) -> bytes:
        return PUBLISHED[url]

    with house_in(tmp_path, keys) as house:
        asked = replace(SCHEMES["bearer"].make(question, NOW), source="grid")
        asked = replace(asked, headers=(*asked.headers, (b"aeg-event-type", b"SubscriptionValidation")))
        reply = await house.intake.shake(asked)
        assert reply is not None
        assert json.loads(reply.body) == {"validationResponse": "5a"}
        with pytest.raises(NotVerified):
            await house.intake.shake(replace(asked, headers=asked.headers[1:]))
        assert house.stored() == 0
