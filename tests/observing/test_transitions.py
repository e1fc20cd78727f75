"""One publisher of transitions: whoever subscribes learns of each, and the log has its line."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from bridge.model import Claim, EventState, PauseReason
from bridge.observing import logs
from bridge.observing.transitions import (
    EventStopped,
    TargetPaused,
    TargetResumed,
    Transition,
    Transitions,
    log_transition,
)

PAUSED = TargetPaused(target="crm", reason=PauseReason.BREAKER, detail="no answer", next_probe_at="2026-12-01")


def test_every_subscriber_learns_of_every_transition_in_order() -> None:
    first: list[Transition] = []
    second: list[Transition] = []
    transitions = Transitions(first.append, second.append)
    resumed = TargetResumed(target="crm", reason=PauseReason.BREAKER, seconds=2.5)
    transitions.publish(PAUSED)
    transitions.publish(resumed)
    assert first == second == [PAUSED, resumed]


@pytest.mark.parametrize(
    ("reason", "level"),
    [(reason, "warning") for reason in (PauseReason.BREAKER, PauseReason.TENANT, PauseReason.OPERATOR)]
    + [(reason, "error") for reason in (PauseReason.UNAUTHORIZED, PauseReason.MISCONFIGURED, PauseReason.MOVED)],
)
def test_a_pause_that_needs_somebody_is_an_error_in_the_log(reason: PauseReason, level: str) -> None:
    with capture_logs() as lines:
        log_transition(TargetPaused(target="crm", reason=reason))
    assert [(line["event"], line["log_level"], line["reason"]) for line in lines] == [
        (logs.TARGET_PAUSED, level, reason)
    ]


@pytest.mark.parametrize(("state", "name"), [(EventState.DEAD, logs.EVENT_DEAD), (EventState.HELD, logs.EVENT_HELD)])
def test_an_event_that_is_dead_or_held_is_an_error_with_its_fields(state: EventState, name: str) -> None:
    values: dict[str, Any] = dict.fromkeys(Claim.__struct_fields__, "") | {"event_id": "ev_1", "attempt": 3}
    claim = Claim(**values)
    with capture_logs() as lines:
        log_transition(EventStopped(claim=claim, state=state, reason="unknown", seconds=2.5, message="no"))
    (line,) = lines
    assert (
        line.items()
        >= {"event": name, "log_level": "error", "event_id": "ev_1", "attempts": 3, "message": "no"}.items()
    )
