"""A target whose tenant goes away for a night: its events wait, grow no older, and are sent when it is back."""

import pytest
from clocks import Hand
from superoffice.support import compiled

from bridge.model import PauseReason
from bridge.observing import logs
from bridge.sandbox.superoffice import Sandbox, serving

from .support import HOUR, Base, Log, accept, quiet, running, target_worker

pytestmark = pytest.mark.anyio

ID = "Cust12345"
MINUTE = 60_000


async def test_a_night_of_maintenance_costs_no_event_and_no_age(base: Base, hand: Hand, log: Log) -> None:
    base.clock = hand
    sandbox = Sandbox(now=hand)
    async with base.opened() as store, serving(sandbox) as url:
        crm = compiled("", online={"environment": url, "tenant": ID}, clock=hand)
        one = target_worker(store, crm.send, first_wait="2s", max_wait="15m", max_attempts=3)
        async with running(one):
            await accept(store, 1, at=hand())
            one.wake()
            await log.told(logs.EVENT_DELIVERED)

            sandbox.tenants.set(ID, state="OfflineMaintenance", left_behind=503)
            await accept(store, 5, max_age=HOUR, at=hand())
            one.wake()
            await log.told(logs.TARGET_PAUSED)
            await log.told(logs.ATTEMPT_FINISHED, 6)
            assert (await store.target("crm")).reason == PauseReason.TENANT

            probes = waits = 0
            while hand.at < 1_764_003_600_000 + 10 * HOUR:
                next_probe_at = (await store.target("crm")).next_probe_at
                assert next_probe_at is not None
                waits = max(waits, next_probe_at - hand.at)
                hand.at = next_probe_at
                one.wake()
                probes += 1
                await log.told(logs.ATTEMPT_FINISHED, 6 + probes)
                await quiet(store)
            assert waits == 15 * MINUTE
            assert 40 <= probes <= 60

            sandbox.tenants.set(ID, state="Running", host="online2")
            hand.at = (await store.target("crm")).next_probe_at or 0
            one.wake()
            await log.told(logs.EVENT_DELIVERED, 6)
        await crm.close()
    (paused,) = log.named(logs.TARGET_PAUSED)
    assert (paused["reason"], paused["detail"]) == ("tenant", "the tenant is not running (OfflineMaintenance)")
    (resumed,) = log.named(logs.TARGET_RESUMED)
    assert resumed["seconds"] >= 10 * 3600
    assert log.named(logs.EVENT_DEAD) == []
    assert base.states() == ["delivered"] * 6
    assert [event.tenant for event in sandbox.events()] == [f"online1/{ID}"] + [f"online2/{ID}"] * 5
    posts = sum(sandbox.requests[f"online1/{ID}"].values())
    assert posts <= 1 + 5  # those that were under way found a 503; no probe posted anything
