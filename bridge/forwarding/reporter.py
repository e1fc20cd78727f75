"""Logs and metrics for one target: each attempt, each event's end, each change of the target's state."""

from typing import Final

from bridge.clock import Clock
from bridge.model import Attempt, Claim, Decision, EventState, Outcome, Pause, RetryAt
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Metrics
from bridge.observing.transitions import EventStopped, TargetPaused, TargetResumed, Transitions, fields_of_end
from bridge.superoffice import payloads
from bridge.target_state import TargetState
from bridge.times import iso

_TAKEN: Final = Outcome.DELIVERED
_DELIVERED: Final = EventState.DELIVERED
_SLOW = 3000  # milliseconds from which SuperOffice itself calls a request slow


class Reporter:
    """Tells of one target; `answers`: also what it said of an event that it did not take, in its own words."""

    def __init__(
        self, target: str, metrics: Metrics, clock: Clock, transitions: Transitions, *, answers: bool = False
    ) -> None:
        self._target = target
        self._metrics = metrics
        self._clock = clock
        self._transitions = transitions
        self._answers = answers

    def attempt(self, claim: Claim, attempt: Attempt, decision: Decision, target: TargetState, *, late: bool) -> None:
        """An attempt came to its end, and this is the target's state after it."""
        delivered = attempt.outcome is _TAKEN
        next_attempt_at, wait_by = (None, None) if late or delivered else self._wait(decision, target)
        self._metrics.attempts[self._target, attempt.outcome].inc()
        self._metrics.attempt_seconds[self._target].observe(attempt.duration / 1000)
        level = log.info if delivered and attempt.duration < _SLOW else log.warning
        level(
            logs.ATTEMPT_FINISHED,
            event_id=claim.event_id,
            webhook_id=claim.webhook_id,
            source=claim.source,
            rule=claim.rule,
            target=claim.target,
            attempt=claim.attempt,
            outcome=attempt.outcome,
            status=attempt.status,
            duration_ms=attempt.duration,
            detail=attempt.detail or None,
            next_attempt_at=next_attempt_at,
            wait_by=wait_by,
            probe=claim.probe,
            late=late,
        )

    def ended(
        self, claim: Claim, state: EventState, reason: str | None, now: int, attempt: Attempt | None = None
    ) -> None:
        """An event reached a final state, by this attempt where there was one."""
        delivered = state is _DELIVERED
        seconds = (now - claim.stored_at) / 1000
        self._metrics.events[self._target, state].inc()
        if delivered:
            self._metrics.delivery_seconds[self._target].observe(seconds)
        if delivered:
            log.info(logs.EVENT_DELIVERED, **fields_of_end(claim, reason, seconds))
            return
        said = payloads.error_message(payloads.members(attempt.result)) if self._answers and attempt else None
        self._transitions.publish(
            EventStopped(claim=claim, state=state, reason=reason, seconds=seconds, message=said or None)
        )

    def changed(self, before: TargetState, after: TargetState, detail: str) -> None:
        """The target is in another state than before; a probe that only failed again is no news."""
        if after.paused_at is None:
            paused_for = (self._clock.running() - (before.paused_at or 0)) / 1000
            self._transitions.publish(TargetResumed(target=self._target, reason=before.reason, seconds=paused_for))
        elif after.reason != before.reason:
            next_probe_at = self._shown(after.next_probe_at)
            self._transitions.publish(
                TargetPaused(target=self._target, reason=after.reason, detail=detail, next_probe_at=next_probe_at)
            )

    def _wait(self, decision: Decision, target: TargetState) -> tuple[str | None, str | None]:
        """Until when an event waits, and what says so: a rule, or why its target is paused."""
        match decision:
            case RetryAt(at, True, by):
                return self._shown(at), by
            case RetryAt() | Pause():
                return self._shown(target.next_probe_at), target.reason or None
            case _:
                return None, None

    def _shown(self, moment: int | None) -> str | None:
        return None if moment is None else iso(self._clock.on_wall(moment))
