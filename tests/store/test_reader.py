import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand
from databases import sqlite_at
from sqlalchemy import create_engine, insert, text
from sqlalchemy.exc import DBAPIError
from targets import put_target

from bridge.errors import StoreError, StoreUnavailable, StoreVersion
from bridge.model import Dead, Delivered, Held, Mapped, Outcome, Pause, PauseReason, RetryAt, WebhookState, Why
from bridge.store import database, reader
from bridge.store.reader import Filter, Reader
from bridge.store.store import Store, owned
from bridge.store.tables import events, webhooks
from bridge.store.webhooks import Acceptance, accept
from bridge.target_state import TargetState
from store.support import HOUR, LEASE, MINUTE, NOW, WINDOW, a_webhook, an_attempt, an_event, mapped, one

pytestmark = pytest.mark.anyio


def _events(url: str, limit: int = 100, **wanted: Any) -> list[dict[str, Any]]:
    with reader.reading(url) as connection:
        return reader.list_events(connection, Filter(**wanted), limit)


def _webhooks(url: str, limit: int = 100, **wanted: Any) -> list[dict[str, Any]]:
    with reader.reading(url) as connection:
        return reader.list_webhooks(connection, Filter(**wanted), limit)


def _event(url: str, event_id: str) -> dict[str, Any]:
    with reader.reading(url) as connection:
        return reader.show_event(connection, event_id)


BEFORE = """
INSERT INTO events (id, webhook_id, source, rule, target, item_key, type, attributes, text, on_unknown, state,
    attempts, retries, next_attempt_at, probe, created_at, max_age, expires_at)
VALUES ('ev_1', 'wh_1', 'shop', 'order', 'crm', '', 'Run', :attributes, :text, 'retry', 'pending',
    0, 0, 0, :no, :now, :age, :end)
"""


async def test_an_event_of_the_first_schema_reads_and_is_claimed_as_it_was(store: Store, url: str) -> None:
    given = {"attributes": b'{"n":1,"s":"x"}', "text": b"n=1;s=x", "no": False, "now": NOW, "age": HOUR, "end": NOW * 2}
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(BEFORE), given)
    engine.dispose()
    assert [event["attributes"] for event in _events(url)] == [{"n": 1, "s": "x"}]
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert claim.text == "n=1;s=x"


async def test_an_event_reads_as_documented_from_pending_to_delivered(store: Store, url: str, hand: Hand) -> None:
    webhook = a_webhook()
    made = an_event(webhook, attributes={"order": "#1", "n": 2**70})
    await store.accept(webhook, mapped(made), WINDOW)
    pending = {
        "id": made.id,
        "webhook_id": webhook.id,
        "source": "shop",
        "rule": "order",
        "target": "crm",
        "type": "OrderPlaced",
        "attributes": {"order": "#1", "n": 2**70},
        "state": "pending",
        "reason": None,
        "attempts": 0,
        "next_attempt_at": "2023-11-14T22:13:20.000Z",
        "created_at": "2023-11-14T22:13:20.000Z",
        "delivered_at": None,
        "result": None,
    }
    assert _events(url) == [pending]
    assert _event(url, made.id) == pending | {"attempts": []}

    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    assert _events(url) == [pending | {"state": "sending", "attempts": 1, "next_attempt_at": None}]
    attempt = an_attempt(Outcome.UNAVAILABLE, status=503, detail="SuperOffice answered 503", result={"busy": True})
    await store.record(claim, attempt, RetryAt(NOW + 1))
    waiting = pending | {"reason": "unavailable", "attempts": 1, "next_attempt_at": "2023-11-14T22:13:20.001Z"}
    assert _events(url) == [waiting]

    hand.turn(MINUTE)
    await put_target(store, TargetState(name="crm", paused_at=NOW, next_probe_at=NOW))
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(started_at=hand.at, status=200, result={"Result": [1]}), Delivered())
    delivered = pending | {
        "state": "delivered",
        "attempts": 2,
        "next_attempt_at": None,
        "delivered_at": "2023-11-14T22:14:20.000Z",
        "result": {"Result": [1]},
    }
    assert _events(url) == [delivered]
    shown = _event(url, made.id)
    assert shown == delivered | {
        "attempts": [
            {
                "number": 1,
                "started_at": "2023-11-14T22:13:20.000Z",
                "duration_ms": 12,
                "outcome": "unavailable",
                "status": 503,
                "detail": "SuperOffice answered 503",
                "result": {"busy": True},
                "late": False,
                "probe": False,
            },
            {
                "number": 2,
                "started_at": "2023-11-14T22:14:20.000Z",
                "duration_ms": 12,
                "outcome": "delivered",
                "status": 200,
                "detail": "",
                "result": {"Result": [1]},
                "late": False,
                "probe": True,
            },
        ]
    }


