import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from running import HANG
from sqlalchemy import Connection, Engine, event, text

from bridge.errors import StoreError, StoreUnavailable
from bridge.store import database
from bridge.store.writer import Writer

from .support import writing

pytestmark = [pytest.mark.anyio, pytest.mark.timing]


@pytest.fixture
def writer(engine: Engine) -> Iterator[Writer]:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    writer = Writer(engine, 5)
    yield writer
    writer.close()


class Gate:
    """An operation that keeps the writer busy until the gate is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, _connection: Connection, asks: Sequence[None]) -> Sequence[None]:
        self.reached.set()
        assert self.opened.wait(HANG)
        return [None] * len(asks)

    async def closed(self, writer: Writer) -> "asyncio.Task[None]":
        """Send the writer into the gate."""
        waiting = asyncio.create_task(writer.run(self, None))
        await asyncio.to_thread(self.reached.wait)
        return waiting


def note(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
    for each in notes:
        connection.execute(text("INSERT INTO notes VALUES (:note)"), {"note": each or None})
    return [each.upper() for each in notes]


def refuse_x(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
    note(connection, notes)
    if "x" in notes:
        raise LookupError(f"refused: {notes}")
    return notes


def complain(_connection: Connection, asks: Sequence[str]) -> Sequence[str]:
    raise StoreError(f"there is no {asks[0]}")


def forget_one(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
    return note(connection, notes)[1:]


def _notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT note FROM notes")).scalars())


async def _line_up(*tasks: "asyncio.Task[str]") -> None:
    """Let tasks get in the writer's line, in their order."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_what_is_returned_is_committed(writer: Writer, look: Engine) -> None:
    assert await writer.run(note, "a") == "A"
    assert _notes(look) == ["a"]


async def test_whoever_waits_shares_one_commit_and_gets_an_own_result(
    writer: Writer, engine: Engine, look: Engine
) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, letter)) for letter in "abcdefgh"]
    await _line_up(*tasks)
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    gate.opened.set()
    await waiting
    assert await asyncio.gather(*tasks) == list("ABCDEFGH")
    assert len(commits) == 2  # the gate's, and one for all eight
    assert _notes(look) == list("abcdefgh")


async def test_a_bad_row_fails_alone_and_the_others_of_its_commit_do_not(writer: Writer, look: Engine) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    calls = [(note, "a"), (refuse_x, "b"), (refuse_x, "x"), (note, ""), (complain, "c"), (note, "d"), (refuse_x, "e")]
    tasks = [asyncio.create_task(writer.run(operation, argument)) for operation, argument in calls]
    await _line_up(*tasks)
    gate.opened.set()
    await waiting
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [o if isinstance(o, str) else type(o) for o in outcomes] == [
        "A",
        "b",
        StoreUnavailable,
        StoreUnavailable,
        StoreError,
        "D",
        "e",
    ]
    assert _notes(look) == ["a", "b", "d", "e"]


async def test_an_operation_that_breaks_leaves_nothing_and_its_error_quotes_no_argument(
    writer: Writer, look: Engine
) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await writer.run(refuse_x, "x")
    assert "refused" not in str(caught.value)
    assert isinstance(caught.value.__cause__, LookupError)
    assert _notes(look) == []


async def test_an_operation_with_a_wrong_number_of_results_is_not_committed(writer: Writer, look: Engine) -> None:
    with pytest.raises(StoreUnavailable):
        await writer.run(forget_one, "a")
    assert _notes(look) == []


async def test_a_caller_that_gave_up_before_its_turn_is_not_served(writer: Writer, look: Engine) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, letter)) for letter in "abc"]
    await _line_up(*tasks)
    tasks[1].cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    await waiting
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert (outcomes[0], outcomes[2]) == ("A", "C")
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert _notes(look) == ["a", "c"]


async def test_a_caller_beyond_the_backlog_is_refused_at_once(writer: Writer, look: Engine) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, "a")) for _ in range(10_000)]  # and the gate's
    await asyncio.sleep(0)
    assert tasks[-1].done()
    assert isinstance(tasks[-1].exception(), StoreUnavailable)
    assert not tasks[-2].done()
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    await waiting
    assert await writer.run(note, "b") == "B"
    assert _notes(look) == ["b"]


