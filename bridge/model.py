"""The values that travel from room to room: frozen, and named as in the documentation.

Times are milliseconds since 1970 (UTC) in attributes that end in `_at`; durations are milliseconds. What a time decides
goes by the running clock, what people read is by the wall clock (`bridge.clock`). What every webhook needs objects of
is a Struct: a dataclass that is frozen takes ten times as long to make.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from msgspec import Struct

from bridge.attribute_text import Form, attributes


class WebhookState(StrEnum):
    """What became of a verified webhook."""

    MAPPED = "mapped"  # one or more events
    IGNORED = "ignored"  # no rule matched
    FAILED = "failed"  # a rule or an item broke; the others' events are still sent, but for a bound of the whole
    UNREADABLE = "unreadable"  # the body is not what the source declares


class EventState(StrEnum):
    """Where an event is on its way to its target."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    HELD = "held"
    DISCARDED = "discarded"


class Outcome(StrEnum):
    """What one attempt taught us."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    MISCONFIGURED = "misconfigured"
    UNAUTHORIZED = "unauthorized"
    MOVED = "moved"


class Unclear(StrEnum):
    """A 2xx that does not say whether the event was taken. Its outcome is unknown, whatever its target pauses for."""

    PAGE = "page"  # of HTML: mostly somebody's who stands in front of the target
    ANSWER = "answer"  # whatever else it is


class PauseReason(StrEnum):
    """Why a target is not sent to, but for probes."""

    UNAUTHORIZED = "unauthorized"
    MISCONFIGURED = "misconfigured"
    MOVED = "moved"
    TENANT = "tenant"  # its tenant is not running
    BREAKER = "breaker"  # too many attempts in a row were unavailable or unknown
    OPERATOR = "operator"  # never probed


class WaitBy(StrEnum):
    """Which rule says how long an event waits for its next attempt."""

    POLICY = "policy"  # the waits that grow
    RETRY_AFTER = "retry_after"  # the target asked for longer
    RETRY_AFTER_CAP = "retry_after_cap"  # it asked for more than is obeyed
    MAX_AGE = "max_age"  # the event grows too old before


class Content(StrEnum):
    """What a source declares its bodies to be."""

    JSON = "json"
    FORM = "form"  # URL-encoded or multipart
    XML = "xml"
    TEXT = "text"
    ANY = "any"  # text, or base64 where it is no UTF-8; may be empty


class OnUnknown(StrEnum):
    """What a rule wants done when nobody can tell whether SuperOffice took an event."""

    RETRY = "retry"
    HOLD = "hold"


def _uuid7(moment: str, tail: bytes) -> str:
    """A UUID of version 7 (RFC 9562): `moment` is its first 48 bits as text, `tail` has the other 74, in 10 bytes."""
    bits = int.from_bytes(tail)
    last = f"{0b10 << 62 | bits & (1 << 62) - 1:x}"
    return f"{moment}-7{bits >> 62 & 0xFFF:03x}-{last[:4]}-{last[4:]}"


def new_webhook_id(received_at: int) -> str:
    """A fresh `wh_...` id; ids sort by the time of receipt."""
    moment = f"{received_at:012x}"
    return "wh_" + _uuid7(f"{moment[:8]}-{moment[8:]}", os.urandom(10))


def event_id(webhook_id: str, rule: str, target: str, item_key: str, occurrence: int) -> str:
    """The `ev_...` id of an event, made from its identity: the same webhook, rule, target and item give the same id.

    So a remapped event keeps its id, and the store tells "already made" by the primary key alone. It is laid out as a
    UUID of version 7 with the webhook's time, so ids sort by the time of receipt.
    """
    identity = "\0".join((webhook_id, rule, target, str(occurrence), item_key)).encode("utf-8", "surrogatepass")
    return "ev_" + _uuid7(webhook_id[3:16], hashlib.sha256(identity).digest()[:10])


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request to a source, not yet proven genuine. Header names are lower-case, values raw."""

    source: str
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: int
    client: str


class Webhook(Struct, frozen=True, kw_only=True):
    """One verified request, as it is stored: credentials and signatures are already dropped.

    Only `receiving.verification` makes one from a request (and the store from a stored row).
    """

    id: str
    source: str
    received_at: int
    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    delivery_id: str | None = None
    secret: int | None = None  # which of the source's secrets matched, from 1; never stored


