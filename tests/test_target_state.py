from store.support import HOUR, MINUTE, NOW

from bridge.target_state import TargetState


def test_the_target_s_clock_stands_still_while_the_target_is_paused() -> None:
    state = TargetState(name="crm", paused_at=NOW, paused_total=MINUTE)
    assert state.clock(NOW - HOUR) == NOW - HOUR - MINUTE
    assert state.clock(NOW) == state.clock(NOW + HOUR) == NOW - MINUTE
    assert TargetState(name="crm", paused_total=MINUTE).clock(NOW + HOUR) == NOW + HOUR - MINUTE
