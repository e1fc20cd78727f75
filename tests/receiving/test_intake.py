"""From a request to a receipt, on a real store: what is verified is stored before the receipt, and nothing else is."""

import asyncio
import dataclasses
import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand
from databases import sqlite_at
from forwarding.support import logged
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping.support import rules
from msgspec.structs import replace
from running import by_github

from bridge.errors import NotVerified, Refused, StoreUnavailable
from bridge.mapping.bounds import MAX_ITEMS
from bridge.mapping.rules import Rules
from bridge.mapping.steps import Steps
from bridge.model import Content, Request, WebhookState
from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.processing import process
from bridge.receiving.sources import CompiledSource
from bridge.service import composition
from bridge.settings.parsing import Rate
from bridge.store import reader
from bridge.store.store import Store, owned
from receiving.support import Receiving

NOW = 1_800_000_000_000
BRIDGE = {
    "targets": {
        name: {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}
        for name in ("crm", "notes")
    },
    "default_target": "crm",
}
SOURCE = """
verify: {scheme: github, secrets: [old, a-secret-of-the-tests]}
rules:
  - name: numbered
    when: body.number > 0
    event: {type: Run, attributes: {number: "{{ body.number }}"}}
  - name: noted
    when: body.note is defined
    target: notes
    event: {type: Run, attributes: {note: "{{ body.note | int }}"}}
"""


class House:
    """An intake on a store of its own, and what one can see of both."""

    def __init__(self, directory: Path, store: Store, source: CompiledSource) -> None:
        self.url = f"sqlite:///{directory}/bridge.db"
        self.store = store
        self.source = source
        self.metrics = Metrics()
        self.woken: list[set[str]] = []
        self.intake = self.with_rules(source.rules)

    def with_rules(self, rules: Rules) -> Receiving:
        source = dataclasses.replace(self.source, rules=rules)
        return Receiving({"github": source}, self.store, self.metrics, lambda names: self.woken.append(set(names)))

    def webhooks(self) -> list[dict[str, Any]]:
        with reader.reading(self.url) as connection:
            return reader.list_webhooks(connection, reader.Filter())

    def events(self) -> list[dict[str, Any]]:
        with reader.reading(self.url) as connection:
            return reader.list_events(connection, reader.Filter())

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"bridge_{name}_total", labels) or 0


@contextmanager
def house_in(directory: Path) -> Iterator[House]:
    (directory / "config" / "sources").mkdir(parents=True)
    (directory / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE))
    (directory / "config" / "sources" / "github.yaml").write_text(SOURCE)
    source = composition.build(directory / "config").sources["github"]
    with owned(sqlite_at(directory / "bridge.db")) as engine:
        store = Store(engine, Hand(NOW))
        try:
            yield House(directory, store, source)
        finally:
            store.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with house_in(tmp_path) as made:
        yield made


def request(body: bytes, delivery: str | None = None, **headers: str) -> Request:
    signed = by_github(body, delivery) | headers
    return Request(
        source="github",
        method="POST",
        path="/webhooks/github",
        query=b"",
        headers=tuple((name.lower().encode(), value.encode()) for name, value in signed.items()),
        body=body,
        received_at=NOW,
        client="192.0.2.1",
    )


CLOSED = "name: closed, when: body.action == 'closed', event: {type: T, attributes: {a: b}}"
OPENED = "name: opened, event: {type: T, attributes: {who: '{{ body.sender.login }}'}}"
MANY = "name: many, for_each: body.lines, event: {type: T}"


class Failing(Rules):
    """Rules that fail as only a bug would."""

    def steps(self, *_: Any, **__: Any) -> Steps:
        raise ZeroDivisionError("confidential")


