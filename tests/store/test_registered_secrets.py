import pytest
from sqlalchemy import Engine, func, select

from bridge.store.registered_secrets import MOST, RegisteredSecret
from bridge.store.store import Store
from bridge.store.tables import handed_over
from store.support import MINUTE, NOW, together

pytestmark = pytest.mark.anyio


def a_secret(text: str, source: str = "asana", at: int = NOW) -> RegisteredSecret:
    return RegisteredSecret(source=source, secret=text, client="192.0.2.1", received_at=at)


def count(look: Engine) -> int:
    with look.connect() as connection:
        return connection.execute(select(func.count()).select_from(handed_over)).scalar_one()


async def test_what_was_handed_over_can_be_taken_once_and_is_gone(store: Store, look: Engine) -> None:
    first, second = a_secret("one"), a_secret("two", at=NOW + MINUTE)
    assert await store.keep_secret(first)
    assert await store.keep_secret(second)
    assert await store.take_secrets("asana") == (first, second)
    assert await store.take_secrets("asana") == ()
    assert count(look) == 0


async def test_each_source_has_its_own(store: Store) -> None:
    mine, other = a_secret("one"), a_secret("one", source="notion")
    assert [await store.keep_secret(secret) for secret in (mine, other)] == [True, True]
    assert await store.take_secrets("asana") == (mine,)
    assert await store.take_secrets("notion") == (other,)


async def test_the_same_secret_again_is_kept_once(store: Store) -> None:
    assert await together(store, *(store.keep_secret(a_secret("one", at=NOW + n)) for n in range(3))) == [True] * 3
    assert await store.take_secrets("asana") == (a_secret("one"),)


async def test_strangers_cannot_fill_the_store_with_secrets(store: Store, look: Engine) -> None:
    kept = await together(store, *(store.keep_secret(a_secret(str(number))) for number in range(MOST + 5)))
    assert kept == [True] * MOST + [False] * 5
    assert count(look) == MOST
    assert await store.keep_secret(a_secret("one", source="notion"))
    assert await store.keep_secret(a_secret("0")), "a sender that repeats its handshake is answered again"
    await store.take_secrets("asana")
    assert await store.keep_secret(a_secret("late"))


def test_a_secret_does_not_show_itself() -> None:
    assert "hush" not in repr(a_secret("hush"))
