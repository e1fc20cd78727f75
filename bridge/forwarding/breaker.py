"""Whether a target is sent to: what pauses it, how it is probed, and what opens it again. Nothing here waits or stores.

A set-up that is wrong pauses it at once; so do too many failures in a row, which may be anybody's fault.
"""

from bridge.forwarding.retry import Policy
from bridge.model import Attempt, Claim, Decision, Outcome, Pause, PauseReason, TargetState

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

    def judge(self, state: TargetState, claim: Claim, attempt: Attempt, decision: Decision, now: int) -> TargetState:
        """The target's state after an attempt: the same one where nothing changes."""
        if state.paused_at is None:
            reason = self._fault(decision)
            if reason is None:
                return state
            self._failures = 0
            return state.paused(now, reason, self._next_probe(now, 1, attempt))
        if state.by_operator or not claim.probe:  # whatever a straggler shows
            return state
        self._failures = 0
        if attempt.outcome in _ANSWERED:
            return state.resumed(now)
        probes = state.probes + 1
        reason = decision.reason if isinstance(decision, Pause) else PauseReason(state.reason)
        return state.paused(now, reason, self._next_probe(now, probes + 1, attempt), probes)

    def _fault(self, decision: Decision) -> PauseReason | None:
        if isinstance(decision, Pause):
            return decision.reason
        return PauseReason.BREAKER if self._after is not None and self._failures >= self._after else None

    def _next_probe(self, now: int, tries: int, attempt: Attempt) -> int:
        return now + self._policy.wait(tries, attempt.retry_after)[0]
