"""The retry policy: decides after each attempt what becomes of its event, by tenacity's wait and stop objects.

Nothing waits here. The wait becomes the row's `next_attempt_at`, so it outlives the process.
"""

import math
import random
from collections.abc import Callable
from typing import Final

import tenacity
from tenacity.wait import wait_base

from bridge.model import (
    Attempt,
    Claim,
    Dead,
    Decision,
    Delivered,
    Held,
    OnUnknown,
    Outcome,
    Pause,
    PauseReason,
    RetryAt,
    Unclear,
    WaitBy,
)
from bridge.settings.target_schema import RetrySettings

_DELIVERED: Final = Outcome.DELIVERED
_DONE = Delivered()
_MOST_UNCLEAR = 3  # answers that nobody understands: each may mean that the event was taken once more
_FAULTS = {
    Outcome.MISCONFIGURED: PauseReason.MISCONFIGURED,
    Outcome.UNAUTHORIZED: PauseReason.UNAUTHORIZED,
    Outcome.MOVED: PauseReason.MOVED,
}


def fault(attempt: Attempt) -> PauseReason | None:
    """What an attempt shows to be wrong with its target as a whole, which then pauses."""
    return attempt.pause or _FAULTS.get(attempt.outcome)


class _Jittered(wait_base):
    """Another wait, up to `ratio` shorter or longer, so that what failed together does not come back together."""

    def __init__(self, wait: wait_base, ratio: float, uniform: Callable[[float, float], float]) -> None:
        self._wait = wait
        self._ratio = ratio
        self._uniform = uniform

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        return self._wait(retry_state) * self._uniform(1 - self._ratio, 1 + self._ratio)


class Policy:
    """A target's `retry:` settings, as decisions."""

    def __init__(self, settings: RetrySettings, uniform: Callable[[float, float], float] = random.uniform) -> None:
        wait = tenacity.wait_exponential(multiplier=settings.first_wait / 1000, max=settings.max_wait / 1000)
        self._retrying = tenacity.Retrying(
            wait=_Jittered(wait, settings.jitter, uniform),
            stop=tenacity.stop_after_attempt(settings.max_attempts) if settings.max_attempts else tenacity.stop_never,
        )
        self._retry_after_cap = settings.retry_after_cap
        self.max_attempts = settings.max_attempts
        # No wait is longer, in milliseconds.
        self.longest = max(math.ceil(settings.max_wait * (1 + settings.jitter)), settings.retry_after_cap)

    def wait(self, tries: int, asked: int | None = None) -> tuple[int, WaitBy]:
        """Milliseconds to wait after so many tries (from 1), and what says so; `asked`: the target's Retry-After."""
        wait = round(self._retrying.wait(self._state(tries)) * 1000)
        if asked is None or min(asked, self._retry_after_cap) <= wait:
            return wait, WaitBy.POLICY
        if asked <= self._retry_after_cap:
            return asked, WaitBy.RETRY_AFTER
        return self._retry_after_cap, WaitBy.RETRY_AFTER_CAP

    def decide(self, claim: Claim, attempt: Attempt, now: int, clock: int) -> Decision:
        """What becomes of the event; `clock` is the target's own, which max_age goes by."""
        if attempt.outcome is _DELIVERED:
            return _DONE
        if attempt.outcome is Outcome.REJECTED:
            return Dead("rejected")
        reason = fault(attempt)
        if reason and attempt.unclear is None:
            return Pause(reason)
        if attempt.outcome is Outcome.UNKNOWN and claim.on_unknown is OnUnknown.HOLD:
            return Held("unknown")
        if reason and attempt.unclear is Unclear.PAGE:
            return Pause(reason)
        if attempt.unclear and claim.unclear + 1 >= _MOST_UNCLEAR:
            return Dead("answer_not_understood")
        counts = not claim.probe or attempt.unclear is not None
        tries = claim.retries + counts
        if self._retrying.stop(self._state(tries)):
            return Dead("max_attempts")
        if not counts:  # when to probe again is the target's business
            return RetryAt(now, counts=False)
        wait, by = self.wait(tries, attempt.retry_after)
        left = max(0, claim.expires_at - clock)
        # An event that would be due after its max_age becomes due when that ends, to be found too old then.
        return RetryAt(now + wait, by=by) if wait <= left else RetryAt(now + left, by=WaitBy.MAX_AGE)

    def _state(self, tries: int) -> tenacity.RetryCallState:
        state = tenacity.RetryCallState(self._retrying, None, (), {})
        state.attempt_number = tries
        return state
