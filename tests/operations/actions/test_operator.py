"""What an operator does: in portions, with an audit line, and told to whoever sends."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from forwarding.support import logged
from targets import put_target

from bridge.errors import StoreError, StoreUnavailable
from bridge.model import EventState
from bridge.observing import logs
from bridge.operations.actions import remapping
from bridge.operations.actions.audit import Asker
from bridge.operations.actions.operator import Operator
from bridge.operations.actions.table import perform
from bridge.operations.queries import Queries
from bridge.receiving.off_loop import OffLoop
from bridge.receiving.processing import Processor
from bridge.store import actions
from bridge.store.actions import Action, Selection
from bridge.store.reader import Filter
from bridge.target_state import TargetState
from operations.support import DAY, HOUR, LINES, MINUTE, NOW, Office

pytestmark = pytest.mark.anyio

SHOP = Selection(filter=Filter(source="shop"))
BROKEN = LINES.replace("item.sku }}", "item.size }}")
CHEAPER = LINES.replace('sku: "{{ item.sku }}"', 'sku: "cheap {{ item.sku }}"')


async def shown_or_done(office: Office, selection: Selection, *, yes: bool) -> dict[str, Any]:
    """A remap, or its preview."""
    operator = office.operator
    return await operator.remap(selection) if yes else remapping.preview(operator.queries, selection)


def only(*ids: str) -> Selection:
    return Selection(ids=ids)


# replay, discard, release


@pytest.mark.parametrize("action", Action)
async def test_with_yes_it_is_done_told_and_heard_of_at_once(action: Action, office: Office) -> None:
    await office.receive_lines("a", "b")
    await office.bring(EventState.HELD)
    made = [event["id"] for event in office.events()]
    office.woken.clear()
    answer = await office.operator.events(action, SHOP)
    assert (answer["count"], answer["done"], answer["ids"]) == (2, 2, made)
    assert {event["state"] for event in office.events()} == {"discarded" if action is Action.DISCARD else "pending"}
    assert office.woken == [{"crm"}]


async def test_many_are_done_in_portions_and_a_hundred_of_them_named(office: Office) -> None:
    for _ in range(3):
        await office.receive_lines(*map(str, range(150)))
    await office.bring(EventState.DEAD)
    made = [event["id"] for event in office.events()]
    answer = await office.operator.events(Action.REPLAY, SHOP)
    assert (answer["count"], answer["done"]) == (450, 450)
    assert answer["ids"] == made[:100]
    assert office.store.asked == [200, 200, 50]
    assert {event["state"] for event in office.events()} == {"pending"}


async def test_events_that_go_to_the_end_of_their_line_are_replayed_once(office: Office) -> None:
    office.configuration.write(LINES.replace("    key:", "    order_by: body.customer\n    key:"))
    await office.receive({"customer": 7, "lines": [{"id": number, "sku": "a"} for number in range(250)]})
    await office.bring(EventState.DISCARDED)
    made = [event["id"] for event in office.events()]
    assert (await office.operator.events(Action.REPLAY, SHOP))["done"] == 250
    assert office.store.asked == [250, 200, 50]
    assert [event["id"] for event in office.events()] == made


async def test_an_id_that_is_not_there_is_named_and_nothing_changes(office: Office) -> None:
    webhook = await office.receive_lines("a")
    await office.bring(EventState.DEAD)
    (made,) = office.events()
    with pytest.raises(StoreError, match="there is no event ev_gone,"):
        await office.operator.events(Action.REPLAY, only(made["id"], "ev_gone"))
    for change in (office.operator.remap, office.operator.erase):
        with pytest.raises(StoreError, match="there is no webhook wh_gone,"):
            await change(only(webhook, "wh_gone"))
    assert office.events() == [made]
    assert office.webhooks() == [webhook]


async def test_ids_of_events_in_another_state_are_left_alone(office: Office) -> None:
    await office.receive_lines("a", "b")
    claims = await office.claim(1)
    await office.end(claims, EventState.DEAD)
    made = [event["id"] for event in office.events()]
    answer = await office.operator.events(Action.REPLAY, only(*made))
    assert (answer["count"], answer["done"], answer["ids"]) == (1, 1, made[:1])


async def test_an_overtaken_replay_is_told(office: Office) -> None:
    office.configuration.write(LINES.replace("    key:", "    order_by: body.customer\n    key:"))
    await office.receive({"customer": 7, "lines": [{"id": 1, "sku": "a"}, {"id": 2, "sku": "b"}]})
    await office.bring(EventState.DEAD)
    await office.bring(EventState.DELIVERED)
    first, second = office.events()
    preview = office.operator.queries.events(Action.REPLAY, only(first["id"]))
    assert preview["out_of_order"] == [first["id"]]
    answer = await office.operator.events(Action.REPLAY, only(first["id"]))
    assert answer["out_of_order"] == [first["id"]]
    assert [event["id"] for event in office.events()] == [second["id"], first["id"]]


# remap


async def test_a_remap_goes_on_beside_the_event_loop_in_the_turns_of_its_source(office: Office) -> None:
    for sku in "ab":
        await office.receive_lines(sku)
    off_loop = OffLoop()
    operator = replace(office.operator, processor=Processor(off_loop))
    async with off_loop.turn("shop", 1):
        remapping = asyncio.create_task(operator.remap(SHOP))
        for _ in iter(lambda: len(off_loop._lines["shop"]), 1):  # until it waits
            await asyncio.sleep(0)
    assert (await remapping)["done"] == 2
    off_loop.close()


@pytest.mark.parametrize(("state", "again"), list(itertools.product(EventState, [False, True])))
async def test_a_remap_replaces_pending_and_dead_events_and_held_ones_where_asked(
    state: EventState, again: bool, office: Office
) -> None:
    await office.receive_lines("a")
    await office.bring(state)
    (before,) = office.events()
    office.configuration.write(CHEAPER)
    is_replaced = state in (EventState.PENDING, EventState.DEAD) or (again and state is EventState.HELD)
    expected = {
        "count": 1,
        "oldest": "2023-11-14T22:13:20.000Z",
        "newest": "2023-11-14T22:13:20.000Z",
        "replaced": int(is_replaced),
        "untouched": int(not is_replaced),
        "already_delivered": int(state is EventState.DELIVERED),
        "discarded": 0,
        "new_count": 0,
        "new": [],
        "failed_count": 0,
        "failed": [],
        "note": None,
    }
    assert remapping.preview(office.operator.queries, SHOP, again=again) == expected | {"done": 0}
    assert office.events() == [before]
    assert await office.operator.remap(SHOP, again=again) == expected | {"done": 1}
    (after,) = office.events()
    if is_replaced:
        assert (after["id"], after["state"], after["reason"]) == (before["id"], "pending", None)
        assert after["attributes"] == {"sku": "cheap a"}
    else:
        assert after == before


async def test_a_replaced_event_starts_anew_with_todays_max_age(office: Office) -> None:
    await office.receive_lines("a")
    await office.bring(EventState.DEAD)
    office.configuration.write(LINES.replace("    key:", "    max_age: 1h\n    key:"))
    office.hand.at += DAY
    await office.operator.remap(SHOP)
    (claim,) = await office.claim()
    assert (claim.attempt, claim.retries, claim.expires_at) == (2, 0, office.hand.at + HOUR)


@pytest.mark.parametrize("state", EventState)
async def test_of_what_is_no_longer_made_only_the_pending_is_discarded(state: EventState, office: Office) -> None:
    webhook = await office.receive_lines("a")
    await office.bring(state)
    (before,) = office.events()
    office.configuration.write(LINES.replace("    key:", "    when: item.sku == 'b'\n    key:"))
    is_pending = state is EventState.PENDING
    for yes in (False, True):
        answer = await shown_or_done(office, only(webhook), yes=yes)
        assert (answer["discarded"], answer["replaced"], answer["untouched"]) == (int(is_pending), 0, 0)
    (after,) = office.events()
    assert (after["state"], after["reason"]) == ("discarded", "remapped") if is_pending else after == before
    assert office.webhook(webhook)["state"] == "ignored"


async def test_a_remap_lists_the_events_that_were_never_there(office: Office) -> None:
    webhook = await office.receive_lines("a")
    (before,) = office.events()
    office.configuration.write(LINES + LINES.split("rules:\n")[1].replace("name: line", "name: more\n    target: erp"))
    preview = remapping.preview(office.operator.queries, SHOP)
    (new,) = preview["new"]
    assert (new["webhook_id"], new["rule"], new["target"]) == (webhook, "more", "erp")
    assert office.events() == [before]
    await office.operator.remap(SHOP)
    assert [event["id"] for event in office.events()] == [before["id"], new["id"]]
    assert office.woken[-1] == {"crm", "erp"}


@pytest.mark.parametrize(("was", "new"), [("", 1), ("    was: line\n", 0)])
async def test_a_renamed_rule_makes_new_events_unless_it_says_what_it_was(was: str, new: int, office: Office) -> None:
    await office.receive_lines("a")
    await office.bring(EventState.DELIVERED)
    (before,) = office.events()
    office.configuration.write(LINES.replace("name: line\n", f"name: renamed\n{was}"))
    answer = await office.operator.remap(SHOP)
    assert (len(answer["new"]), answer["untouched"]) == (new, 1 - new)
    assert office.events()[0] == before
    assert len(office.events()) == 1 + new


async def test_an_item_is_the_same_by_its_key_or_else_by_its_content(office: Office) -> None:
    await office.receive({"lines": [{"id": 1, "sku": "a"}, {"id": 1, "sku": "a"}]})
    made = [event["id"] for event in office.events()]
    assert len(set(made)) == 2  # a key that is repeated gets its occurrence added
    office.configuration.write(CHEAPER)
    assert (await office.operator.remap(SHOP))["replaced"] == 2
    assert [event["id"] for event in office.events()] == made
    office.configuration.write(LINES.replace("    key: item.id\n", ""))
    assert len((remapping.preview(office.operator.queries, SHOP))["new"]) == 2


async def test_a_rule_that_breaks_discards_nothing_and_is_told(office: Office) -> None:
    webhook = await office.receive_lines("a", "b")
    before = office.events()
    office.configuration.write(BROKEN)
    for yes in (False, True):
        answer = await shown_or_done(office, SHOP, yes=yes)
        (failed,) = answer["failed"]
        assert failed["id"] == webhook
        assert "size" in failed["error"]
        assert (answer["discarded"], answer["replaced"]) == (0, 0)
    assert office.events() == before
    assert office.webhook(webhook)["state"] == "failed"


async def test_a_failed_webhook_becomes_mapped_by_the_repaired_rule(office: Office) -> None:
    office.configuration.write(BROKEN)
    webhook = await office.receive_lines("a")
    assert (office.webhook(webhook)["state"], office.events()) == ("failed", [])
    office.configuration.write(LINES)
    answer = await office.operator.remap(Selection(filter=Filter(state="failed")))
    assert (answer["count"], len(answer["new"]), answer["failed"]) == (1, 1, [])
    assert (office.webhook(webhook)["state"], office.webhook(webhook)["why"]) == ("mapped", [])
    assert [event["state"] for event in office.events()] == ["pending"]


async def test_an_unreadable_webhook_stays_so_and_is_told(office: Office) -> None:
    webhook = await office.receive(b"[")
    answer = await office.operator.remap(SHOP)
    assert [one["id"] for one in answer["failed"]] == [webhook]
    assert office.webhook(webhook)["state"] == "unreadable"


async def test_webhooks_of_a_source_that_left_the_configuration_are_told_and_left_alone(office: Office) -> None:
    webhook = await office.receive_lines("a")
    before = office.events()
    office.configuration.write(LINES, "forms")
    (office.configuration.directory / "sources" / "shop.yaml").unlink()
    known = await office.receive({"lines": []}, source="forms")
    for yes in (False, True):
        answer = await shown_or_done(office, only(webhook, known), yes=yes)
        assert answer["failed"] == [{"id": webhook, "error": "source shop is not configured"}]
        assert (answer["count"], answer["done"]) == (2, int(yes))  # of what was really done
    assert office.events() == before


async def test_a_remap_of_many_counts_all_and_lists_a_hundred(office: Office) -> None:
    for _ in range(101):
        await office.receive_lines("a")
    office.configuration.write(LINES.replace("name: line", "name: renamed"))
    answer = await office.operator.remap(SHOP)
    assert (answer["count"], answer["done"], answer["discarded"]) == (101, 101, 101)
    assert (answer["new_count"], len(answer["new"])) == (101, 100)


async def test_what_an_operator_discards_is_logged_one_by_one(office: Office) -> None:
    await office.receive_lines("a", "b")
    first, second = (event["id"] for event in office.events())
    with logged() as log:
        await perform(office.operator, "events/discard", {"ids": [first]})
        assert log.lines == []
        await office.operator.events(Action.DISCARD, only(first))
        office.configuration.write(LINES.replace("    key:", "    when: item.sku == 'c'\n    key:"))
        remapping.preview(office.operator.queries, SHOP)
        await office.operator.remap(SHOP)
    told = [(line["event_id"], line["reason"]) for line in log.named(logs.EVENT_DISCARDED)]
    assert told == [(first, "operator"), (second, "remapped")]


async def test_what_a_remap_frees_is_heard_of_by_its_target(office: Office) -> None:
    ordered = LINES.replace("    key:", "    order_by: body.customer\n    target: erp\n    key:")
    office.configuration.write(ordered)
    first = await office.receive({"customer": 7, "lines": [{"id": 1, "sku": "a"}]})
    await office.receive({"customer": 7, "lines": [{"id": 1, "sku": "b"}]})
    office.configuration.write(ordered.replace("target: erp", "target: erp\n    when: item.sku == 'b'"))
    await office.operator.remap(only(first))
    assert "erp" in office.woken[-1]
    assert [claim.event_id for claim in await office.claim(target="erp")] == [office.events()[1]["id"]]


# who asked


async def test_who_asked_for_what_and_why_is_a_line(office: Office) -> None:
    anna = Asker("Anna Åse", "ticket 4711")
    hooks = [await office.receive_lines(*map(str, range(15))) for _ in range(2)]
    await office.bring(EventState.DEAD)
    made = [event["id"] for event in office.events()]
    with logged() as log:
        await perform(office.operator, "events/replay", {"filter": {"source": "shop"}}, "anna")
        assert log.lines == []
        since = Selection(filter=Filter(source="shop", state="dead", since=NOW))
        await office.operator.events(Action.REPLAY, since, anna)
        await office.operator.events(Action.DISCARD, only(made[0]))
        await office.operator.remap(only(*hooks), anna)
        await office.operator.pause("crm", anna)
        await office.operator.resume("crm", anna)
        await office.operator.resume("crm", anna)  # it is open already: nothing is changed
        await office.operator.erase(only(*hooks), anna)
    told = [
        {k: v for k, v in line.items() if k not in ("event", "log_level")} for line in log.named(logs.OPERATOR_CHANGED)
    ]
    by = {"by": "Anna Åse", "note": "ticket 4711"}
    chosen = {"state": "dead", "source": "shop", "since": NOW}
    assert told == [
        {"action": "replay", **by, "filter": chosen, "ids": made[:20], "events": 30},
        {"action": "discard", "by": None, "note": None, "ids": made[:1], "events": 1},
        {"action": "remap", **by, "ids": hooks, "webhooks": 2},
        {"action": "pause", **by, "target": "crm"},
        {"action": "resume", **by, "target": "crm"},
        {"action": "erase", **by, "ids": hooks, "webhooks": 2},
    ]


# erase


CHANGES: dict[str, tuple[Callable[[Operator], Coroutine[Any, Any, Any]], str, int]] = {
    "replay": (lambda operator: operator.events(Action.REPLAY, SHOP, Asker("anna", "mended")), "events", 200),
    "discard": (lambda operator: operator.events(Action.DISCARD, SHOP, Asker("anna", "mended")), "events", 200),
    "remap": (lambda operator: operator.remap(SHOP, Asker("anna", "mended")), "webhooks", 2),
    "erase": (lambda operator: operator.erase(SHOP, Asker("anna", "mended")), "webhooks", 2),
}


async def dead_events(office: Office, change: str) -> None:
    """250 of one webhook, or 3 webhooks with one each."""
    if change in ("replay", "discard"):
        await office.receive_lines(*("a" * 250))
    else:
        for _ in range(3):
            await office.receive_lines("a")
    await office.bring(EventState.DEAD)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_breaks_off_half_way_tells_what_was_done(change: str, office: Office) -> None:
    await dead_events(office, change)
    office.store.fails_with = StoreUnavailable("the disk is full")
    begin, counted, done = CHANGES[change]
    with logged() as log, pytest.raises(StoreUnavailable) as refused:
        await begin(office.operator)
    assert str(refused.value) == f"it broke off after {done} {counted} were done: the disk is full"
    (line,) = log.named(logs.OPERATOR_CHANGED)
    assert (line["action"], line["by"], line["note"], line["filter"]) == (change, "anna", "mended", {"source": "shop"})
    assert (line[counted], len(line["ids"]), line["broke_off"]) == (done, min(done, 20), "StoreUnavailable")
    assert office.woken  # what was done is sent


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_is_ended_half_way_tells_what_the_store_did(change: str, office: Office) -> None:
    await dead_events(office, change)
    begin, counted, _ = CHANGES[change]
    with logged() as log:
        changing = asyncio.create_task(begin(office.operator))
        await office.store.asked_twice.wait()
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
    (line,) = log.named(logs.OPERATOR_CHANGED)
    assert (line[counted], line["broke_off"]) == (250 if counted == "events" else 3, "CancelledError")


async def test_erase_deletes_for_good_what_is_not_being_sent(office: Office) -> None:
    busy = await office.receive_lines("a", key="one")
    await office.claim()
    gone = await office.receive_lines("b", key="two")
    shown = {"count": 2, "oldest": "2023-11-14T22:13:20.000Z", "newest": "2023-11-14T22:13:20.000Z"}
    assert await perform(office.operator, "webhooks/erase", {"filter": {"source": "shop"}}) == shown | {
        "done": 0,
        "being_sent": [],
    }
    assert office.webhooks() == [busy, gone]
    assert await office.operator.erase(SHOP) == shown | {"done": 1, "being_sent": [busy]}
    assert office.webhooks() == [busy]
    assert [event["webhook_id"] for event in office.events()] == [busy]
    assert await office.receive_lines("b", key="two") != gone
    assert await office.receive_lines("a", key="one") == busy


async def test_what_others_erased_meanwhile_is_not_told_as_being_sent(office: Office) -> None:
    first, second = await office.receive_lines("a"), await office.receive_lines("b")
    found = actions.selected_webhooks(SHOP)
    before = office.operator.queries.batches(found)
    await office.store.erase(first)

    class Before(Queries):
        """Names what there was before."""

        def batches(self, _query: Any) -> list[list[str]]:
            return before

    fields = {name: getattr(office.operator.queries, name) for name in ("reader", "rules", "names", "target_urls")}
    told = await replace(office.operator, queries=Before(**fields)).erase(SHOP)
    assert (before, told["done"], told["being_sent"]) == ([[first, second]], 1, [])


async def test_what_an_erased_event_kept_waiting_is_heard_of_by_its_target(office: Office) -> None:
    office.configuration.write(LINES.replace("    key:", "    order_by: body.customer\n    target: erp\n    key:"))
    first, _ = [await office.receive({"customer": 7, "lines": [{"id": 1, "sku": "a"}]}) for _ in range(2)]
    await office.operator.erase(only(first))
    assert "erp" in office.woken[-1]
    assert office.events()[0]["next_attempt_at"] == "2023-11-14T22:13:20.000Z"
    assert len(await office.claim(target="erp")) == 1


# targets


async def test_a_target_that_is_none_is_neither_paused_nor_resumed(office: Office) -> None:
    operator = office.operator
    for change in (operator.pause, operator.resume):
        with pytest.raises(StoreError, match=r"^there is no target nope, the targets are crm, erp$"):
            await change("nope")
    assert await office.store.target("nope") == TargetState(name="nope")
    assert office.changed == []


async def test_a_target_that_left_can_be_paused_while_events_wait_for_it(office: Office) -> None:
    await office.receive_lines("a")
    operator = office.operator
    left = replace(operator, queries=replace(operator.queries, target_urls={}))
    assert (await left.pause("crm"))["state"] == "paused"


async def test_an_operators_pause_is_kept_never_probed_and_ended_by_resume(office: Office) -> None:
    operator = office.operator
    paused = await operator.pause("crm")
    assert (paused["state"], paused["reason"], paused["paused_at"], paused["next_probe_at"]) == (
        *("paused", "operator", "2023-11-14T22:13:20.000Z"),
        None,
    )
    assert (await office.store.target("crm")).by_operator
    await office.store.start()  # as after a restart
    office.hand.at += HOUR
    assert await operator.pause("crm") == paused  # it is since then, however often it is said
    assert office.woken == []
    resumed = await operator.resume("crm")
    assert (resumed["state"], resumed["paused_at"]) == ("open", None)
    assert office.woken == [{"crm"}]
    assert (await office.store.target("crm")).paused_total == HOUR
    await operator.resume("crm")
    assert (await office.store.target("crm")).paused_total == HOUR
    assert office.woken == [{"crm"}]


async def test_an_operators_change_is_made_whoever_else_changes_the_target_at_once(office: Office) -> None:
    operator, read = office.operator, office.store.target
    others = iter([TargetState(name="crm", paused_at=NOW, reason="moved", next_probe_at=NOW)])

    async def target(name: str) -> TargetState:
        """What is read just before somebody else changes it."""
        state = await read(name)
        for other in others:
            await office.store.change_target(state, replace(other, version=state.version))
        return state

    office.store.target = target  # type: ignore[method-assign]
    await operator.pause("crm")
    assert (await read("crm")).by_operator
    assert [(one.before.reason, one.after.reason) for one in office.changed] == [("moved", "operator")]


async def test_a_pause_by_a_fault_becomes_the_operators_and_goes_on_since_then(office: Office) -> None:
    fault = TargetState(name="crm", paused_at=NOW, reason="unauthorized", probes=3, next_probe_at=NOW + HOUR)
    await put_target(office.store, fault)
    office.hand.at += MINUTE
    paused = await office.operator.pause("crm")
    assert (paused["reason"], paused["paused_at"], paused["next_probe_at"]) == (
        *("operator", "2023-11-14T22:13:20.000Z"),
        None,
    )
    assert (await office.store.target("crm")).probes == 0


async def test_max_age_stands_still_while_a_target_is_paused(office: Office) -> None:
    office.configuration.write(LINES.replace("    key:", "    max_age: 1h\n    key:"))
    await office.receive_lines("a")
    office.hand.at += HOUR - MINUTE
    await office.operator.pause("crm")
    office.hand.at += 30 * DAY
    await office.operator.resume("crm")
    office.hand.at += MINUTE - 1
    taken = await office.store.claim("crm", 1, 1000)
    assert (len(taken.claims), len(taken.expired)) == (1, 0)
    await office.store.release(taken.claims)
    office.hand.at += 1
    taken = await office.store.claim("crm", 1, 1000)
    assert (len(taken.claims), len(taken.expired)) == (0, 1)
