"""What is shown before anything changes: counts, what would be new or fail, targets; and that only reading is done."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from targets import put_target

from bridge.errors import StoreError
from bridge.model import EventState, PauseReason
from bridge.operations.actions import remapping
from bridge.operations.naming import UnknownName
from bridge.operations.pauses import WORDS
from bridge.operations.queries import Queries
from bridge.store.actions import Action, Selection
from bridge.store.reader import Filter, Reader
from bridge.target_state import TargetState, TenantState
from operations.support import LINES, MINUTE, NOW, Office

pytestmark = pytest.mark.anyio

SHOP = Selection(filter=Filter(source="shop"))
BROKEN = LINES.replace("item.sku }}", "item.size }}")
MOMENT = "2023-11-14T22:13:20.000Z"


def queries(office: Office) -> Queries:
    return office.operator.queries


async def test_an_action_is_told_with_how_much_of_what_time_and_what_it_would_send_twice(office: Office) -> None:
    await office.receive_lines("a", "b")
    await office.bring(EventState.DELIVERED)
    office.hand.at += MINUTE
    await office.receive_lines("c")
    await office.bring(EventState.DEAD)
    before = office.events()
    assert queries(office).events(Action.REPLAY, SHOP) == {
        "count": 3,
        "oldest": "2023-11-14T22:13:20.000Z",
        "newest": "2023-11-14T22:14:20.000Z",
        "already_delivered": 2,
        "done": 0,
        "ids": [],
        "out_of_order": [],
    }
    assert office.events() == before
    assert office.woken == []


@pytest.mark.parametrize(("action", "count"), [(Action.REPLAY, 1), (Action.DISCARD, 1), (Action.RELEASE, 0)])
async def test_only_events_in_a_state_that_the_action_is_for_count(action: Action, count: int, office: Office) -> None:
    await office.receive_lines("a")
    await office.bring(EventState.DEAD)
    assert queries(office).events(action, SHOP)["count"] == count


async def test_an_erasure_is_told_with_how_much_of_what_time(office: Office) -> None:
    assert queries(office).webhooks(SHOP) == {"count": 0, "oldest": None, "newest": None, "done": 0}
    await office.receive_lines("a", "b")
    assert queries(office).webhooks(SHOP) == {"count": 1, "oldest": MOMENT, "newest": MOMENT, "done": 0}


async def test_an_id_that_is_not_there_is_named(office: Office) -> None:
    webhook = await office.receive_lines("a")
    (made,) = office.events()
    with pytest.raises(StoreError, match="there is no event ev_gone,"):
        queries(office).events(Action.REPLAY, Selection(ids=(made["id"], "ev_gone")))
    for look in (partial(remapping.preview, queries(office)), queries(office).webhooks):
        with pytest.raises(StoreError, match="there is no webhook wh_gone,"):
            look(Selection(ids=(webhook, "wh_gone")))


async def test_what_a_replay_would_send_out_of_order_is_told_as_the_deed_tells_it(office: Office) -> None:
    office.configuration.write(LINES.replace("    key:", "    order_by: item.customer\n    key:"))
    customers = [7, 7, 8, 8, 9, 7, None]
    await office.receive({"lines": [{"id": n, "sku": "a", "customer": of} for n, of in enumerate(customers)]})
    while claims := await office.claim():  # one of each key at a time
        for claim in claims:
            is_first = claim.text == "sku=a" and office.events()[0]["id"] == claim.event_id
            await office.end([claim], EventState.DEAD if is_first else EventState.DELIVERED)
    made = [event["id"] for event in office.events()]
    shown = queries(office).events(Action.REPLAY, SHOP)
    assert shown["out_of_order"] == [made[0], made[1], made[2]]  # each with a later one of its customer
    assert queries(office).events(Action.REPLAY, Selection(ids=tuple(made[3:])))["out_of_order"] == []
    done = await office.operator.events(Action.REPLAY, SHOP)
    assert done["out_of_order"] == shown["out_of_order"]
    assert queries(office).events(Action.DISCARD, SHOP)["out_of_order"] == []


# lists


async def test_a_filter_is_by_what_the_configuration_or_the_record_knows(office: Office) -> None:
    await office.receive_lines("a")
    office.configuration.write(LINES.replace("name: line", "name: renamed"))
    office.configuration.write(LINES, "forms")
    for filter_, events in (
        (Filter(source="forms"), 0),  # configured, and nothing came of it yet
        (Filter(rule="renamed"), 0),
        (Filter(target="erp"), 0),
        (Filter(rule="line", source="shop", target="crm", state="pending"), 1),  # on record
    ):
        assert len(queries(office).list_events(filter_)) == events
        assert len(queries(office).list_webhooks(replace(filter_, state=None))) == events
        assert queries(office).events(Action.DISCARD, Selection(filter=filter_))["count"] == events
    (office.configuration.directory / "sources" / "shop.yaml").unlink()
    assert len(queries(office).list_webhooks(Filter(source="shop"))) == 1


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        (Filter(source="shpo"), "^there is no source shpo, did you mean shop\\? the sources are shop$"),
        (Filter(rule="lines"), "^there is no rule lines, did you mean line\\? the rules are line$"),
        (Filter(target="crmm"), "^there is no target crmm, did you mean crm\\? the targets are crm, erp$"),
        (Filter(target="elsewhere"), "^there is no target elsewhere, the targets are crm, erp$"),
        (Filter(source=""), "^there is no source , the sources are shop$"),
        (Filter(source="x" * 10_000), "^there is no source x{64}, the sources are shop$"),
        (Filter(state="nope"), "^there is no state nope, the states are "),
        (Filter(state="ded"), "^there is no state ded, "),
    ],
)
async def test_a_filter_by_what_there_is_none_of_is_refused_with_the_nearest(
    filter_: Filter, told: str, office: Office
) -> None:
    selection = Selection(filter=filter_)
    for look in (
        lambda: queries(office).list_events(filter_),
        lambda: queries(office).list_webhooks(filter_),
        lambda: queries(office).events(Action.REPLAY, selection),
        lambda: queries(office).webhooks(selection),
        lambda: remapping.preview(queries(office), selection),
    ):
        with pytest.raises(UnknownName, match=told):
            look()
    for change in (
        office.operator.events(Action.REPLAY, selection),
        office.operator.remap(selection),
        office.operator.erase(selection),
    ):
        with pytest.raises(UnknownName):
            await change


async def test_a_file_that_cannot_be_read_may_hold_any_name(office: Office) -> None:
    names = office.configuration.names()
    office.configuration.write("rules: [", "forms")
    assert names.are_all
    assert not office.configuration.names().are_all
    assert looking_by(office).list_events(Filter(source="forms", rule="contact", target="x")) == []
    with pytest.raises(UnknownName, match="there is no state nope"):
        looking_by(office).list_events(Filter(state="nope"))


def looking_by(office: Office) -> Queries:
    """Without the rules, which need not be readable to look."""
    return Queries(reader=Reader(office.url), rules={}, names=office.configuration.names(), target_urls={})


# remap


async def test_a_remap_is_told_and_nothing_changes(office: Office) -> None:
    webhook = await office.receive_lines("a", "b")
    before = office.events()
    office.configuration.write(
        LINES.replace("    key:", "    when: item.sku == 'a'\n    key:")
        + LINES.split("rules:\n")[1].replace("name: line", "name: more\n    target: erp")
    )
    told = remapping.preview(queries(office), SHOP)
    new = told.pop("new")
    assert [(one["webhook_id"], one["rule"], one["target"]) for one in new] == [(webhook, "more", "erp")] * 2
    assert told == {
        "count": 1,
        "oldest": MOMENT,
        "newest": MOMENT,
        "done": 0,
        "replaced": 1,
        "untouched": 0,
        "already_delivered": 0,
        "discarded": 1,
        "new_count": 2,
        "failed_count": 0,
        "failed": [],
        "note": None,
    }
    assert office.events() == before
    assert office.woken == []
    await office.operator.remap(SHOP)
    assert {event["id"] for event in office.events()} == {event["id"] for event in [*before, *new]}


async def test_of_new_events_and_of_failures_all_are_counted_and_a_hundred_listed(office: Office) -> None:
    made = [await office.receive_lines("a") for _ in range(101)]
    office.configuration.write(BROKEN)
    told = remapping.preview(queries(office), SHOP)
    assert (told["failed_count"], len(told["failed"]), told["new_count"], told["new"]) == (101, 100, 0, [])
    assert [one["id"] for one in told["failed"]] == made[:100]
    office.configuration.write(LINES.replace("name: line", "name: renamed"))
    told = remapping.preview(queries(office), SHOP)
    assert (told["new_count"], len(told["new"]), told["failed_count"], told["failed"]) == (101, 100, 0, [])
    assert [one["webhook_id"] for one in told["new"]] == made[:100]


# targets


async def test_targets_are_those_configured_and_those_that_events_wait_for(office: Office) -> None:
    await office.receive_lines("a", "b")
    open_: dict[str, Any] = {"state": "open", "reason": None, "paused_at": None, "next_probe_at": None}
    open_ |= {"tenant": None, "tenant_state": None, "tenant_asked_at": None}
    open_ |= {"detail": None, "hint": None, "sending": 0, "held": 0, "stuck": 0}
    assert queries(office).targets() == [
        {"name": "crm", "url": "http://127.0.0.1:1/crm/api", **open_, "pending": 2} | {"oldest": MOMENT},
        {"name": "erp", "url": "http://127.0.0.1:1/erp/api", **open_, "pending": 0, "oldest": None},
    ]
    left = replace(queries(office), target_urls={})
    assert [(one["name"], one["url"], one["pending"]) for one in left.targets()] == [("crm", None, 2)]


async def test_what_does_not_go_on_by_itself_is_told_with_why(office: Office) -> None:
    await office.receive_lines("a", "b", "c")
    await office.end((await office.claim())[:1], EventState.HELD)
    await office.store.release(await office.claim())
    held = queries(office).target("crm")
    assert [held[name] for name in ("state", "detail", "hint", "held", "stuck")] == ["open", None, None, 1, 1]
    for reason, words in WORDS.items():
        state = TargetState(name="crm", paused_at=NOW, reason=reason, by_operator=reason == "operator")
        await put_target(office.store, state)
        told = queries(office).target("crm")
        assert (told["detail"], told["hint"], told["held"]) == (*words, 1)
        assert told["stuck"] == 1 + told["pending"] + told["sending"]
    left = replace(queries(office), target_urls={}, names=replace(office.configuration.names(), target=frozenset()))
    (told,) = left.targets()
    assert told["detail"] == "it is not in the configuration any more"
    assert told["stuck"] == 1 + told["pending"] + told["sending"]


async def test_an_event_that_is_sent_as_a_probe_does_not_go_on_by_itself_either(office: Office) -> None:
    await office.receive_lines("a")
    assert len(await office.claim()) == 1
    assert queries(office).target("crm")["stuck"] == 0
    await put_target(office.store, TargetState(name="crm", paused_at=NOW, reason="unauthorized"))
    told = queries(office).target("crm")
    assert [told[name] for name in ("pending", "sending", "stuck")] == [0, 1, 1]


async def test_the_oldest_of_what_waits_may_be_a_probe(office: Office) -> None:
    await office.receive_lines("a")
    office.hand.turn(MINUTE)
    assert len(await office.claim()) == 1
    assert queries(office).target("crm")["oldest"] is None  # of an open target, it goes on by itself
    await put_target(office.store, TargetState(name="crm", paused_at=NOW, reason="unauthorized"))
    assert queries(office).target("crm")["oldest"] == MOMENT
    await office.receive_lines("b")
    assert queries(office).target("crm")["oldest"] == MOMENT


async def test_why_nothing_becomes_of_events_that_are_in_no_state_for_it_is_told(office: Office) -> None:
    await office.receive_lines("a", "b")
    first, second = sorted(claim.event_id for claim in await office.claim())
    chosen = Selection(ids=(first, second))
    told = queries(office).events(Action.RELEASE, chosen)
    assert told["count"] == 0
    assert told["note"] == f"event {first} is sending, and release is for events that are held"
    told = queries(office).events(Action.DISCARD, chosen)
    assert told["note"].endswith(", and discard is for events that are pending, dead or held")
    assert "note" not in queries(office).events(Action.DISCARD, Selection(filter=Filter(state="held")))


def test_every_pause_has_words() -> None:
    assert set(WORDS) == set(PauseReason)


async def test_a_tenant_is_told_as_it_was_when_it_was_last_asked_for(office: Office) -> None:
    url = "https://online3.superoffice.com/Cust12345/api"
    running = TenantState(
        target="crm", tenant="Cust12345", state="Running", running=True, url=url, asked_at=NOW, valid_until=NOW + MINUTE
    )
    online = replace(queries(office), target_urls={"crm": None, "erp": "https://erp.example/api"})

    def told(name: str) -> list[Any]:
        one = online.target(name)
        return [one[key] for key in ("url", "tenant", "tenant_state", "tenant_asked_at")]

    assert told("crm") == [None, None, None, None]
    await office.store.save_tenant(running)
    await office.store.save_tenant(replace(running, target="erp"))  # which has a url since
    assert told("crm") == [url, "Cust12345", "Running", MOMENT]
    assert told("erp") == ["https://erp.example/api", None, None, None]
    await office.store.save_tenant(replace(running, state="Suspended", running=False, url=None))
    assert told("crm") == [None, "Cust12345", "Suspended", MOMENT]


async def test_a_pause_is_told_since_when_why_and_until_when(office: Office) -> None:
    await put_target(
        office.store,
        TargetState(name="crm", paused_at=NOW, reason="unauthorized", probes=3, next_probe_at=NOW + MINUTE),
    )
    told = queries(office).target("crm")
    assert [told[name] for name in ("state", "reason", "paused_at", "next_probe_at", "pending", "oldest")] == [
        *("paused", "unauthorized", MOMENT, "2023-11-14T22:14:20.000Z"),
        *(0, None),
    ]


async def test_a_target_that_is_none_is_told_with_those_that_are(office: Office) -> None:
    with pytest.raises(StoreError, match=r"^there is no target nope, the targets are crm, erp$"):
        queries(office).target("nope")
    with pytest.raises(StoreError, match=r"^there is no target cmr, did you mean crm\? the targets are crm, erp$"):
        queries(office).target("cmr")
