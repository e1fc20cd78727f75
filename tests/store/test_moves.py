"""Whatever happens in whatever order: events move only along the arrows of the documentation, as a small model says."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from bridge.model import (
    Claim,
    Dead,
    Decision,
    Delivered,
    Event,
    Held,
    Mapped,
    Outcome,
    Pause,
    PauseReason,
    Receipt,
    RetryAt,
    Webhook,
    WebhookState,
)
from bridge.store import target_states
from bridge.store.attempts import Result, record
from bridge.store.claims import Ask, TakeOver, claim, release, take_over
from bridge.store.order import WAITING
from bridge.store.remapping import Remap, remap
from bridge.store.tables import attempts, events
from bridge.store.webhooks import Acceptance, accept
from bridge.target_state import TargetState

from .support import NOW, a_webhook, an_attempt, an_event

ARROWS: dict[str, set[tuple[str | None, str]]] = {
    "accept": {(None, "pending")},
    "claim": {("pending", "sending"), ("pending", "dead")},
    "record": {
        *(("sending", state) for state in ("delivered", "pending", "dead", "held")),
        *((state, "delivered") for state in ("pending", "dead", "held")),
    },
    "release": {("sending", "pending")},
    "remap": {(None, "pending"), ("pending", "discarded"), ("dead", "pending")},
    "tick": set(),
    "pause": set(),
}
LEASE = 10

steps = st.one_of(
    st.tuples(st.just("accept"), st.sets(st.sampled_from("abc"), min_size=1), st.sampled_from([4, 15, 1000])),
    st.tuples(st.just("tick"), st.integers(1, 12)),
    st.tuples(st.just("claim"), st.integers(0, 4)),
    st.tuples(st.just("record"), st.integers(0, 30), st.integers(0, 5), st.integers(0, 8)),
    st.tuples(st.just("release"), st.integers(0, 30)),
    st.tuples(st.just("remap"), st.integers(0, 30), st.sets(st.sampled_from("abcd")), st.booleans()),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("pause")),
)


@dataclass
class Expected:
    """What the model knows of an event."""

    state: str
    expires_at: int
    next_attempt_at: int
    attempts: int = 0
    retries: int = 0
    reason: str | None = None
    lease_until: int = 0


@dataclass
class World:
    """A store and the model beside it; every step is taken in both."""

    connection: Connection
    now: int = NOW
    target: TargetState = field(default_factory=lambda: TargetState(name="crm"))
    expected: dict[str, Expected] = field(default_factory=dict)  # in order of commit
    tried: list[tuple[str, int, bool]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    webhooks: list[Webhook] = field(default_factory=list)

    def take(self, name: str, *how: Any) -> None:
        if (name in ("record", "release") and not self.claims) or (name == "remap" and not self.webhooks):
            return
        before = {id_: event.state for id_, event in self.expected.items()}
        name = getattr(self, f"_{name}")(*how) or name
        found = self._found()
        assert found == [(id_, e.state, e.attempts, e.retries, e.reason) for id_, e in self.expected.items()]
        moves = {(before.get(id_), state) for id_, state, *_ in found if before.get(id_) != state}
        assert moves <= ARROWS[name]
        rows = self.connection.execute(
            select(attempts.c.event_id, attempts.c.number, attempts.c.late).order_by(attempts.c.seq)
        )
        assert [tuple(row) for row in rows] == self.tried

    def _found(self) -> list[tuple[Any, ...]]:
        c = events.c
        rows = self.connection.execute(select(c.id, c.state, c.attempts, c.retries, c.reason).order_by(c.seq))
        return [tuple(row) for row in rows]

    def _acceptance(self, webhook: Webhook, made: Sequence[Event], *, broken: bool = False) -> Acceptance:
        state = WebhookState.FAILED if broken else WebhookState.MAPPED if made else WebhookState.IGNORED
        mapping = Mapped(state=state, events=tuple(made))
        return Acceptance(webhook=webhook, mapping=mapping, now=self.now, created_at=self.now, window=0)

    def _new(self, event: Event) -> Expected:
        return Expected(
            state="pending", next_attempt_at=self.now, expires_at=self.target.clock(self.now) + event.max_age
        )

    def _accept(self, items: set[str], max_age: int) -> None:
        webhook = a_webhook()
        self.webhooks.append(webhook)
        made = [an_event(webhook, item, max_age=max_age) for item in sorted(items)]
        accept(self.connection, [self._acceptance(webhook, made)])
        self.expected |= {event.id: self._new(event) for event in made}

    def _tick(self, milliseconds: int) -> None:
        self.now += milliseconds

    def _pause(self) -> None:
        if self.target.paused_at is None:
            changed = replace(self.target, paused_at=self.now, next_probe_at=self.now)
        else:
            total = self.target.paused_total + self.now - self.target.paused_at
            changed = replace(self.target, paused_at=None, next_probe_at=None, paused_total=total)
        (stored,) = target_states.change(self.connection, [target_states.StateChange(changed, self.now)])
        assert stored
        self.target = stored

    def _claim(self, limit: int) -> None:
        clock = self.target.clock(self.now)
        ask = Ask(target="crm", limit=limit, now=self.now, claimed_at=self.now, lease_until=self.now + LEASE)
        (claimed,) = claim(self.connection, [ask])
        due = [(id_, e) for id_, e in self.expected.items() if e.state == "pending" and e.next_attempt_at <= self.now]
        taken: list[tuple[str, int, int]] = []
        expired: list[str] = []
        most = limit if self.target.paused_at is None else min(limit, 1)  # a probe is one event
        for id_, event in sorted(due, key=lambda pair: pair[1].next_attempt_at):
            if len(taken) == most:
                break
            if event.expires_at <= clock:
                event.state, event.reason = "dead", "max_age"
                expired.append(id_)
            else:
                event.state, event.attempts, event.lease_until = "sending", event.attempts + 1, self.now + LEASE
                taken.append((id_, event.attempts, event.retries))
        assert [(c.event_id, c.attempt, c.retries) for c in claimed.claims] == taken
        assert [c.event_id for c in claimed.expired] == expired
        waiting = [e.next_attempt_at for e in self.expected.values() if e.state == "pending"]
        assert claimed.next_due_at == (self.now if len(taken) == limit else min(waiting, default=None))
        self.claims += claimed.claims

    def _record(self, which: int, kind: int, wait: int) -> None:
        decisions: list[tuple[Outcome, Decision]] = [
            (Outcome.DELIVERED, Delivered()),
            (Outcome.UNAVAILABLE, RetryAt(self.now + wait)),
            (Outcome.UNAVAILABLE, RetryAt(self.now + wait, counts=False)),
            (Outcome.REJECTED, Dead("rejected")),
            (Outcome.UNKNOWN, Held("unknown")),
            (Outcome.UNAUTHORIZED, Pause(PauseReason.UNAUTHORIZED)),
        ]
        self._settle(self.claims[which % len(self.claims)], *decisions[kind])

    def _settle(self, its: Claim, outcome: Outcome, decision: Decision) -> None:
        result = Result(claim=its, attempt=an_attempt(outcome), decision=decision, now=self.now, delivered_at=self.now)
        (recorded,) = record(self.connection, [result])
        event = self.expected[its.event_id]
        late = event.state != "sending" or event.attempts != its.attempt
        settles = outcome is Outcome.DELIVERED and event.state in ("pending", "dead", "held")
        if not late or settles:
            self._move(event, outcome, decision)
        self.tried.append((its.event_id, its.attempt, late))
        assert (recorded.state, recorded.late, recorded.moved) == (event.state, late, not late or settles)

    def _move(self, event: Expected, outcome: Outcome, decision: Decision) -> None:
        match decision:
            case Delivered():
                event.state, event.reason = "delivered", None
            case RetryAt(at, counts):
                event.state, event.reason, event.next_attempt_at = "pending", outcome.value, at
                event.retries += counts
            case Dead(reason):
                event.state, event.reason = "dead", reason
            case Held(reason):
                event.state, event.reason = "held", reason
            case _:
                event.state, event.reason, event.next_attempt_at = "pending", outcome.value, self.now

    def _release(self, which: int) -> None:
        its = self.claims[which % len(self.claims)]
        release(self.connection, [its])
        event = self.expected[its.event_id]
        if event.state == "sending" and event.attempts == its.attempt:
            event.state, event.attempts = "pending", event.attempts - 1

    def _sweep(self) -> str:
        (found,) = take_over(self.connection, [TakeOver(self.now, self.now + LEASE)])
        (again,) = take_over(self.connection, [TakeOver(self.now, self.now + LEASE)])
        assert again == []
        (everything,) = take_over(self.connection, [TakeOver(WAITING, self.now + LEASE)])
        sending = {id_: e for id_, e in self.expected.items() if e.state == "sending"}
        assert {(c.event_id, c.attempt) for c, _ in everything} == {(id_, e.attempts) for id_, e in sending.items()}
        assert {c.event_id for c, _ in found} == {id_ for id_, e in sending.items() if e.lease_until < self.now}
        for event in sending.values():
            event.lease_until = self.now + LEASE
        for its, _ in found:
            self._settle(its, Outcome.UNKNOWN, RetryAt(self.now))
        return "record"

    def _remap(self, which: int, items: set[str], broken: bool) -> None:
        webhook = self.webhooks[which % len(self.webhooks)]
        made = [an_event(webhook, item, max_age=50) for item in sorted(items)]
        (receipt,) = remap(self.connection, [Remap(acceptance=self._acceptance(webhook, made, broken=broken))])
        assert isinstance(receipt, Receipt)
        own = [an_event(webhook, item).id for item in "abcd"]
        before = [id_ for id_ in self.expected if id_ in own]
        for event in made:
            known = self.expected.get(event.id)
            if known is None:
                self.expected[event.id] = self._new(event)
            elif known.state in ("pending", "dead"):
                self.expected[event.id] = replace(self._new(event), attempts=known.attempts)
        for id_ in before:
            if not broken and self.expected[id_].state == "pending" and id_ not in {event.id for event in made}:
                self.expected[id_].state, self.expected[id_].reason = "discarded", "remapped"
        assert list(receipt.event_ids) == [id_ for id_ in self.expected if id_ in own]


@settings(max_examples=80)
@given(st.lists(steps, min_size=5, max_size=40))
def test_events_move_only_along_the_arrows(engine: Engine, taken: list[tuple[Any, ...]]) -> None:
    with engine.connect() as connection:
        world = World(connection)
        world.take("accept", {"a", "b"}, 1000)
        for name, *how in taken:
            world.take(name, *how)
        connection.rollback()