async def test_attributes_that_a_rule_made_as_text_read_as_text(store: Store, url: str) -> None:
    await store.accept(*one(attributes="a=1;b=2"), WINDOW)
    assert _events(url)[0]["attributes"] == "a=1;b=2"


@pytest.mark.parametrize(
    ("decision", "state", "due"),
    [
        (Dead("rejected"), "dead", None),
        (Held("unknown"), "held", None),
        (Pause(PauseReason.UNAUTHORIZED), "pending", "2023-11-14T22:13:20.000Z"),
    ],
)
async def test_only_what_is_pending_has_a_next_attempt(
    decision: Dead | Held | Pause, state: str, due: str | None, store: Store, url: str
) -> None:
    await store.accept(*one(), WINDOW)
    (claim,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(claim, an_attempt(Outcome.UNAUTHORIZED, result="no"), decision)
    (shown,) = _events(url)
    assert (shown["state"], shown["next_attempt_at"]) == (state, due)
    assert shown["reason"] == ("unauthorized" if state == "pending" else decision.reason)
    assert shown["result"] is None  # what is no delivery is with the attempts


async def test_the_result_is_that_of_the_attempt_that_delivered(store: Store, url: str) -> None:
    webhook, mapping = one()
    await store.accept(webhook, mapping, WINDOW)
    (first,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(first, an_attempt(Outcome.UNKNOWN), RetryAt(NOW))
    (second,) = (await store.claim("crm", 1, LEASE)).claims
    await store.record(second, an_attempt(result="the second"), Delivered())
    await store.record(first, an_attempt(result="the first, late"), Delivered())
    assert _events(url)[0]["result"] == "the second"
    assert _event(url, first.event_id)["result"] == "the second"


@pytest.mark.parametrize("state", list(WebhookState))
async def test_a_webhook_reads_as_documented(state: WebhookState, store: Store, url: str) -> None:
    webhook = a_webhook(body="ü".encode() * 7)
    made = [an_event(webhook, "a"), an_event(webhook, "b")] if state is WebhookState.MAPPED else []
    why = (
        Why(rule="order", matched=bool(made), events=tuple(event.id for event in made)),
        Why(rule="broken", matched=False, error="when: there is no `id`"),
    )
    error = "the body is no JSON" if state is WebhookState.UNREADABLE else None
    broke = None if state is WebhookState.MAPPED else "broken: when: there is no `id`"
    mapping = Mapped(state=state, events=tuple(made), why=why, error=error, dedupe_key="k")
    await store.accept(webhook, mapping, WINDOW)
    (shown,) = _webhooks(url)
    kept = [] if state is WebhookState.MAPPED else [each.as_json() for each in why]
    assert shown == {
        "id": webhook.id,
        "source": "shop",
        "state": state.value,
        "received_at": "2023-11-14T22:13:20.000Z",
        "dedupe_key": "k",
        "size": 14,
        "repaired": False,
        "events": [event.id for event in made],
        "error": error or broke,
        "why": kept,  # where every rule did what it should there is nothing to explain, and it is not stored
    }
    with reader.reading(url) as connection:
        repeated = {"count": 0, "differing": 0, "first_at": None, "last_at": None}  # in `show` only
        assert reader.show_webhook(connection, webhook.id) == shown | {"duplicates": repeated}


async def test_what_is_not_there_is_told_with_the_command_that_lists(url: str) -> None:
    with reader.reading(url) as connection:
        with pytest.raises(StoreError, match="no event ev_1, `bridge events list`"):
            reader.show_event(connection, "ev_1")
        with pytest.raises(StoreError, match="no webhook wh_1, `bridge webhooks list`"):
            reader.show_webhook(connection, "wh_1")
        assert reader.list_events(connection, Filter()) == []
        assert reader.list_webhooks(connection, Filter()) == []


async def test_lists_are_newest_first_and_limited(store: Store, url: str, hand: Hand) -> None:
    made: list[tuple[str, str]] = []
    for at in (NOW + HOUR, NOW, NOW + MINUTE):  # the order is that of commit, whatever the clocks said
        hand.at = at
        webhook, mapping = one(a_webhook(at))
        await store.accept(webhook, mapping, WINDOW)
        made.insert(0, (webhook.id, mapping.events[0].id))
    assert [row["id"] for row in _webhooks(url)] == [webhook for webhook, _ in made]
    assert [row["id"] for row in _events(url)] == [event for _, event in made]
    assert [row["id"] for row in _webhooks(url, limit=2)] == [webhook for webhook, _ in made[:2]]
    assert [row["id"] for row in _events(url, limit=2)] == [event for _, event in made[:2]]


async def test_without_a_word_a_list_has_a_hundred_rows(store: Store, url: str) -> None:
    webhook = a_webhook()
    await store.accept(webhook, mapped(*(an_event(webhook, str(n)) for n in range(101))), WINDOW)
    assert len(_events(url)) == 100


async def test_events_are_filtered_by_each_of_their_fields_and_by_all_at_once(
    store: Store, url: str, hand: Hand
) -> None:
    first = a_webhook()
    made = an_event(first), an_event(first, rule="other"), an_event(first, target="erp")
    await store.accept(first, mapped(*made), WINDOW)
    hand.turn(MINUTE)
    second = a_webhook(source="github")
    await store.accept(second, mapped(an_event(second)), WINDOW)
    (claim,) = (await store.claim("erp", 1, LEASE)).claims
    a, b, c, d = (event.id for event in (*made, an_event(second)))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [d, c, b, a]),
        ({"state": "sending"}, [c]),
        ({"state": "dead"}, []),
        ({"source": "shop"}, [c, b, a]),
        ({"rule": "order"}, [d, c, a]),
        ({"target": "crm"}, [d, b, a]),
        ({"since": NOW}, [d, c, b, a]),
        ({"since": NOW + 1}, [d]),
        ({"since": NOW + MINUTE}, [d]),
        ({"since": NOW + MINUTE + 1}, []),
        ({"source": "shop", "rule": "order", "target": "crm", "state": "pending", "since": NOW}, [a]),
        ({"rule": "order", "limit": 2}, [d, c]),
        ({"source": "shop' OR 1=1 --"}, []),
    ]
    for wanted, found in cases:
        assert [row["id"] for row in _events(url, **wanted)] == found, wanted
    assert claim.event_id == c


