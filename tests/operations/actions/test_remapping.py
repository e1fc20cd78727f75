"""What a remap counts: each webhook once, the same before it is done and while it is done."""

import pytest

from bridge.model import EventState
from bridge.operations.actions import remapping
from bridge.store.actions import Selection
from bridge.store.reader import Filter
from operations.support import LINES, Office

pytestmark = pytest.mark.anyio

SHOP = Selection(filter=Filter(source="shop"))


@pytest.mark.parametrize("state", [EventState.PENDING, EventState.DELIVERED, EventState.HELD, EventState.DISCARDED])
async def test_the_deed_counts_what_its_preview_said(state: EventState, office: Office) -> None:
    await office.receive_lines("a", "b")
    await office.bring(state)
    await office.receive(b"[")
    office.configuration.write(LINES.replace("    key:", "    when: item.sku == 'b'\n    key:"))
    shown = remapping.preview(office.operator.queries, SHOP)
    assert (shown["count"], shown["done"], shown["failed_count"]) == (2, 0, 1)
    done = await office.operator.remap(SHOP)
    assert done == shown | {"done": 2}


async def test_a_remap_maps_each_webhook_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.receive_lines("a")
    with monkeypatch.context() as patch:
        patch.delattr(remapping, "process")  # what the preview maps by
        assert (await office.operator.remap(SHOP))["done"] == 1