@pytest.mark.anyio
async def test_a_receipt_means_that_the_webhook_and_its_events_are_stored(house: House) -> None:
    receipt = await house.intake.receive(request(b'{"number": 7, "note": 5}', "one"))
    (webhook,) = house.webhooks()
    assert (webhook["id"], webhook["state"], webhook["dedupe_key"]) == (receipt.webhook_id, "mapped", "one")
    assert tuple(webhook["events"]) == receipt.event_ids
    assert [(event["rule"], event["target"], event["state"]) for event in reversed(house.events())] == [
        ("numbered", "crm", "pending"),
        ("noted", "notes", "pending"),
    ]
    assert house.woken == [{"crm", "notes"}]
    assert house.count("webhooks", source="github", state="mapped") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "state", "events"),
    [
        (b'{"number": 0}', WebhookState.IGNORED, 0),
        (b'{"note": 5}', WebhookState.FAILED, 1),
        (b'{"number": 1, "note": "n"}', WebhookState.FAILED, 1),
        (b"no JSON", WebhookState.UNREADABLE, 0),
        (b"", WebhookState.UNREADABLE, 0),
    ],
)
async def test_whatever_the_rules_make_of_it_a_verified_webhook_is_stored(
    house: House, body: bytes, state: WebhookState, events: int
) -> None:
    receipt = await house.intake.receive(request(body))
    assert (receipt.state, len(receipt.event_ids), receipt.duplicate) == (state, events, False)
    assert [webhook["state"] for webhook in house.webhooks()] == [state]
    assert house.count("webhooks", source="github", state=state) == 1


@pytest.mark.anyio
async def test_nothing_of_an_unproven_request_is_stored(house: House) -> None:
    forged = replace(request(b'{"number": 7}'), body=b'{"number": 8}')
    with pytest.raises(NotVerified):
        await house.intake.receive(forged)
    assert house.webhooks() == []
    assert house.woken == []
    assert house.count("webhooks_refused", source="github", reason="signature_mismatch") == 1


@pytest.mark.anyio
async def test_a_duplicate_repeats_the_first_receipt(house: House) -> None:
    first = await house.intake.receive(request(b'{"number": 7}', "one"))
    again = await house.intake.receive(request(b'{"number": 7}', "one"))
    assert again == replace(first, duplicate=True)
    assert len(house.webhooks()) == len(house.events()) == 1
    assert house.count("webhook_duplicates", source="github") == 1
    assert house.count("webhooks", source="github", state="mapped") == 1


@pytest.mark.anyio
async def test_a_duplicate_with_another_body_is_a_warning_and_counted(house: House) -> None:
    first = await house.intake.receive(request(b'{"number": 1}', "one"))
    with logged() as log:
        again = await house.intake.receive(request(b'{"number": 2}', "one"))
        same = await house.intake.receive(request(b'{"number": 1}', "one"))
    assert (again.webhook_id, again.event_ids, again.differs) == (first.webhook_id, first.event_ids, True)
    assert not same.differs
    lines = log.named(logs.WEBHOOK_ACCEPTED)
    assert [(line["log_level"], line.get("differs")) for line in lines] == [("warning", True), ("info", None)]
    assert [event["attributes"] for event in house.events()] == [{"number": 1}]
    assert house.count("webhook_duplicates", source="github") == 2
    assert house.count("webhook_duplicates_differing", source="github") == 1


@pytest.mark.anyio
async def test_a_duplicate_of_a_failed_webhook_differs_though_that_is_mapped_again(house: House) -> None:
    failed = await house.intake.receive(request(b'{"note": "n"}', "one"))
    again = await house.intake.receive(request(b'{"note": 5}', "one"))
    assert (again.webhook_id, again.state, again.differs) == (failed.webhook_id, WebhookState.FAILED, True)


@pytest.mark.anyio
async def test_without_a_delivery_id_nothing_is_a_duplicate(house: House) -> None:
    receipts = [await house.intake.receive(request(b'{"number": 7}')) for _ in range(2)]
    assert len({receipt.webhook_id for receipt in receipts}) == 2
    assert len(house.webhooks()) == 2


@pytest.mark.anyio
async def test_a_forged_webhook_does_not_use_up_a_delivery_id(house: House) -> None:
    with pytest.raises(NotVerified):
        await house.intake.receive(replace(request(b"{}", "one"), body=b"[]"))
    assert not (await house.intake.receive(request(b'{"number": 7}', "one"))).duplicate


