"""What may be asked for: everything the commands send, and nothing that is not one of them."""

import contextlib
from typing import Any

import pytest
from forwarding.support import logged
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BridgeError, StoreError
from bridge.model import EventState
from bridge.observing import logs
from bridge.operations.actions.requests import InvalidRequest, Selecting, asker_name, parse, read
from bridge.operations.actions.table import perform
from bridge.store.actions import Selection
from bridge.store.reader import Filter
from operations.support import Office

ALL = {"filter": {"source": "shop"}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("path", "state", "after"),
    [
        ("events/replay", EventState.DEAD, "pending"),
        ("events/discard", EventState.DEAD, "discarded"),
        ("events/release", EventState.HELD, "pending"),
        ("webhooks/remap", EventState.DEAD, "pending"),
    ],
)
async def test_each_change_is_done_where_the_request_says_yes(
    path: str, state: EventState, after: str, office: Office
) -> None:
    await office.receive_lines("a")
    await office.bring(state)
    for payload in (ALL, ALL | {"yes": False}):
        assert (await perform(office.operator, path, payload))["done"] == 0
    assert [event["state"] for event in office.events()] == [state]
    assert (await perform(office.operator, path, ALL | {"yes": True}))["done"] == 1
    assert [event["state"] for event in office.events()] == [after]


@pytest.mark.anyio
async def test_a_remap_of_held_events_is_asked_for_by_again(office: Office) -> None:
    await office.receive_lines("a")
    await office.bring(EventState.HELD)
    assert (await perform(office.operator, "webhooks/remap", ALL))["replaced"] == 0
    assert (await perform(office.operator, "webhooks/remap", ALL | {"again": True}))["replaced"] == 1


@pytest.mark.anyio
async def test_webhooks_are_erased_by_id(office: Office) -> None:
    first, second = await office.receive_lines("a"), await office.receive_lines("b")
    assert (await perform(office.operator, "webhooks/erase", {"ids": [first], "yes": True}))["done"] == 1
    assert office.webhooks() == [second]


@pytest.mark.anyio
async def test_targets_are_listed_shown_paused_and_resumed_by_path(office: Office) -> None:
    queries = office.operator.queries
    listed = read(queries, "targets")
    assert [target["name"] for target in listed] == ["crm", "erp"]
    assert read(queries, "targets/erp") == listed[1]
    assert [await perform(office.operator, path, {}) for path in ("targets", "targets/erp")] == [listed, listed[1]]
    assert (await perform(office.operator, "targets/erp/pause", {}))["state"] == "paused"
    assert read(queries, "targets/erp")["state"] == "paused"
    assert (await perform(office.operator, "targets/erp/resume", {}))["state"] == "open"


@pytest.mark.anyio
async def test_records_are_read_by_path(office: Office) -> None:
    webhook = await office.receive_lines("a")
    (event,) = office.events()
    queries = office.operator.queries
    assert read(queries, f"webhooks/{webhook}")["why"][0]["events"] == [event["id"]]
    assert read(queries, f"events/{event['id']}")["attempts"] == []
    assert read(queries, f"explain/{event['id']}")["webhook"]["id"] == webhook
    for path in (
        "webhooks/replay",
        "events/wh_1",
        "explain/ev_gone",
        "targets/x",
        "secrets/shop",
        "",
        "explain",
        "a/b/c",
    ):
        with pytest.raises(StoreError, match="there is no "):
            read(queries, path)


@pytest.mark.anyio
async def test_who_asks_and_why_goes_into_the_log(office: Office) -> None:
    await office.receive_lines("a")
    with logged() as log:
        await perform(office.operator, "events/discard", ALL | {"yes": True, "note": "wrong shop"}, "Anna")
        await perform(office.operator, "targets/crm/pause", {"note": "moving house"}, "Bo")
        await perform(office.operator, "targets/crm/resume", {"note": ""})
    told = [(line["by"], line["note"]) for line in log.named(logs.OPERATOR_CHANGED)]
    assert told == [("Anna", "wrong shop"), ("Bo", "moving house"), (None, None)]


@pytest.mark.parametrize("name", ["x" * 65, "a\nb", "\x1b[2J", "\u202eanna", "\ud83d"])
def test_a_name_that_no_line_can_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="at most 64 printable characters"):
        asker_name(name)


def test_a_name_is_what_was_given_or_none() -> None:
    assert [asker_name(name) for name in ("", " ", "Åse ", "x" * 64)] == [None, None, "Åse", "x" * 64]


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["", "events", "events/erase", "webhooks/replay", "targets/crm/x", "a/b/c", "x" * 999])
async def test_what_is_not_there_to_do_is_refused_in_few_words(path: str, office: Office) -> None:
    with pytest.raises(InvalidRequest, match="there is nothing to do by the name of") as refused:
        await perform(office.operator, path, ALL)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("payload", [{}, {"yes": True}, {"filter": {}, "yes": True}, {"filter": {"state": None}}])
def test_ids_or_a_filter_must_say_which_ones(payload: Any) -> None:
    with pytest.raises(InvalidRequest, match="name ids, or a filter such as state or source"):
        parse(Selecting, payload)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (None, "dictionary"),
        ([], "dictionary"),
        ("all", "dictionary"),
        ({"id": ["ev_1"]}, "id: "),
        ({"ids": "ev_1"}, "ids: "),
        ({"ids": [1]}, "ids.0: "),
        ({"ids": ["ev_1"] * 10_001}, "ids: "),
        ({"filter": {"sate": "dead"}}, "filter.sate: "),
        ({"filter": {"state": 1}}, "filter.state: "),
        ({"filter": {"limit": 1}}, "filter.limit: "),
        ({"filter": {"since": "yesterday"}}, "filter.since: "),
        ({"filter": {"since": 2**63}}, "filter.since: "),
        ({"filter": {"since": -1}}, "filter.since: "),
        ({"filter": {"source": "shop"}, "yes": "perhaps"}, "yes: "),
        ({"filter": {"source": "shop"}, "force": True}, "force: "),
        ({"filter": {"source": "shop"}, "note": 1}, "note: "),
        ({"filter": {"source": "shop"}, "note": "x" * 201}, "note: "),
        ({"filter": {"source": "shop"}, "note": "a\nb"}, "note: .*printable"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_the_key_at_fault(payload: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as refused:
        parse(Selecting, payload)
    assert "pydantic" not in str(refused.value)


def test_ids_and_filters_become_a_selection() -> None:
    filters = {"state": "dead", "source": "s", "rule": "r", "target": "t", "since": 5}
    request = parse(Selecting, {"ids": ["ev_1", "ev_2"], "filter": filters, "yes": True})
    assert request.yes
    expected = Filter(state="dead", source="s", rule="r", target="t", since=5)
    assert request.selection == Selection(ids=("ev_1", "ev_2"), filter=expected)
    assert parse(Selecting, {"ids": []}).selection == Selection(ids=())


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["ids", "filter", "yes", "state", "since"]), inner),
)


@given(anything)
def test_any_json_is_a_selection_or_a_refusal(payload: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        request = parse(Selecting, payload)
        assert request.selection.ids is not None or request.selection.filter != Filter()
        assert isinstance(request.yes, bool)


def test_a_refusal_is_no_fault_of_the_store() -> None:
    assert issubclass(InvalidRequest, BridgeError)
    assert not issubclass(InvalidRequest, StoreError)