async def test_large_calls_are_refused_where_too_much_waits_and_small_ones_are_not(
    writer: Writer, look: Engine
) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    large = [asyncio.create_task(writer.run(note, "a", cost=16 << 20)) for _ in range(5)]
    await asyncio.sleep(0)
    assert [task.done() for task in large] == [False] * 4 + [True]
    assert isinstance(large[-1].exception(), StoreUnavailable)
    small = asyncio.create_task(writer.run(note, "b"))
    gate.opened.set()
    await waiting
    assert await small == "B"
    assert await asyncio.gather(*large[:-1]) == ["A"] * 4
    assert await writer.run(note, "c", cost=16 << 20) == "C"
    assert sorted(_notes(look)) == ["a"] * 4 + ["b", "c"]


async def test_a_large_call_has_a_commit_of_its_own_and_all_others_a_turn_before_the_next(writer: Writer) -> None:
    order: list[list[str]] = []

    def told(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
        order.append(list(notes))
        return note(connection, notes)

    async def after_the_first() -> str:
        await asyncio.to_thread(first.reached.wait)
        late = asyncio.create_task(writer.run(told, "late"))
        await asyncio.sleep(0)  # it gets in line
        asyncio.get_running_loop().call_soon(first.opened.set)
        return await late

    gate, first = Gate(), Gate()
    waiting = await gate.closed(writer)
    large = [writer.run(first, None, cost=1 << 20), *(writer.run(told, name, cost=1 << 20) for name in ("B", "C"))]
    small = [writer.run(told, name) for name in ("d", "e")]
    tasks = [asyncio.create_task(call) for call in (*large, *small, after_the_first())]
    await asyncio.sleep(0)
    gate.opened.set()
    await waiting
    await asyncio.gather(*tasks)
    assert order == [["d", "e"], ["late"], ["B"], ["C"]]


async def test_a_large_commit_empties_no_journal_and_it_is_emptied_after_others_had_a_turn(tmp_path: Path) -> None:
    engine = database.writing_engine(f"sqlite:///{tmp_path / 'large.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    writer, sizes = Writer(engine, 5), []

    def noted(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
        sizes.append((tmp_path / "large.db").stat().st_size)
        return note(connection, notes)

    gate = Gate()
    waiting = await gate.closed(writer)
    large = asyncio.create_task(writer.run(gate, None, cost=1 << 20))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(writer.run(noted, "x" * (8 << 20), cost=8 << 20)) for _ in range(2)]
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(waiting, large, *tasks)
    assert await writer.between(lambda driver: driver.execute("PRAGMA wal_autocheckpoint").fetchall()) == [(1000,)]
    writer.close()
    engine.dispose()
    assert sizes[0] < 1 << 20
    assert sizes[1] > 8 << 20


async def test_a_journal_that_somebody_keeps_from_being_emptied_stays_so(tmp_path: Path) -> None:
    engine = database.writing_engine(f"sqlite:///{tmp_path / 'kept.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    writer = Writer(engine, 5)
    await writer.between(lambda driver: driver.execute("PRAGMA wal_autocheckpoint=0").fetchall())
    await writer.run(note, "x" * (8 << 20), cost=8 << 20)
    await writer.run(note, "y")
    assert await writer.between(lambda driver: driver.execute("PRAGMA wal_autocheckpoint").fetchall()) == [(0,)]
    assert (tmp_path / "kept.db").stat().st_size < 1 << 20
    writer.close()
    engine.dispose()


async def test_one_commit_holds_so_many_bytes(writer: Writer, engine: Engine, look: Engine) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, "a", cost=200 << 10)) for _ in range(50)]
    await _line_up(*tasks)
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)
    gate.opened.set()
    await waiting
    await asyncio.gather(*tasks)
    assert len(commits) == 4  # the gate's, and 20 at a time
    assert len(_notes(look)) == 50


async def test_callers_that_gave_up_count_until_the_disk_gets_to_them(writer: Writer, look: Engine) -> None:
    """Else a disk that hangs would gather the bodies of all who come meanwhile."""
    gate = Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, "a")) for _ in range(9_999)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(StoreUnavailable, match="keep up"):
        await writer.run(note, "a")
    gate.opened.set()
    await waiting
    assert await writer.run(note, "b") == "B"
    assert _notes(look) == ["b"]


async def test_closing_commits_what_waits(writer: Writer, look: Engine) -> None:
    gate = Gate()
    await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(note, letter)) for letter in "ab"]
    await _line_up(*tasks)
    closing = asyncio.create_task(asyncio.to_thread(writer.close))
    await asyncio.sleep(0)
    gate.opened.set()
    await closing
    assert await asyncio.gather(*tasks) == ["A", "B"]
    assert _notes(look) == ["a", "b"]


