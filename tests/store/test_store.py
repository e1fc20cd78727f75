import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clocks import Hand
from running import HANG
from sqlalchemy import Engine, create_engine, make_url, text
from targets import put_target

from bridge.errors import StoreError, StoreLocked, StoreUnavailable, StoreVersion
from bridge.model import Delivered
from bridge.store import database
from bridge.store.store import Store, owned
from bridge.target_state import TargetState

from .support import LEASE, NOW, WINDOW, a_webhook, an_attempt, an_event, mapped, one, states, webhook_ids, writing


@contextmanager
def stopped_commits(url: str) -> Iterator[Callable[[], None]]:
    """Nobody else can write to this database until the function that this gives is called."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        locking = "LOCK TABLE webhooks, alembic_version IN EXCLUSIVE MODE"
        for statement in ("BEGIN IMMEDIATE",) if engine.dialect.name == "sqlite" else ("BEGIN", locking):
            connection.exec_driver_sql(statement)

        def resume() -> None:
            connection.exec_driver_sql("ROLLBACK")

        yield resume
    engine.dispose()


@pytest.mark.anyio
async def test_a_commit_over_the_limit_is_unavailable_to_its_caller(engine: Engine, url: str, look: Engine) -> None:
    store = Store(engine, Hand(NOW), commit_within=0.05)
    first, second = one(), one()
    with stopped_commits(url) as resume:
        with pytest.raises(StoreUnavailable, match=r"over 0\.05 s"):
            await store.accept(*first, WINDOW)
        with pytest.raises(StoreUnavailable):  # it waits behind the first, and gives up before its turn
            await store.accept(*second, WINDOW)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        resume()
    store.close()
    # The first was under way, so it may well be stored: its sender comes again, and the key tells. The second is not.
    assert webhook_ids(look) == [first[0].id]


@pytest.mark.anyio
async def test_what_was_stored_too_late_is_a_duplicate_when_it_comes_again(engine: Engine, url: str) -> None:
    store = Store(engine, Hand(NOW), commit_within=0.05)
    webhook = a_webhook()
    mapping = mapped(an_event(webhook), key="k")
    with stopped_commits(url) as resume:
        with pytest.raises(StoreUnavailable):
            await store.accept(webhook, mapping, WINDOW)
        resume()
    store.close()
    again = Store(engine, Hand(NOW))
    receipt = await again.accept(a_webhook(), mapping, WINDOW)
    assert (receipt.webhook_id, receipt.duplicate) == (webhook.id, True)
    again.close()


@pytest.mark.anyio
async def test_what_is_accepted_in_time_is_not_hurried(engine: Engine, url: str) -> None:
    store = Store(engine, Hand(NOW), commit_within=HANG)
    with stopped_commits(url) as resume:
        accepting = asyncio.create_task(store.accept(*one(), WINDOW))
        await asyncio.sleep(0)
        resume()
    assert not (await accepting).duplicate
    store.close()


@pytest.mark.anyio
async def test_a_ping_commits(store: Store) -> None:
    await store.ping()


@pytest.mark.anyio
async def test_a_ping_to_a_store_that_cannot_commit_is_unavailable(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    driver = writing(engine)
    store = Store(engine, Hand(NOW))
    driver.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailable, match="readonly"):
        await store.ping()
    driver.execute("PRAGMA query_only = 0")
    await store.ping()
    store.close()
    engine.dispose()


@pytest.mark.anyio
async def test_a_full_disk_refuses_webhooks_and_stores_them_again_when_there_is_room(sqlite_url: str) -> None:
    engine = database.writing_engine(sqlite_url)
    look = database.reading_engine(sqlite_url)
    driver = writing(engine)
    store = Store(engine, Hand(NOW))
    big = a_webhook(body=b"x" * 300_000)
    driver.execute("PRAGMA max_page_count = 40")
    with pytest.raises(StoreUnavailable, match="full"):
        await store.accept(big, mapped(an_event(big), key="k"), WINDOW)
    assert webhook_ids(look) == []
    driver.execute("PRAGMA max_page_count = 1000000")
    receipt = await store.accept(big, mapped(an_event(big), key="k"), WINDOW)
    assert not receipt.duplicate
    assert (await store.load(big.id)).body == big.body
    store.close()
    engine.dispose()
    look.dispose()


def test_whatever_was_committed_is_there_after_a_kill(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bridge.db'}"
    program = f"""
import asyncio, os, signal
from bridge.store.store import Store, owned
from tests_support import one
async def main(engine):
    store = Store(engine)
    receipts = await asyncio.gather(*(store.accept(*one(), 0) for _ in range(20)))
    print(*(r.webhook_id for r in receipts), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
with owned({url!r}) as engine:
    asyncio.run(main(engine))
"""
    (tmp_path / "tests_support.py").write_text((Path(__file__).parent / "support.py").read_text())
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{Path(database.__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == -9, ran.stderr
    with owned(url) as engine:
        assert sorted(webhook_ids(engine)) == sorted(ran.stdout.splitlines()[-1].split())
        assert states(engine) == ["pending"] * 20


@pytest.mark.anyio
async def test_an_owned_database_is_migrated_and_nobody_elses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'down' / 'bridge.db'}"
    with owned(url) as engine:
        store = Store(engine)
        await store.start()
        await store.accept(*one(), WINDOW)
        store.close()
        with pytest.raises(StoreLocked), owned(url):
            pass
    with owned(url) as engine:  # the lock went with its owner
        assert states(engine) == ["pending"]


@pytest.mark.anyio
async def test_the_whole_way_of_an_event_survives_a_restart(sqlite_url: str) -> None:
    hand = Hand(NOW)
    with owned(sqlite_url) as engine:
        store = Store(engine, hand)
        await store.accept(*one(), WINDOW)
        (claim,) = (await store.claim("crm", 1, LEASE)).claims
        await put_target(store, TargetState(name="crm", paused_at=hand.at))
        store.close()
    with owned(sqlite_url) as engine:
        store = Store(engine, hand)
        await store.start()
        assert (await store.target("crm")).paused_at == hand.at
        assert await store.take_over(expired_only=False) == [(claim, hand.at)]
        await store.record(claim, an_attempt(), Delivered())
        store.close()
        assert states(engine) == ["delivered"]


@pytest.mark.anyio
async def test_a_file_that_is_no_database_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "bridge.db"
    path.write_text("no database, " * 1000)
    with pytest.raises(StoreError, match="not a database"), owned(f"sqlite:///{path}"):
        pass
    assert path.read_text() == "no database, " * 1000


@pytest.mark.anyio
async def test_a_database_of_a_newer_bridge_is_refused_and_left_alone(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    with pytest.raises(StoreVersion, match="f00d is of a newer bridge"), owned(url):
        pass
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "f00d"
    engine.dispose()


@pytest.mark.anyio
async def test_owning_needs_no_lock_on_postgresql(postgresql_url: str) -> None:
    assert make_url(postgresql_url).get_backend_name() == "postgresql"
    with owned(postgresql_url), owned(postgresql_url):
        pass
