"""Sealed refresh tokens: one for each target, the last one that was kept."""

import pytest

from bridge.store.store import Store

from .support import together

pytestmark = pytest.mark.anyio


async def test_the_last_token_of_each_target_is_kept(store: Store) -> None:
    assert await store.load_refresh_token("crm") is None
    await store.save_refresh_token("crm", b"first")
    await store.save_refresh_token("crm", b"\x00second")
    await store.save_refresh_token("support", b"third")
    asked = (store.load_refresh_token(name) for name in ("crm", "support", "other", "crm"))
    assert await together(store, *asked) == [b"\x00second", b"third", None, b"\x00second"]


async def test_two_that_are_kept_at_once_do_not_disturb_each_other(store: Store) -> None:
    await together(store, store.save_refresh_token("crm", b"one"), store.save_refresh_token("crm", b"two"))
    assert await store.load_refresh_token("crm") in (b"one", b"two")
