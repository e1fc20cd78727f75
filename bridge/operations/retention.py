"""Deletes webhooks older than `keep`, with their events and attempts."""

import asyncio

from bridge.errors import StoreUnavailable
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.store.store import Store

_EVERY = 3600.0  # seconds between looks


async def forget(store: Store, keep: int) -> int:
    """Delete webhooks stored over `keep` milliseconds ago; return how many. Undecided events keep theirs."""
    before, forgotten = store.clock.running() - keep, 0
    cursor: int | None = 0
    while cursor is not None:
        cursor, deleted = await store.forget(before, cursor)
        forgotten += deleted
    return forgotten


async def run(store: Store, keep: int) -> None:
    """Forget now and then every hour, until cancelled."""
    while True:
        try:
            if count := await forget(store, keep):
                log.info(logs.STORE_PRUNED, webhooks=count)
        except StoreUnavailable as error:
            log.error(logs.STORE_PRUNING_FAILED, error=str(error))
        await asyncio.sleep(_EVERY)