async def test_webhooks_are_filtered_by_their_fields_and_by_those_of_their_events(store: Store, url: str) -> None:
    both, github, ignored = a_webhook(), a_webhook(NOW + MINUTE, source="github"), a_webhook()
    await store.accept(both, mapped(an_event(both), an_event(both, rule="other", target="erp")), WINDOW)
    await store.accept(github, mapped(an_event(github)), WINDOW)
    await store.accept(ignored, mapped(), WINDOW)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [ignored.id, github.id, both.id]),
        ({"state": "ignored"}, [ignored.id]),
        ({"source": "github"}, [github.id]),
        ({"rule": "order"}, [github.id, both.id]),
        ({"rule": "other"}, [both.id]),
        ({"target": "erp"}, [both.id]),
        ({"rule": "order", "limit": 1}, [github.id]),
        ({"since": NOW + 1}, [github.id]),
        ({"source": "shop", "state": "mapped", "rule": "order", "target": "crm"}, [both.id]),
        ({"rule": "none"}, []),
    ]
    for wanted, found in cases:
        assert [row["id"] for row in _webhooks(url, **wanted)] == found, wanted
    assert len(_webhooks(url, source="shop", state="mapped")[0]["events"]) == 2


def test_lists_longer_than_a_statement_has_parameters_are_read(postgresql_url: str) -> None:
    count = 66_000
    engine = create_engine(postgresql_url)
    with engine.begin() as connection:
        for columns, values in (
            ("webhooks (id, source, state, received_at, head, body)", "'wh' || n, 's', 'mapped', 0, '', ''"),
            (
                "attempts (event_id, number, started_at, duration, outcome, detail, result, late, probe)",
                "'ev' || n, 1, 0, 0, 'delivered', '', '1', false, false",
            ),
        ):
            statement = f"INSERT INTO {columns} SELECT {values} FROM generate_series(1, :count) n"
            connection.execute(text(statement), {"count": count})
        webhook = a_webhook()
        acceptance = Acceptance(
            webhook=webhook, mapping=mapped(an_event(webhook)), now=NOW, created_at=NOW, window=WINDOW
        )
        accept(connection, [acceptance])
        names = [column.name for column in events.c if column.name != "seq"]
        copies = ["'ev' || n" if name == "id" else "'wh' || n" if name == "webhook_id" else name for name in names]
        copied = f"SELECT {', '.join(copies)} FROM events, generate_series(1, :count) n"
        connection.execute(text(f"INSERT INTO events ({', '.join(names)}) {copied}"), {"count": count})
    engine.dispose()
    found = _webhooks(postgresql_url, source="s", limit=count)
    assert len(found) == count
    assert all(row["events"] == ["ev" + row["id"][2:]] for row in found)
    shown = _events(postgresql_url, limit=count)
    assert len(shown) == count
    assert all(row["result"] == 1 for row in shown)


