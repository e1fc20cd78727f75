"""A circuit breaker for one target: when it pauses, is probed and opens again. Nothing here waits or stores.

A set-up that is wrong pauses it at once; so do too many failures in a row, which may be anybody's fault.
"""

from bridge.forwarding.retry import Policy, fault
from bridge.model import Attempt, Claim, Outcome, PauseReason
from bridge.target_state import TargetState

_ANSWERED = (Outcome.DELIVERED, Outcome.REJECTED)
_FAILED = (Outcome.UNAVAILABLE, Outcome.UNKNOWN)


class Breaker:
    """Judges one target by its attempts; `after` so many failures in a row it pauses (None: never)."""

    def __init__(self, after: int | None, policy: Policy) -> None:
        self._after = after
        self._policy = policy
        self._failures = 0  # in a row

    def count(self, outcome: Outcome) -> None:
        """Take note of what the target did with one event."""
        if outcome in _ANSWERED:
            self._failures = 0
        elif outcome in _FAILED:
            self._failures += 1

    def judge(self, state: TargetState, claim: Claim, attempt: Attempt, now: int) -> TargetState:
        """The target's state after an attempt: the same one where nothing changes."""
        reason = fault(attempt)
        ages = attempt.unclear is not None
        if state.paused_at is None:
            if reason is None and self._after is not None and self._failures >= self._after:
                reason, ages = PauseReason.BREAKER, True
            if reason is None:
                return state
            self._failures = 0
            return state.paused(now, reason, self._next_probe(now, 1, attempt), ages=ages)
        if state.by_operator or not claim.probe:  # whatever a straggler shows
            return state
        self._failures = 0
        if attempt.outcome in _ANSWERED:
            return state.resumed(now)
        if reason is None:
            reason, ages = PauseReason(state.reason), state.ages
        probes = state.probes + 1
        return state.paused(now, reason, self._next_probe(now, probes + 1, attempt), probes, ages=ages)

    def _next_probe(self, now: int, tries: int, attempt: Attempt) -> int:
        return now + self._policy.wait(tries, attempt.retry_after)[0]