class Event(Struct, frozen=True, kw_only=True):
    """One WorkflowEvent that a rule made, complete: nothing that happens later changes what is sent."""

    id: str
    rule: str
    target: str
    item_key: str
    type: str
    text: str  # the final Attributes string
    form: Form | None  # how it tells the attributes
    rest: bytes  # JSON of what of them it does not tell
    on_unknown: OnUnknown
    max_age: int
    order_key: str | None = None  # events of one source, target and key are sent in order of commit
    send: bool = True  # false: a shadow rule's, recorded and never sent
    headers: Mapping[str, str] | None = None  # of its request, beside or instead of the target's
    traceparent: str | None = None  # of the trace that it belongs to, at most 55 characters

    @property
    def attributes(self) -> Any:
        """What the rule made: an object or a string."""
        return attributes(self.text, self.form, self.rest)


class Why(Struct, frozen=True, kw_only=True):
    """Why one rule did or did not fire on one webhook."""

    rule: str
    matched: bool
    clause: str | None = None  # the first clause that was false
    values: Mapping[str, Any] | None = None  # what that clause, or the error, looked at, bounded
    error: str | None = None
    logged: str | None = None  # the error as the log tells it, with nothing of the webhook; never stored
    events: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields of a `why` entry in the commands' JSON."""
        return {
            "rule": self.rule,
            "matched": self.matched,
            "clause": self.clause,
            "values": None if self.values is None else dict(self.values),
            "error": self.error,
            "events": list(self.events),
        }


class Mapped(Struct, frozen=True, kw_only=True):
    """What the rules made of one webhook."""

    state: WebhookState
    events: tuple[Event, ...] = ()
    why: tuple[Why, ...] = ()
    error: str | None = None  # why the webhook as a whole is unreadable or failed
    size: int = 0  # bytes that the events take in the store
    bounded: bool = False  # it failed by a bound of size or time: it has no events, and only a remap tries again
    repaired: bool = False  # the body was read although it was not quite as its sender said
    dedupe_key: str | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """The store's answer to an accepted webhook: committed, new or a duplicate of an earlier one."""

    webhook_id: str
    event_ids: tuple[str, ...]
    state: WebhookState
    duplicate: bool
    differs: bool = False  # a duplicate with another body than the first
    bounded: bool = False  # as the mapping that is stored
    discarded: tuple[str, ...] = ()  # events that a remap no longer makes


class Claim(Struct, frozen=True):  # by position: the store makes it of a row
    """One event leased for one attempt."""

    event_id: str
    webhook_id: str
    source: str
    rule: str
    target: str
    type: str
    text: str
    attempt: int  # this attempt's number, from 1: the fence against late results
    retries: int  # how many attempts already counted towards max_attempts and the growing waits
    on_unknown: OnUnknown
    stored_at: int  # by the running clock
    expires_at: int  # on the target's own clock
    order_key: str | None = None
    probe: bool = False
    headers: Mapping[str, str] | None = None  # of its request, beside or instead of the target's
    unclear: int = 0  # how many answers nobody understood so far
    traceparent: str | None = None  # as the event's


class Attempt(Struct, frozen=True, kw_only=True):
    """What one POST of one event showed."""

    outcome: Outcome
    started_at: int
    duration: int
    status: int | None = None
    detail: str = ""  # for people: what was wrong, bounded
    result: Any = None  # WorkflowEventResult, or the error body, bounded
    retry_after: int | None = None  # milliseconds, as the target asked
    pause: PauseReason | None = None  # what the whole target is to pause for, where the outcome does not tell
    unclear: Unclear | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target has it."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Send it again at this time. `counts` tells whether the attempt counts towards max_attempts."""

    at: int
    counts: bool = True
    by: WaitBy = WaitBy.POLICY


@dataclass(frozen=True, slots=True)
class Dead:
    """Give up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """Its fate is unknown and the rule wants a person to decide."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The fault is the target's, not the event's: the event waits, the target pauses and is probed."""

    reason: PauseReason


Decision = Delivered | RetryAt | Dead | Held | Pause