async def test_reading_goes_on_beside_a_writer_in_the_middle_of_a_transaction(url: str) -> None:
    writing = database.writing_engine(url)
    webhook, mapping = one()
    acceptance = Acceptance(webhook=webhook, mapping=mapping, now=NOW, created_at=NOW, window=WINDOW)
    with writing.begin() as connection:
        accept(connection, [acceptance])
        assert _events(url) == _webhooks(url) == []
    assert len(_events(url)) == len(_webhooks(url)) == 1
    writing.dispose()


async def test_a_writer_commits_while_somebody_reads(store: Store, url: str) -> None:
    with reader.reading(url) as connection:
        assert reader.list_events(connection, Filter()) == []
        await store.accept(*one(), WINDOW)
    assert len(_events(url)) == 1


async def test_reading_without_a_writer_changes_nothing(sqlite_url: str) -> None:
    path = database.sqlite_path(sqlite_url)
    assert path
    with owned(sqlite_url) as engine:
        store = Store(engine)
        await store.accept(*one(), WINDOW)
        store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    before = path.read_bytes()
    assert len(_events(sqlite_url)) == 1
    assert path.read_bytes() == before


async def test_what_a_killed_writer_left_in_its_log_is_read(sqlite_url: str, tmp_path: Path) -> None:
    path = database.sqlite_path(sqlite_url)
    assert path
    engine = database.writing_engine(sqlite_url)
    webhook, mapping = one()
    with engine.begin() as connection:
        accept(
            connection,
            [Acceptance(webhook=webhook, mapping=mapping, now=NOW, created_at=NOW, window=WINDOW)],
        )
    left = tmp_path / "left"
    left.mkdir()
    for file in (path, path.with_name(path.name + "-wal")):  # as a kill leaves them: not yet checkpointed
        shutil.copy(file, left)
    engine.dispose()
    url = database.sqlite_url(left / path.name)
    assert [row["id"] for row in _webhooks(url)] == [webhook.id]
    with owned(url) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM webhooks")).scalars().all() == [webhook.id]


def test_the_connection_of_a_reader_cannot_write(url: str) -> None:
    for statement in (insert(webhooks), events.delete(), text("UPDATE alembic_version SET version_num = 'x'")):
        with reader.reading(url) as connection, pytest.raises(DBAPIError, match=r"readonly|read-only"):
            connection.execute(statement)


def test_reading_an_unmigrated_store_says_what_to_run(empty_url: str, tmp_path: Path) -> None:
    if path := database.sqlite_path(empty_url):
        sqlite3.connect(path).close()
        path.touch()
    with pytest.raises(StoreVersion, match=r"schema is empty, this bridge reads .*, run `bridge migrate`"):
        _events(empty_url)


