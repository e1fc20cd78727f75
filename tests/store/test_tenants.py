from dataclasses import replace

import pytest
from sqlalchemy import Engine

from bridge.store import tenants
from bridge.store.store import Store
from bridge.target_state import TenantState

from .support import MINUTE, NOW

pytestmark = pytest.mark.anyio

RUNNING = TenantState(
    target="crm",
    tenant="Cust12345",
    state="Running",
    running=True,
    url="https://online3.superoffice.com/Cust12345/api",
    asked_at=NOW,
    valid_until=253_402_300_799_000,
)


async def test_what_was_said_last_of_each_tenant_is_kept(store: Store, look: Engine) -> None:
    away = replace(RUNNING, state="OfflineMaintenance", running=False, url=None, asked_at=NOW + MINUTE)
    other = replace(RUNNING, target="erp", tenant="Cust2")
    with look.connect() as connection:
        assert tenants.load(connection) == {}
    for state in (RUNNING, other, away):
        await store.save_tenant(state)
    with look.connect() as connection:
        assert tenants.load(connection) == {"crm": away, "erp": other}
