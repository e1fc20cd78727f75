"""The publisher of transitions: a target pauses or resumes, an event is dead or held; the log subscribes to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bridge.model import Claim, EventState, PauseReason
from bridge.observing import logs
from bridge.observing.logs import log

# What mostly ends without anybody's help, or was somebody's wish.
_MILD: Final = (PauseReason.BREAKER, PauseReason.TENANT, PauseReason.OPERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPaused:
    """A target is paused, or for another reason than so far; `next_probe_at` as in ISO 8601."""

    target: str
    reason: str
    detail: str | None = None
    next_probe_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResumed:
    """A target is sent to again, after so many seconds that it was paused for this reason."""

    target: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStopped:
    """An event is dead or held, seconds after it was stored. `message`: SuperOffice's, where it may be logged."""

    claim: Claim
    state: EventState
    reason: str | None
    seconds: float
    message: str | None = None


Transition = TargetPaused | TargetResumed | EventStopped
Subscriber = Callable[[Transition], None]


class Transitions:
    """Passes each transition on to its subscribers, in their order and within the call: none of them may wait."""

    def __init__(self, *subscribers: Subscriber) -> None:
        self._subscribers = subscribers

    def publish(self, transition: Transition) -> None:
        """Let every subscriber know."""
        for subscriber in self._subscribers:
            subscriber(transition)


def log_transition(transition: Transition) -> None:
    """Write a transition's line."""
    match transition:
        case TargetPaused(target=target, reason=reason, detail=detail, next_probe_at=next_probe_at):
            level = log.warning if reason in _MILD else log.error
            level(logs.TARGET_PAUSED, target=target, reason=reason, detail=detail, next_probe_at=next_probe_at)
        case TargetResumed(target=target, reason=reason, seconds=seconds):
            log.warning(logs.TARGET_RESUMED, target=target, reason=reason, seconds=seconds)
        case EventStopped(state=state, message=message):
            fields = fields_of_end(transition.claim, transition.reason, transition.seconds)
            more = {"message": message} if message else {}
            log.error(logs.EVENT_DEAD if state is EventState.DEAD else logs.EVENT_HELD, **fields, **more)


def fields_of_end(claim: Claim, reason: str | None, seconds: float) -> dict[str, Any]:
    """The fields that the line of every event's end has."""
    return {
        "event_id": claim.event_id,
        "webhook_id": claim.webhook_id,
        "source": claim.source,
        "rule": claim.rule,
        "target": claim.target,
        "attempts": claim.attempt,
        "reason": reason,
        "seconds": seconds,
    }


LOGGED: Final = Transitions(log_transition)