def test_reading_a_store_of_another_version_is_refused(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    engine.dispose()
    with pytest.raises(StoreVersion, match="schema is f00d"):
        _events(url)


def test_reading_where_there_is_no_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        _events(f"sqlite:///{tmp_path / 'bridge.db'}")
    with pytest.raises(StoreError, match="cannot be opened"):
        _events(f"sqlite:///{tmp_path}")
    (tmp_path / "text.db").write_text("no database, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        _events(f"sqlite:///{tmp_path / 'text.db'}")


# a reader that lives on


async def test_a_reader_that_lives_on_sees_what_is_committed_by_now(store: Store, url: str) -> None:
    opened = Reader(url, kept=1)
    try:
        for count in range(3):
            with opened.reading() as connection:
                assert len(reader.list_events(connection, Filter())) == count
            await store.accept(*one(), WINDOW)
    finally:
        opened.close()


async def test_a_reader_asks_for_the_version_and_a_connection_once(sqlite_url: str) -> None:
    asked: list[str] = []
    opened = Reader(sqlite_url, kept=1)
    try:
        with opened.reading() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.set_trace_callback(asked.append)
            reader.list_webhooks(connection, Filter())
        for _ in range(3):
            with opened.reading() as connection:
                assert connection.connection.dbapi_connection is driver
                reader.list_webhooks(connection, Filter())
        driver.set_trace_callback(None)
    finally:
        opened.close()
    assert len([sql for sql in asked if sql.startswith("SELECT")]) == 4
    assert not [sql for sql in asked if "alembic_version" in sql]


def test_a_reader_cannot_write(url: str) -> None:
    opened = Reader(url, kept=1)
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"read-?only"), opened.reading() as connection:
                connection.execute(text("DELETE FROM webhooks"))
        with opened.reading() as connection:
            assert reader.list_webhooks(connection, Filter()) == []
    finally:
        opened.close()


def test_a_reader_of_nothing_or_of_another_version_says_so_until_there_is_something(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    opened = Reader(f"sqlite:///{path}", kept=1)
    try:
        with pytest.raises(StoreError, match="there is no store"), opened.reading():
            pass
        path.touch()
        with pytest.raises(StoreVersion, match="schema is empty"), opened.reading():
            pass
        sqlite_at(path)
        with opened.reading() as connection:
            assert reader.list_webhooks(connection, Filter()) == []
    finally:
        opened.close()


@pytest.mark.timing
async def test_many_threads_may_share_a_reader_and_nothing_is_left_open(store: Store, url: str) -> None:
    for _ in range(20):
        await store.accept(*one(), WINDOW)
    opened = Reader(url, kept=2)

    def read() -> list[str]:
        with opened.reading() as connection:
            return [event["id"] for event in reader.list_events(connection, Filter())]

    try:
        seen = await asyncio.gather(*(asyncio.to_thread(read) for _ in range(40)))
    finally:
        opened.close()
    assert all(ids == seen[0] for ids in seen)
    assert len(seen[0]) == 20


async def test_a_held_reader_keeps_nobody_from_emptying_the_journal(sqlite_url: str) -> None:
    opened = Reader(sqlite_url, kept=1)
    with opened.reading() as connection:
        reader.list_events(connection, Filter())
    with owned(sqlite_url) as engine:
        store = Store(engine, Hand(NOW))
        try:
            await store.accept(*one(), WINDOW)
            await store.check_purging()
        finally:
            await asyncio.to_thread(store.close)
            opened.close()


# pages


async def test_pages_give_each_row_once_newest_first_whatever_comes_meanwhile(store: Store, url: str) -> None:
    for _ in range(7):
        await store.accept(*one(), WINDOW)
    for list_, page in ((reader.list_events, reader.events_page), (reader.list_webhooks, reader.webhooks_page)):
        with reader.reading(url) as connection:
            everything = [row["id"] for row in list_(connection, Filter())]
        paged, after = [], None
        while True:
            with reader.reading(url) as connection:
                found = page(connection, Filter(), after, limit=3)
            paged += [row["id"] for row in found.rows]
            await store.accept(*one(), WINDOW)
            if found.last is None:
                break
            after = found.last
        assert paged == everything


async def test_a_last_page_that_is_full_says_that_it_is_the_last(store: Store, url: str) -> None:
    for _ in range(3):
        await store.accept(*one(), WINDOW)
    with reader.reading(url) as connection:
        assert reader.webhooks_page(connection, Filter(), limit=3).last is None
        assert reader.webhooks_page(connection, Filter(), limit=2).last is not None


def test_a_page_far_back_is_found_by_the_primary_key(sqlite_url: str) -> None:
    with reader.reading(sqlite_url) as connection:
        asked: list[str] = []
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(asked.append)
        reader.webhooks_page(connection, Filter(), 5_000)
        reader.events_page(connection, Filter(), 5_000)
        driver.set_trace_callback(None)
        pages = [sql for sql in asked if "LIMIT" in sql]
        for sql in pages:
            (plan,) = connection.execute(text(f"EXPLAIN QUERY PLAN {sql}")).all()
            assert "USING INTEGER PRIMARY KEY (rowid<?)" in plan.detail
            assert "OFFSET 0" in sql  # as SQLAlchemy writes none of it for SQLite
    assert len(pages) == 2


async def test_a_list_tells_how_large_bodies_are_without_reading_them(sqlite_url: str) -> None:
    with owned(sqlite_url) as engine:
        store = Store(engine, Hand(NOW))
        await store.accept(a_webhook(body=b"\0\xffx" * 1000), mapped(), WINDOW)
        await asyncio.to_thread(store.close)
    with reader.reading(sqlite_url) as connection:
        asked: list[str] = []
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(asked.append)
        (listed,) = reader.list_webhooks(connection, Filter())
        driver.set_trace_callback(None)
    assert listed["size"] == 3000
    (list_,) = [sql for sql in asked if "FROM webhooks" in sql]
    assert list_.count("webhooks.body") == list_.count("length(webhooks.body)") == 1
