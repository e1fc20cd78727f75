"""The whole story of a webhook, by its own id or one of its events'."""

import pytest

from bridge.errors import StoreError
from bridge.model import EventState
from bridge.operations.rules.explain import explain
from bridge.store import reader
from operations.support import LINES, Office

pytestmark = pytest.mark.anyio


async def test_a_webhook_is_told_with_the_why_of_todays_rules_and_all_events_with_their_attempts(
    office: Office,
) -> None:
    webhook = await office.receive_lines("a", "b", key="delivery-1")
    await office.bring(EventState.DEAD)
    office.configuration.write(LINES.replace("    key:", "    when: item.sku == 'c'\n    key:"))
    with reader.reading(office.url) as connection:
        story = explain(connection, webhook, office.rules(), lambda: None)
    assert list(story) == ["webhook", "why", "error", "events", "note"]
    assert (story["webhook"]["id"], story["webhook"]["dedupe_key"]) == (webhook, "delivery-1")
    assert "why" not in story["webhook"]  # what was stored then is in `webhooks show`
    (why,) = story["why"]
    assert (why["matched"], why["clause"], why["values"]) == (False, "item.sku == 'c'", {"item.sku": "a"})
    assert story["error"] is None
    assert [[tried["outcome"] for tried in event["attempts"]] for event in story["events"]] == [["rejected"]] * 2


async def test_an_event_is_told_with_its_webhook_and_without_the_others(office: Office) -> None:
    webhook = await office.receive_lines("a", "b")
    first, second = office.events()
    with reader.reading(office.url) as connection:
        story = explain(connection, second["id"], office.rules(), lambda: None)
    assert story["webhook"]["id"] == webhook
    assert story["webhook"]["events"] == [first["id"], second["id"]]
    assert [event["id"] for event in story["events"]] == [second["id"]]
    assert story["why"][0]["matched"]


async def test_what_no_rule_can_say_anything_about_is_told(office: Office) -> None:
    webhook, unreadable = await office.receive_lines("a"), await office.receive(b"[")
    with reader.reading(office.url) as connection:
        story = explain(connection, webhook, {}, lambda: None)
        assert (story["why"], story["error"]) == (None, "there are no rules for source shop")
        assert len(story["events"]) == 1
        story = explain(connection, unreadable, office.rules(), lambda: None)
        assert (story["why"], story["events"]) == ([], [])
        assert story["error"].startswith("the body is not JSON")


@pytest.mark.parametrize("id_", ["wh_gone", "ev_gone", "", "7"])
async def test_what_is_not_there_is_named(id_: str, office: Office) -> None:
    with reader.reading(office.url) as connection, pytest.raises(StoreError, match=f"there is no .* {id_},"):
        explain(connection, id_, office.rules(), lambda: None)