def test_a_caller_whose_loop_is_gone_disturbs_nobody(writer: Writer, look: Engine) -> None:
    gate = Gate()

    async def leave() -> None:
        await gate.closed(writer)
        asyncio.create_task(writer.run(note, "left")).add_done_callback(lambda _: None)
        await asyncio.sleep(0)

    asyncio.run(leave())  # ends with both calls under way
    gate.opened.set()
    assert asyncio.run(writer.run(note, "b")) == "B"
    assert _notes(look) == ["b"]


async def test_a_server_that_hung_up_fails_the_whole_commit_and_the_next_works(postgresql_url: str) -> None:
    engine, other = database.writing_engine(postgresql_url), database.reading_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    tried: list[str] = []

    def hang_up(connection: Connection, notes: Sequence[str]) -> Sequence[str]:
        tried.extend(notes)
        result = note(connection, notes)
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        with other.connect() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": mine}).all()
        return result

    writer, gate = Writer(engine, 5), Gate()
    waiting = await gate.closed(writer)
    tasks = [asyncio.create_task(writer.run(operation, "a")) for operation in (note, note, hang_up)]
    await _line_up(*tasks)
    gate.opened.set()
    await waiting
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [StoreUnavailable] * 3
    assert tried == ["a"]  # nobody can tell what became of it, so it is not done again
    assert await writer.run(note, "b") == "B"
    assert _notes(other) == ["b"]
    writer.close()
    engine.dispose()
    other.dispose()


async def test_a_full_disk_is_told_and_passes(tmp_path: Path) -> None:
    engine = database.writing_engine(f"sqlite:///{tmp_path / 'small.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    driver = writing(engine)
    driver.execute("PRAGMA max_page_count = 8")
    writer = Writer(engine, 5)
    with pytest.raises(StoreUnavailable, match="full"):
        await writer.run(note, "a" * 100_000)
    assert await writer.run(note, "small") == "SMALL"
    driver.execute("PRAGMA max_page_count = 1000000")
    assert await writer.run(note, "b" * 100_000) == "B" * 100_000
    writer.close()
    assert [len(each) for each in _notes(engine)] == [5, 100_000]
    engine.dispose()


async def test_a_database_that_another_program_locks_is_told_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    engine = database.writing_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT NOT NULL)"))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    writer = Writer(engine, 5)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await writer.run(note, "a")
    other.execute("ROLLBACK")
    other.close()
    assert await writer.run(note, "b") == "B"
    writer.close()
    assert _notes(engine) == ["b"]
    engine.dispose()


async def test_a_closed_writer_refuses_instead_of_keeping_a_caller_waiting(engine: Engine) -> None:
    writer = Writer(engine, 5)
    writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.run(note, "a")


async def test_a_writer_that_is_closing_refuses_whoever_comes_and_serves_whoever_waits(writer: Writer) -> None:
    gate = Gate()
    waiting = await gate.closed(writer)
    before = asyncio.create_task(writer.between(lambda _: "served"))
    await asyncio.sleep(0)
    closing = threading.Thread(target=writer.close)
    closing.start()
    try:
        while True:  # until it has begun to close
            came = asyncio.create_task(writer.run(note, "a"))
            await asyncio.sleep(0)
            if came.done():
                break
            await asyncio.sleep(0.001)
        with pytest.raises(StoreUnavailable, match="closed"):
            await came
        with pytest.raises(StoreUnavailable, match="closed"):
            await writer.between(lambda _: None)
    finally:
        gate.opened.set()
        closing.join(HANG)
    await waiting
    assert await before == "served"


async def test_what_no_transaction_can_hold_runs_between_two(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    writer = Writer(engine, 5)
    gate = Gate()
    waiting = await gate.closed(writer)
    between = [asyncio.create_task(writer.between(lambda driver: driver.in_transaction)) for _ in range(2)]
    emptied = asyncio.create_task(
        writer.between(lambda driver: driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    )
    gate.opened.set()
    await waiting
    assert await asyncio.gather(*between) == [False, False]
    assert await emptied == [(0, 0, 0)]
    with pytest.raises(StoreUnavailable, match="OperationalError"):
        await writer.between(lambda driver: driver.execute("PRAGMA nothing; SELECT"))
    writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.between(lambda _: None)
    engine.dispose()
