"""States of targets, put in place by tests."""

from dataclasses import replace

from bridge.store.store import Store
from bridge.target_state import TargetState


async def put_target(store: Store, state: TargetState) -> TargetState:
    """Store a target's state, whatever it was before."""
    before = await store.target(state.name)
    transition = await store.change_target(before, replace(state, version=before.version))
    assert transition
    return transition.after