@pytest.mark.anyio
async def test_a_bug_in_mapping_stores_the_webhook_as_failed_and_sending_it_again_remaps_it(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = house.source.rules
    failing = house.with_rules(Failing(**{name: getattr(rules, name) for name in rules.__dataclass_fields__}))

    failed = await failing.receive(request(b'{"number": 7}', "one"))

    assert (failed.state, failed.event_ids, failed.duplicate) == (WebhookState.FAILED, (), False)
    (webhook,) = house.webhooks()
    assert webhook["dedupe_key"] == "one"
    assert "ZeroDivisionError" in webhook["error"]
    assert "confidential" not in webhook["error"] + capsys.readouterr().out
    again = await failing.receive(request(b'{"number": 7}', "one"))
    assert (again.state, again.duplicate) == (WebhookState.FAILED, True)

    mended = await house.intake.receive(request(b'{"number": 7}', "one"))

    assert (mended.webhook_id, mended.state, mended.duplicate) == (failed.webhook_id, WebhookState.MAPPED, True)
    assert [event["id"] for event in house.events()] == list(mended.event_ids)
    assert house.woken[-1] == {"crm"}
    assert [webhook["state"] for webhook in house.webhooks()] == ["mapped"]


@pytest.mark.anyio
async def test_a_webhook_that_broke_a_bound_is_not_mapped_again_by_its_duplicates(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"number": 7, "lines": [1] * (MAX_ITEMS + 1)}).encode()
    numbered, _ = house.source.rules.rules
    many = dataclasses.replace(house.source.rules, rules=(numbered, *rules(MANY).rules))
    failed = await house.with_rules(many).receive(request(body, "one"))
    assert (failed.state, failed.event_ids, failed.bounded) == (WebhookState.FAILED, (), True)

    again = await house.intake.receive(request(body, "one"))  # though today's rules would make an event of it

    assert again == replace(failed, duplicate=True)
    assert "the same as when it first came, which `bridge webhooks show` tells" in capsys.readouterr().out
    assert house.events() == []
    assert house.webhooks()[0]["error"].startswith("no event is made: many: for_each: `body.lines` gives 10,001 items")

    stored = await house.store.load(failed.webhook_id)
    remapped = await house.store.remap(stored, process(house.source.rules, stored))
    assert (remapped.state, len(remapped.event_ids), remapped.bounded) == (WebhookState.MAPPED, 1, False)


@pytest.mark.anyio
async def test_what_will_not_be_sent_is_logged_with_the_reason(house: House) -> None:
    shadow = dataclasses.replace(
        house.source.rules, rules=tuple(dataclasses.replace(rule, send=False) for rule in house.source.rules.rules)
    )
    with logged() as log:
        receipt = await house.with_rules(shadow).receive(request(b'{"number": 7}', "one"))
        again = await house.with_rules(shadow).receive(request(b'{"number": 7}', "one"))
    assert again.duplicate
    told = [(line["event_id"], line["reason"]) for line in log.named(logs.EVENT_DISCARDED)]
    assert told == [(receipt.event_ids[0], "shadow")]


@pytest.mark.anyio
async def test_a_duplicate_that_is_remapped_tells_what_it_discards_and_wakes_all_targets(house: House) -> None:
    body = b'{"number": 7, "note": "n"}'
    failed = await house.intake.receive(request(body, "one"))
    assert (failed.state, len(failed.event_ids)) == (WebhookState.FAILED, 1)
    none = dataclasses.replace(house.source.rules, rules=())
    with logged() as log:
        receipt = await house.with_rules(none).receive(request(body, "one"))
    assert (receipt.duplicate, receipt.state) == (True, WebhookState.IGNORED)
    told = [(line["event_id"], line["reason"]) for line in log.named(logs.EVENT_DISCARDED)]
    assert told == [(failed.event_ids[0], "remapped")]
    assert {"crm", "notes"} in house.woken


@pytest.mark.anyio
async def test_a_store_that_cannot_commit_is_told_to_the_sender(house: House, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "bridge.db") as other:
        other.execute("ALTER TABLE webhooks RENAME TO gone")
    other.close()
    with pytest.raises(StoreUnavailable):
        await house.intake.receive(request(b'{"number": 7}', "one"))
    assert house.count("webhooks_refused", source="github", reason="store_unavailable") == 1
    assert house.woken == []
    with sqlite3.connect(tmp_path / "bridge.db") as other:
        other.execute("ALTER TABLE gone RENAME TO webhooks")
    other.close()
    receipt = await house.intake.receive(request(b'{"number": 7}', "one"))
    assert not receipt.duplicate, "a webhook that was not stored has not claimed its delivery id"
    assert len(house.events()) == 1


