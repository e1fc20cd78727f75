"""What was erased is in none of the store's files: not in its pages, not in its WAL; or whoever holds it is named."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand

from bridge.errors import StoreError, StoreUnavailable
from bridge.model import Attempt, Dead, Decision, Delivered, EventState, Mapped, Outcome, RetryAt, Webhook
from bridge.store import database, free_space, purging, reader
from bridge.store.actions import Erased
from bridge.store.store import Store, owned

from .support import LEASE, NOW, WINDOW, a_webhook, an_attempt, an_event, mapped

READER = """
import sqlite3, sys
with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None) as connection:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM webhooks").fetchall()
    print("reading", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where a store with small pages will be: these fill up, and rows move, after a few rows."""
    path = tmp_path / "bridge.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA page_size={getattr(request, 'param', 512)}")
        connection.execute("VACUUM")
    connection.close()
    return path


@asynccontextmanager
async def opened(path: Path, hand: Hand) -> AsyncIterator[Store]:
    with owned(f"sqlite:///{path}") as engine:
        store = Store(engine, hand)
        await store.start()
        try:
            yield store
        finally:
            await asyncio.to_thread(store.close)


def one(mark: str, by: random.Random) -> tuple[Webhook, Mapped]:
    """A webhook whose every piece of text says `mark`."""
    body = mark.encode() * by.choice([1, 20, 200, 700])
    webhook = a_webhook(body=body, headers={"x": mark * by.randrange(1, 9)}, delivery_id=f"{mark}-{by.random()}")
    made = [
        an_event(
            webhook,
            f"{mark}{number}",
            attributes={"a": mark * by.randrange(1, 50)},
            order_key=by.choice([None, f"{mark}-{by.randrange(5)}"]),
            headers={"X-A": mark},
        )
        for number in range(by.randrange(4))
    ]
    return webhook, mapped(*made, key=f"{mark}-{by.random()}")


async def live(store: Store, hand: Hand, by: random.Random, marks: dict[str, str], count: int) -> None:
    """Webhooks come, and their events come into every state: rows grow, and move from page to page."""
    for _ in range(count // 6):
        coming = [one(mark, by) for mark in ("erased", "keeper") * 3]
        marks.update({webhook.id: webhook.headers["x"][:6] for webhook, _ in coming})
        await asyncio.gather(*(store.accept(webhook, mapping, WINDOW) for webhook, mapping in coming))
        hand.turn(500)
        claims = (await store.claim("crm", 5, LEASE)).claims
        await asyncio.gather(*(store.record(claim, *ended(marks[claim.webhook_id], hand, by)) for claim in claims))


def ended(mark: str, hand: Hand, by: random.Random) -> tuple[Attempt, Decision]:
    match by.randrange(3):
        case 0:
            return an_attempt(result={"r": mark * by.randrange(40)}), Delivered()
        case 1:
            return an_attempt(Outcome.UNAVAILABLE, detail=mark), RetryAt(hand.at + 1000)
        case _:
            return an_attempt(Outcome.REJECTED, result={"r": mark}), Dead("rejected")


def found(path: Path, text: bytes = b"erased") -> int:
    """How often a text stands in the files of a store."""
    files = [Path(f"{path}{ending}") for ending in ("", "-wal", "-shm", "-journal")]
    return sum(file.read_bytes().count(text) for file in files if file.exists())


def is_sound(path: Path) -> bool:
    with sqlite3.connect(path) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return answer == [("ok",)]


def shown(path: Path) -> Any:
    """All that is on record."""
    with reader.reading(f"sqlite:///{path}") as connection:
        everything = (reader.Filter(), 100_000)
        events = reader.list_events(connection, *everything)
        whole = [reader.show_event(connection, event["id"]) for event in events]
        return reader.list_webhooks(connection, *everything), whole


@pytest.mark.anyio
@pytest.mark.parametrize(("path", "seed"), [(512, 0), (512, 1), (4096, 2)], indirect=["path"])
async def test_nothing_of_what_was_erased_is_left_and_the_rest_is_as_it_was(path: Path, seed: int) -> None:
    by, hand, marks = random.Random(seed), Hand(NOW), dict[str, str]()
    async with opened(path, hand) as store:
        await live(store, hand, by, marks, 150)
        claims = (await store.claim("crm", 1000, LEASE)).claims
        await asyncio.gather(*(store.record(claim, an_attempt(), Delivered()) for claim in claims))
        webhooks, events = shown(path)
        assert found(path) > 0
        for id_ in [id_ for id_, mark in marks.items() if mark == "erased"]:
            assert await store.erase(id_) is Erased.DONE
        await store.purge()
        assert found(path) == 0
        kept = {id_ for id_, mark in marks.items() if mark == "keeper"}
        assert shown(path) == (
            [webhook for webhook in webhooks if webhook["id"] in kept],
            [event for event in events if event["webhook_id"] in kept],
        )
    assert found(path) == 0
    assert is_sound(path)


@pytest.mark.anyio
async def test_others_are_stored_meanwhile(path: Path) -> None:
    by, hand, marks = random.Random(7), Hand(NOW), dict[str, str]()
    async with opened(path, hand) as store:
        await live(store, hand, by, marks, 100)
        purged = asyncio.Event()
        accepted = 0

        async def come() -> None:
            nonlocal accepted
            while not purged.is_set():
                await store.accept(*one("keeper", by), WINDOW)
                accepted += 1

        coming = [asyncio.create_task(come()) for _ in range(4)]
        try:
            for id_ in [id_ for id_, mark in marks.items() if mark == "erased"]:
                await store.erase(id_)
            for _ in range(5):
                await store.purge()
                assert found(path, b"keeper") > 0
            assert found(path) == 0
        finally:
            purged.set()
            await asyncio.gather(*coming)
        assert accepted
        assert len(shown(path)[0]) == accepted + list(marks.values()).count("keeper")
    assert found(path) == 0
    assert is_sound(path)


@pytest.mark.anyio
async def test_space_that_was_free_before_is_overwritten_too(path: Path) -> None:
    """Of a store that another SQLite wrote, one that zeroes nothing, and of whole pages that became free."""
    with owned(f"sqlite:///{path}"):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA secure_delete=OFF")
        for number in range(300):
            row = (number, f"wh_{number}", "shop", "mapped", 0, b"erased" * 5, b"erased" * (number * 7 % 900))
            other.execute("INSERT INTO webhooks(seq,id,source,state,received_at,head,body) VALUES (?,?,?,?,?,?,?)", row)
        other.commit()
        other.execute("DELETE FROM webhooks WHERE seq % 3 OR seq > 100")
        other.commit()
        other.execute("UPDATE webhooks SET head = 'h', body = 'b'")
        other.commit()
        assert other.execute("PRAGMA freelist_count").fetchone()[0] > 100
    other.close()
    assert found(path) > 100
    async with opened(path, Hand(NOW)) as store:
        await store.purge()
        assert found(path) == 0
    assert is_sound(path)


def test_every_gap_is_overwritten_and_nothing_else(path: Path) -> None:
    async def lived() -> None:
        by, hand, marks = random.Random(3), Hand(NOW), dict[str, str]()
        async with opened(path, hand) as store:
            await live(store, hand, by, marks, 60)
            await store.purge()

    asyncio.run(lived())
    before = path.read_bytes()
    size = int.from_bytes(before[16:18])
    spoilt = bytearray(before)
    gaps = 0
    for start in range(0, len(before), size):
        at = start + (100 if start == 0 else 0)
        if before[at] in (2, 5, 10, 13):
            first = at + (12 if before[at] < 6 else 8) + 2 * int.from_bytes(before[at + 3 : at + 5])
            last = start + int.from_bytes(before[at + 5 : at + 7])
            spoilt[first:last] = b"x" * (last - first)
            gaps += last > first
    assert gaps > 10
    path.write_bytes(spoilt)
    assert is_sound(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        free_space.overwrite(descriptor)
    finally:
        os.close(descriptor)
    assert path.read_bytes() == before


def test_an_empty_file_has_nothing_to_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    try:
        free_space.overwrite(descriptor)
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b""
    assert free_space.pages_of(path) == set()
    assert free_space.pages_of(tmp_path / "none") == set()


def test_a_file_whose_pages_cannot_be_told_apart_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA auto_vacuum=FULL")
        connection.execute("CREATE TABLE t(x)")
    connection.close()
    descriptor = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(StoreError, match="let SQLite VACUUM it"):
            free_space.overwrite(descriptor)
    finally:
        os.close(descriptor)


# who holds it


@contextmanager
def reading_process(path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that reads the store, and goes on reading what it was then."""
    command = (sys.executable, "-c", READER, str(path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "reading\n"
            yield process
        finally:
            process.kill()


@pytest.mark.anyio
@pytest.mark.timing
async def test_a_reader_of_what_was_before_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_PATIENCE", 0.3)
    async with opened(path, Hand(NOW)) as store:
        webhook, mapping = one("erased", random.Random(1))
        await store.accept(webhook, mapping, WINDOW)
        with reading_process(path) as process:
            told = rf"^process {process.pid} \(python[0-9.]*\) is reading .*bridge\.db$"
            with pytest.raises(StoreUnavailable, match=told):
                await store.check_purging()
            await store.erase(webhook.id)
            with pytest.raises(StoreUnavailable, match=told):
                await store.purge()
            assert found(path) > 0
            await store.accept(*one("keeper", random.Random(1)), WINDOW)  # nobody else is kept waiting
        await store.check_purging()
        await store.purge()
        assert found(path) == 0
    assert is_sound(path)


@pytest.mark.anyio
@pytest.mark.timing
async def test_a_reader_of_the_file_itself_is_named_before_anything_is_erased(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_PATIENCE", 0.3)
    async with opened(path, Hand(NOW)):
        pass  # its end empties the WAL
    with reading_process(path) as process:
        async with opened(path, Hand(NOW)) as store:
            with pytest.raises(StoreUnavailable, match=f"^process {process.pid} "):
                await store.check_purging()


@pytest.mark.anyio
@pytest.mark.timing
async def test_a_reader_that_ends_in_time_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_PATIENCE", 60.0)
    async with opened(path, Hand(NOW)) as store:
        webhook, mapping = one("erased", random.Random(1))
        await store.accept(webhook, mapping, WINDOW)
        with reading_process(path) as process:
            await store.erase(webhook.id)
            held, between = asyncio.Event(), store._writer.between

            async def watched(work: Any) -> Any:
                if (answer := await between(work)) is False:
                    held.set()
                return answer

            monkeypatch.setattr(store._writer, "between", watched)
            purge = asyncio.create_task(store.purge())
            await held.wait()
            process.kill()
            await purge
        assert found(path) == 0


@pytest.mark.anyio
async def test_a_reading_of_this_process_is_named_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_PATIENCE", 0.0)
    async with opened(path, Hand(NOW)) as store:
        await store.accept(*one("keeper", random.Random(1)), WINDOW)
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM webhooks").fetchall()
            with pytest.raises(StoreUnavailable, match=r"^this bridge itself is reading "):
                await store.check_purging()
        connection.close()


@pytest.mark.anyio
async def test_those_who_purge_at_once_do_so_one_after_the_other(path: Path) -> None:
    by, hand, marks = random.Random(5), Hand(NOW), dict[str, str]()
    async with opened(path, hand) as store:
        await live(store, hand, by, marks, 60)

        async def erase(id_: str) -> None:
            await store.check_purging()
            await store.erase(id_)
            await store.purge()

        await asyncio.gather(*(erase(id_) for id_, mark in marks.items() if mark == "erased"))
        assert found(path) == 0
        assert {event["state"] for event in shown(path)[1]} <= set(EventState)
        driver = await store._writer.between(lambda driver: driver.execute("PRAGMA wal_autocheckpoint").fetchall())
        assert driver == [(1000,)]
    assert is_sound(path)


@pytest.mark.anyio
async def test_a_database_that_nobody_owns_is_not_purged(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    store = Store(engine)
    await store.check_purging()
    await store.purge()
    store.close()
    engine.dispose()


@pytest.mark.anyio
@pytest.mark.parametrize("cut_off_by", ["cancel", "close"])
async def test_nobody_writes_to_the_file_while_a_purge_that_is_cut_off_still_does(
    path: Path, cut_off_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, order = threading.Event(), threading.Event(), list[str]()
    zeroed = free_space._zero

    def slowly(*arguments: Any) -> None:
        if not begun.is_set():
            begun.set()
            go_on.wait()
            order.append("overwritten")
        zeroed(*arguments)

    monkeypatch.setattr(free_space, "_zero", slowly)
    by = random.Random(7)
    async with opened(path, Hand(NOW)) as store:
        for _ in range(20):
            await store.accept(*one("keeper", by), WINDOW)
        purge = asyncio.create_task(store.purge())
        await asyncio.to_thread(begun.wait)
        for _ in range(20):
            await store.accept(*one("keeper", by), WINDOW)
        if cut_off_by == "cancel":
            purge.cancel()
        else:
            closing = asyncio.create_task(asyncio.to_thread(store.close))
            closing.add_done_callback(lambda _: order.append("closed"))
        await asyncio.sleep(0.05)  # whatever would go on by itself does
        assert not purge.done()
        go_on.set()
        with suppress(StoreUnavailable, asyncio.CancelledError):  # of a store that is closed
            await purge
        if cut_off_by == "close":
            await closing
    assert order[0] == "overwritten"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM webhooks").fetchone() == (40,)
    connection.close()
