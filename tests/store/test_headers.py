"""An event's headers stay with it: fixed when its webhook is accepted, whatever its rule says later."""

import pytest
from clocks import Hand
from sqlalchemy import text

from bridge.store import database, reader
from bridge.store.store import Store

from .support import DAY, LEASE, NOW, WINDOW, a_webhook, an_event, mapped

pytestmark = pytest.mark.anyio

HEADERS = {"X-Shop": "oslo", "SO-Language": "nb"}


async def test_they_come_with_the_claim_and_events_without_have_none(store: Store) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(an_event(webhook, "1", headers=HEADERS), an_event(webhook, "2")), WINDOW)
    claimed = await store.claim("crm", 10, LEASE)
    assert [claim.headers for claim in claimed.claims] == [HEADERS, None]
    found = await store.take_over(expired_only=False)
    assert [claim.headers for claim, _ in found] == [HEADERS, None]


async def test_they_are_shown_where_there_are_some(store: Store, url: str) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(an_event(webhook, "1", headers=HEADERS), an_event(webhook, "2")), WINDOW)
    with reader.reading(url) as connection:
        second, first = reader.list_events(connection, reader.Filter())
        assert reader.show_event(connection, first["id"])["headers"] == HEADERS
    assert first["headers"] == HEADERS
    assert "headers" not in second


async def test_a_replaced_event_has_those_of_todays_rule(store: Store) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(an_event(webhook, "1", headers=HEADERS)), WINDOW)
    for headers in ({"X-Shop": "bergen"}, None):
        mapping = mapped(an_event(webhook, "1", headers=headers))
        await store.remap(webhook, mapping)
        (claim,) = (await store.claim("crm", 10, LEASE)).claims
        assert claim.headers == headers
        await store.release([claim])


BEFORE = """
INSERT INTO events (id, webhook_id, source, rule, target, item_key, type, attributes, text, on_unknown, state,
    attempts, retries, next_attempt_at, probe, created_at, max_age, expires_at)
VALUES ('ev_1', 'wh_1', 'shop', 'order', 'crm', '', 'Run', :attributes, :text, 'retry', 'pending',
    0, 0, 0, :no, :now, :age, :end)
"""


async def test_events_from_before_the_migration_have_none(empty_url: str) -> None:
    engine = database.writing_engine(empty_url)
    with engine.begin() as connection:
        database.upgrade(connection, "0002")
        values = {"attributes": b"{}", "text": b"", "no": False, "now": NOW, "age": DAY, "end": NOW + DAY}
        connection.execute(text(BEFORE), values)
    database.migrate(engine)
    store = Store(engine, Hand(NOW))
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert (claim.event_id, claim.headers, claim.unclear) == ("ev_1", None, 0)
    store.close()
    engine.dispose()