def test_any_genuine_body_is_accepted(tmp_path_factory: pytest.TempPathFactory) -> None:
    body = st.binary(max_size=200) | st.fixed_dictionaries(
        {}, optional={"number": st.integers() | st.text(), "note": st.text() | st.none()}
    ).map(lambda value: json.dumps(value).encode())
    with house_in(tmp_path_factory.mktemp("any")) as house, asyncio.Runner() as runner:

        @settings(max_examples=60)
        @given(body, st.none() | st.text(st.characters(codec="ascii", exclude_characters="\r\n\0"), max_size=300))
        def accepted(content: bytes, delivery: str | None) -> None:
            receipt = runner.run(house.intake.receive(request(content, delivery)))
            with reader.reading(house.url) as connection:
                stored = reader.show_webhook(connection, receipt.webhook_id)
            assert stored["events"] == list(receipt.event_ids)
            assert stored["state"] == receipt.state

        accepted()


@pytest.mark.anyio
async def test_an_unreadable_webhook_is_read_again_from_what_came_when_its_content_is_corrected(house: House) -> None:
    rules = house.source.rules
    came = gzip.compress(b"number=7&note=5")
    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    wrong = await house.with_rules(dataclasses.replace(rules, rules=rules.rules[1:])).receive(
        request(came, "one", **form)
    )
    assert wrong.state is WebhookState.UNREADABLE
    corrected = dataclasses.replace(rules, rules=rules.rules[1:], content=Content.FORM)
    read = await house.with_rules(corrected).receive(request(came, "one", **form))
    assert (read.webhook_id, read.duplicate, read.state) == (wrong.webhook_id, True, WebhookState.MAPPED)
    assert [event["attributes"] for event in house.events()] == [{"note": 5}]
    assert [webhook["size"] for webhook in house.webhooks()] == [len(came)]


@pytest.mark.anyio
async def test_over_the_rate_a_genuine_webhook_is_refused_before_it_claims_its_delivery_id(house: House) -> None:
    settings_ = house.source.settings.model_copy(update={"rate": Rate(1, 1000)})
    moment = 0.0
    intake = Receiving(
        {"github": dataclasses.replace(house.source, settings=settings_)},
        house.store,
        house.metrics,
        lambda _: None,
        monotonic=lambda: moment,
    )
    await intake.receive(request(b'{"number": 7}', "one"))
    with pytest.raises(Refused) as raised:
        await intake.receive(request(b'{"number": 7}', "two"))
    assert (raised.value.reason, raised.value.retry_after) == ("too_many_webhooks", 1)
    moment = 1.0
    assert not (await intake.receive(request(b'{"number": 7}', "two"))).duplicate
    assert len(house.webhooks()) == 2


@pytest.mark.anyio
async def test_another_configuration_maps_otherwise_and_forgets_nobody(house: House) -> None:
    rate_ = {"rate": Rate(1, 1000)}
    before = dataclasses.replace(house.source, settings=house.source.settings.model_copy(update=rate_))
    after = dataclasses.replace(before, rules=rules("name: new, event: {type: Run}"))
    intake = house.intake.intake
    forged = replace(request(b"{}"), body=b"[]", client="203.0.113.9")
    for _ in range(400):
        with pytest.raises((NotVerified, Refused)):
            await intake.receive(before, forged)
    with pytest.raises(Refused):
        await intake.receive(after, forged)  # who failed under the one is known under the other
    first = await intake.receive(before, request(b'{"number": 7}', "one"))
    with pytest.raises(Refused, match="too many webhooks"):
        await intake.receive(after, request(b'{"number": 7}', "two"))
    unbounded = dataclasses.replace(after, settings=house.source.settings)
    second = await intake.receive(unbounded, request(b'{"number": 7}', "two"))
    assert [event["rule"] for event in house.events() if event["id"] in second.event_ids] == ["new"]
    assert first.event_ids != second.event_ids


