"""Detects steps of the wall clock, and stores the time for the next run to go on from."""

import asyncio
import contextlib

from bridge.errors import StoreUnavailable
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.store.store import Store

_EVERY = 30.0  # seconds between looks


async def look(store: Store) -> None:
    """Look at the clocks once."""
    if step := store.clock.step():
        log.warning(logs.CLOCK_STEPPED, seconds=step / 1000)
    with contextlib.suppress(StoreUnavailable):  # all others tell of it
        await store.keep_time()


async def run(store: Store) -> None:
    """Look at them now and then every half minute, until cancelled."""
    while True:
        await look(store)
        await asyncio.sleep(_EVERY)