# what the line says


@pytest.mark.anyio
async def test_the_line_of_a_failed_webhook_says_what_broke_and_not_what_was_false(house: House) -> None:
    body = b'{"action": "opened", "sender": {"Login": "private"}}'
    with logged() as log:
        await house.with_rules(rules(CLOSED, OPENED)).receive(request(body))
    (line,) = log.named(logs.WEBHOOK_ACCEPTED)
    told = "attributes.who: `body.sender.login` is missing: `body.sender` has no such key in `{{ body.sender.login }}`"
    assert (line["state"], line["failed_rules"], line["why"]) == ("failed", ["opened"], f"opened: {told}")
    (webhook,) = house.webhooks()
    nearest = "the nearest key is `Login`; `| default(...)` gives a value where it may be"
    assert webhook["error"] == f"opened: {told}, {nearest}"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("target: '{{ body.x }}', event: {type: T}", "target: there is no target of this name"),
        ("event: {type: T, attributes: '{{ body }}'}", "attributes: the value holds a `;`, which separates pairs"),
        (
            "event: {type: T, attributes: {a: '{{ body.x }}'}}",
            "attributes.a: the value holds a `;`, which separates pairs",
        ),
        (
            "when: body.x | int, event: {type: T}",
            "when: `body.x | int`: needs a number, not text that is no plain number in `body.x | int`",
        ),
        ("event: {type: T, attributes: {a: \"{{ {'1': 2}[body.x] }}\"}}", "attributes.a: "),
        (
            "for_each: body.lines, event: {type: T, attributes: {a: '{{ item.id }}'}}",
            "item 0: attributes.a: `item.id` is missing",
        ),
    ],
)
async def test_the_line_holds_nothing_of_the_webhook(rule: str, told: str, house: House) -> None:
    body = b'{"x": "private;", "private": 1, "lines": [{"ids": "private"}]}'
    with logged() as log:
        await house.with_rules(rules(f"name: a, {rule}")).receive(request(body))
    (line,) = log.named(logs.WEBHOOK_ACCEPTED)
    assert line["why"].startswith(f"a: {told}")
    assert "private" not in str(line)


@pytest.mark.anyio
async def test_the_line_of_an_unreadable_webhook_says_so_too(house: House) -> None:
    with logged() as log:
        await house.intake.receive(request(b"private"))
        await house.with_rules(Failing(rules=(), dedupe=None, targets={})).receive(request(b"{}"))
    unreadable, failed = log.named(logs.WEBHOOK_ACCEPTED)
    assert unreadable["why"].startswith("the body is not JSON")
    assert "private" not in unreadable["why"]
    assert failed["why"] == "the bridge itself failed (ZeroDivisionError), please report it"


@pytest.mark.anyio
async def test_what_was_put_right_is_marked_in_the_record_and_in_the_line(house: House) -> None:
    mended, sound = b'{"number": 7, "text": "see you \\ud83d"}', b'{"number": 8}'
    with logged() as log:
        for body, delivery in ((mended, "one"), (sound, "two")):
            await house.intake.receive(request(body, delivery))
    assert [webhook["repaired"] for webhook in house.webhooks()] == [False, True]  # newest first
    assert [line.get("repaired") for line in log.named(logs.WEBHOOK_ACCEPTED)] == [True, None]


@pytest.mark.anyio
async def test_a_remap_tells_anew_whether_something_was_put_right(house: House) -> None:
    receipt = await house.intake.receive(request(b'{"number": 7, "text": "\\ud83d"}', "one"))
    webhook = await house.store.load(receipt.webhook_id)
    await house.store.remap(webhook, replace(process(house.source.rules, webhook), repaired=False))
    assert [stored["repaired"] for stored in house.webhooks()] == [False]


@pytest.mark.anyio
async def test_a_rule_sees_a_header_in_utf_8(house: House) -> None:
    house.intake = house.with_rules(rules("name: a, when: \"headers['x-topic'] == 'Åse/création'\", event: {type: T}"))
    receipt = await house.intake.receive(request(b"{}", "one", **{"X-Topic": "Åse/création"}))
    assert receipt.state is WebhookState.MAPPED
