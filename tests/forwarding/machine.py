"""What may happen to a bridge, and what must be true whatever did.

After each step the database is looked at: every version that an event had since the last look must follow from the
one before, by an arrow of the documentation, for a reason that the record shows.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Engine

from bridge.model import Claim, Event, Outcome, Unclear, Webhook, WebhookState
from bridge.observing import logs
from bridge.receiving.processing import process
from bridge.store.actions import Action, Selection
from bridge.store.order import WAITING
from bridge.store.reader import Filter
from bridge.target_state import TargetState

from .support import Log, Shown
from .world import GONE, LEASE, MAX_ATTEMPTS, ROOM, RULES, SWEEP, WINDOW, Seen, Tried, World, new_webhook

# By whatever happens, the forwarder goes on.
FORWARDER = {
    *(("pending", "sending"), ("pending", "dead"), ("pending", "pending")),
    *(("sending", state) for state in ("delivered", "pending", "dead", "held", "sending")),
    *((state, "delivered") for state in ("pending", "dead", "held")),
}
OTHERS: dict[str, set[tuple[str | None, str]]] = {
    "receive": {(None, "pending"), (None, "discarded")},
    "stop": {(None, "pending"), (None, "discarded")},
    "replay": {(state, "pending") for state in ("dead", "held", "delivered", "discarded")},
    "release": {("held", "pending")},
    "discard": {(state, "discarded") for state in ("pending", "dead", "held")},
    "remap": {
        *((None, "pending"), (None, "discarded")),
        *((state, "discarded") for state in ("pending", "dead", "held")),
        *(("dead", "pending"), ("held", "pending")),
        ("discarded", "discarded"),  # a shadow's event, that goes to the end of its key after it was replaced
    },
    "erase": {(state, GONE) for state in ("pending", "delivered", "dead", "held", "discarded")},
}
FROM = {action: {before for before, _ in OTHERS[action] if before} for action in Action}
BLOCKING = ("pending", "sending", "held")
FINAL = {"delivered": logs.EVENT_DELIVERED, "dead": logs.EVENT_DEAD, "held": logs.EVENT_HELD}
ENDED = "the bridge ended during the attempt, SuperOffice may have taken the event"
RAN_OUT = "the attempt's lease ran out, SuperOffice may have taken the event"


def picked(values: Sequence[Any], number: int) -> Any:
    """One of some values; None where there are none."""
    return values[number % len(values)] if values else None


class Machine:
    """What may happen, and what must be true whatever did."""

    def __init__(self, url: str, look: Engine, log: Log) -> None:
        self.log = log
        self.log.lines.clear()
        self.acknowledged: dict[str, set[str]] = {}  # webhooks, with their events
        self.bodies: dict[str, Webhook] = {}
        self.made: dict[str, Event] = {}  # events, as the rules last made them
        self.known: dict[tuple[str, str], tuple[str, int]] = {}  # webhooks by delivery id, with the time
        self.rows: dict[str, Any] = {}  # events as they were last seen
        self.tried: list[Tried] = []
        self.paused: set[str] = set()  # targets, by an operator
        self.targets = {name: TargetState(name=name) for name in ROOM}
        self.stored: dict[str, TargetState] = {}
        self.world = World(url, look)

    # What may happen

    def a_webhook_comes(self, source: str, items: list[dict[str, Any]], delivery: str | None) -> None:
        self.take("receive", self.receive(source, items, delivery))

    def much_comes_at_once(
        self, source: str, items: Any, others: Any, delivery: str | None, outcomes: list[Shown]
    ) -> None:
        async def all_of_it() -> None:
            async with self.world.at_once():
                for call, outcome in zip(list(self.world.calls), outcomes, strict=False):
                    await self.world.answer(call, outcome)
                tasks = [asyncio.create_task(self.receive(source, these, delivery)) for these in (items, others)]
            await asyncio.gather(*tasks)

        self.take("receive", all_of_it())

    def superoffice_answers(self, which: int, outcome: Shown) -> None:
        if call := picked(self.world.calls, which):
            self.answers(call.claim, outcome, self.world.answer(call, outcome))

    def an_answer_comes_too_late(self, which: int, outcome: Shown) -> None:
        sent_again = [claim for claim in self.world.lost if self._is(claim.event_id, "sending")]
        if claim := picked(sent_again or self.world.lost, which):
            self.answers(claim, outcome, self.world.answer_late(claim, outcome))

    def two_answers_come_at_once(self, which: int, outcome: Shown, late: Shown) -> None:
        """To an attempt, and then to an earlier one of the same event, that a crash cut off."""
        if not self.world.calls:
            return
        self.it_is_cut_off(1_000)
        self.time_passes(61_000)
        given_up = {claim.event_id: claim for claim in self.world.lost}
        if call := picked([call for call in self.world.calls if call.claim.event_id in given_up], which):
            earlier = given_up[call.claim.event_id]

            async def both() -> None:
                async with self.world.at_once():
                    await self.world.answer(call, outcome)
                    answering = asyncio.create_task(self.world.answer_late(earlier, late))
                await answering

            self.take("answer", both())
            if Outcome.DELIVERED in (outcome, late):
                assert self._is(earlier.event_id, "delivered")

    def time_passes(self, milliseconds: int) -> None:
        self.take("time", self.world.turn(milliseconds))

    def somebody_sets_the_wall_clock(self, wrong: int) -> None:
        self.take("time", self.world.set_wall(wrong))

    def its_machine_is_cut_off(self, after: int, wrong: int) -> None:
        """And started with a wall clock that may be wrong."""
        self.take("time", self.world.crash_of_machine(after, wrong))

    def it_is_cut_off(self, after: int) -> None:
        self.take("time", self.world.crash(after))

    def it_is_restarted(self, after: int) -> None:
        self.take("time", self.world.restart(after))

    def it_is_stopped_while_it_claims(self, source: str, items: list[dict[str, Any]]) -> None:
        self.take("stop", self.world.end_while_claiming(self.receive(source, items, None)))

    def somebody_changes_an_event(self, action: Action, which: int) -> None:
        if chosen := picked(list(self.rows.values()), which):
            self.change(action, Selection(ids=(chosen.id,)))

    def somebody_changes_many(self, action: Action, state: str | None) -> None:
        self.change(action, Selection(filter=Filter(state=state)))

    def somebody_remaps(self, which: int, rules: str, again: bool) -> None:
        if not (webhook := picked([self.bodies[id_] for id_ in self.acknowledged], which)):
            return
        self.world.rules[webhook.source] = RULES[rules]
        mapping = process(RULES[rules], webhook)
        states = {id_: self.rows[id_].state for id_ in self.acknowledged[webhook.id]}
        replaceable = ("pending", "dead", "held") if again else ("pending", "dead")
        replaced = {event.id: event for event in mapping.events if states.get(event.id, "dead") in replaceable}
        removed = {id_ for id_, state in states.items() if state == "pending"} - {event.id for event in mapping.events}
        to_the_end = {id_ for id_, event in replaced.items() if self._starts_behind(id_, event)}
        self.made |= replaced
        self.acknowledged[webhook.id] |= set(replaced)
        seen = self.take("remap", self.world.operator.remap(Selection(ids=(webhook.id,)), again=again))
        for id_, event in replaced.items():
            first = next(row for row in seen.versions if row.id == id_)
            assert (first.state, first.reason) == (("pending", None) if event.send else ("discarded", "shadow"))
            self.starts_anew(first)
        self.are_at_the_end(to_the_end)
        for id_ in removed:
            assert (self.rows[id_].reason == "remapped") == (mapping.state is not WebhookState.FAILED)

    def somebody_erases(self, which: int) -> None:
        if not (id_ := picked(list(self.acknowledged), which)):
            return
        if all(self.rows[event].state != "sending" for event in self.acknowledged[id_]):
            for event in self.acknowledged.pop(id_):
                del self.made[event]
            self.known = {key: value for key, value in self.known.items() if value[0] != id_}
        self.take("erase", self.world.operator.erase(Selection(ids=(id_,))))

    def somebody_pauses(self, name: str) -> None:
        self.paused.add(name)
        self.take("pause", self.world.operator.pause(name))

    def somebody_resumes(self, name: str) -> None:
        self.paused.discard(name)
        self.take("pause", self.world.operator.resume(name))

    def all_is_sent_in_the_end(self) -> None:
        """Once SuperOffice takes everything and time goes on, nothing that is to be sent is left."""
        self.world.accepting = True
        for name in ROOM:
            if self.targets[name].paused_at is not None:
                self.somebody_resumes(name)
        while self.world.calls:
            self.superoffice_answers(0, Outcome.DELIVERED)
        if self._in("held"):
            self.somebody_changes_many(Action.RELEASE, "held")
        for _ in range(60):
            if self._in("pending", "sending"):
                self.time_passes(60_000)
        assert not self._in(*BLOCKING)

    # How it is done

    def take(self, cause: str, step: Coroutine[Any, Any, Any]) -> Seen:
        before, known, sent = dict(self.rows), set(self.tried), len(self.world.sent)
        self.answer = self.world.run(step)
        seen = self.world.look_again()
        self.every_end_was_told(before, seen)
        self.pauses_last(seen)
        self.moves_are_explained(cause, seen, self.world.sent[sent:])
        assert {id_: row[:-1] for id_, row in self.rows.items()} == {id_: row[:] for id_, row in seen.events.items()}
        self.nothing_vanished(seen)
        self.every_attempt_is_on_record(known, seen)
        self.keys_are_in_order()
        self.nothing_is_left_lying()
        return seen

    async def receive(self, source: str, items: list[dict[str, Any]], delivery: str | None) -> None:
        webhook, mapping = new_webhook(self.world, source, items, delivery)
        first, at = self.known.get((source, delivery or ""), ("", 0))
        duplicate = bool(first) and at > self.world.hand.running() - WINDOW
        if not duplicate:
            first = webhook.id
            self.bodies[first] = webhook
            self.acknowledged[first] = {event.id for event in mapping.events}
            self.made |= {event.id: event for event in mapping.events}
            if delivery:
                self.known[source, delivery] = first, self.world.hand.running()
        receipt = await self.world.receive(webhook, mapping)
        assert (receipt.webhook_id, receipt.duplicate) == (first, duplicate)
        assert set(receipt.event_ids) == self.acknowledged[first]

    def answers(self, claim: Claim, outcome: Shown, answering: Coroutine[Any, Any, Any]) -> None:
        before = self.rows.get(claim.event_id)
        self.take("answer", answering)
        if before is not None and outcome is Outcome.DELIVERED:
            current = before.state == "sending" and before.attempts == claim.attempt
            if current or before.state in ("pending", "dead", "held"):
                assert self.rows[claim.event_id].state == "delivered"
        target = self.targets[claim.target]
        if claim.probe and outcome not in (Outcome.DELIVERED, Outcome.REJECTED) and target.next_probe_at is not None:
            assert target.next_probe_at > self.world.hand.running()
        if outcome is Outcome.UNAUTHORIZED or isinstance(outcome, Unclear):
            assert target.paused_at is not None
            self.only_what_cannot_have_been_taken_waits(claim, outcome)

    def only_what_cannot_have_been_taken_waits(self, claim: Claim, outcome: Shown) -> None:
        """A pause for an answer that nobody understood stops no clock, so its events come to an end."""
        state = self.targets[claim.target]
        if claim.probe and not state.by_operator:
            stopped = state.clock(self.world.hand.running()) == state.clock(self.world.hand.running() + 1)
            assert stopped is (outcome is Outcome.UNAUTHORIZED)

    def change(self, action: Action, selection: Selection) -> None:
        chosen = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.seq)
            if row.state in FROM[action]
            and (selection.ids is None or row.id in selection.ids)
            and selection.filter.state in (None, row.state)
        ]
        seen = self.take(action, self.world.operator.events(action, selection))
        assert self.answer["ids"] == [row.id for row in chosen]
        for row in chosen:
            first = next(version for version in seen.versions if version.id == row.id)
            if action is Action.DISCARD:
                assert (first.state, first.reason) == ("discarded", "operator")
            else:
                assert (first.state, first.reason) == ("pending", action)
                self.starts_anew(first)
        if action is Action.REPLAY:
            self.are_at_the_end({row.id for row in chosen if row.order_key is not None})
            for _, line in by_key(chosen):
                ids = [row.id for row in line]
                assert ids == sorted(ids, key=lambda id_: self.rows[id_].seq)

    def _starts_behind(self, id_: str, event: Event) -> bool:
        """Whether a remapped event goes behind all others of its key."""
        before = self.rows.get(id_)
        return event.order_key is not None and (
            before is None or before.state != "pending" or before.order_key != event.order_key
        )

    def _is(self, event_id: str, state: str) -> bool:
        return event_id in self.rows and self.rows[event_id].state == state

    def _in(self, *states: str) -> list[Any]:
        return [row for row in self.rows.values() if row.state in states]

    # What must be true

    def moves_are_explained(self, cause: str, seen: Seen, sent: list[Claim]) -> None:
        self.stored = seen.targets
        claimed: Counter[tuple[str, int]] = Counter()
        on_time = {(tried.event_id, tried.number): tried for tried in seen.tried if not tried.late}
        late = Counter(tried.event_id for tried in seen.tried if tried.late and tried.outcome == "delivered")
        late -= Counter(tried.event_id for tried in self.tried if tried.late and tried.outcome == "delivered")
        for after in seen.versions:
            before: Any = self.rows.get(after.id)
            arrow = (None if before is None else before.state), after.state
            assert arrow in FORWARDER | OTHERS.get(cause, set()), (cause, arrow)
            if before is not None and cause != "remap":
                content = ("target", "source", "order_key", "text", "on_unknown")
                assert [getattr(before, name) for name in content] == [getattr(after, name) for name in content]
            self.has_its_place(cause, before, after)
            match arrow:
                case ("pending", "sending"):
                    self.may_be_sent(before, after)
                    claimed[after.id, after.attempts] += 1
                case ("pending", "dead"):
                    assert after.reason == "max_age"
                    assert after.expires_at <= self._clock(after.target)
                case ("sending", "pending") if after.attempts == before.attempts - 1:
                    assert cause == "stop"
                    claimed[before.id, before.attempts] -= 1
                case ("sending", "sending"):  # taken over, to be settled
                    assert after.lease_until > max(before.lease_until, self.world.hand.running())
                    assert (after.attempts, after.retries, after.probe) == (
                        *(before.attempts, before.retries, before.probe),
                    )
                case ("sending", _):
                    assert after.attempts == before.attempts
                    tried = on_time[before.id, before.attempts]
                    assert (after.state, after.reason, after.retries, after.unclear) == decided(before, tried)
                case (_, "delivered"):
                    assert after.reason is None
                    late[after.id] -= 1
                    assert late[after.id] >= 0
                case (None, _):
                    assert after.attempts == 0
                    self.starts_anew(after)
                case _:
                    assert after.attempts == before.attempts
            assert (after.delivered_at is not None) == (after.state == "delivered") or after.state == GONE
            self.rows[after.id] = after
            if after.state == GONE:
                del self.rows[after.id]
        assert +claimed == Counter((claim.event_id, claim.attempt) for claim in sent)
        for claim in sent:
            if claim.event_id in self.made:
                assert claim.text == self.made[claim.event_id].text
        self.tried = seen.tried
        self.targets = {name: self._stored(name) for name in ROOM}

    def starts_anew(self, row: Any) -> None:
        assert row.retries == row.unclear == 0
        assert row.expires_at == self._clock(row.target) + self.made[row.id].max_age

    def has_its_place(self, cause: str, before: Any, after: Any) -> None:
        """The order of commit is kept, until a replay or a remap moves an event behind the others of its key."""
        others = [row.seq for row in self.rows.values() if row.id != after.id]
        if before is None:
            assert all(seq < after.seq for seq in others)
        elif after.seq != before.seq:
            assert cause in ("replay", "remap")
            assert after.order_key is not None
            assert all(seq < after.seq for seq in others)

    def are_at_the_end(self, ids: set[str]) -> None:
        for id_ in ids:
            others = [row for row in self._line(self.rows[id_]) if row.id not in ids]
            assert all(other.seq < self.rows[id_].seq for other in others)

    def may_be_sent(self, before: Any, after: Any) -> None:
        assert after.attempts == before.attempts + 1
        assert after.expires_at > self._clock(after.target)
        assert before.next_attempt_at <= self.world.hand.running()
        for other in self._line(after):
            assert other.state != "sending"
            assert other.seq > after.seq or other.state not in BLOCKING
        assert after.target not in self.paused
        was, now = self.targets[after.target], self._stored(after.target)
        if was.paused_at == now.paused_at:  # else it was paused or resumed meanwhile
            assert after.probe == (was.paused_at is not None)
            assert was.next_probe_at is None or was.next_probe_at <= self.world.hand.running()

    def pauses_last(self, seen: Seen) -> None:
        """An operator's pause ends by an operator only, and every pause is remembered."""
        for name in ROOM:
            state = seen.targets.get(name, TargetState(name=name))
            assert state.by_operator == (name in self.paused)

    def nothing_vanished(self, seen: Seen) -> None:
        assert seen.webhooks == {id_: self.bodies[id_].body for id_ in self.acknowledged}
        assert seen.events.keys() == self.made.keys() == set().union(*self.acknowledged.values())
        for id_, row in seen.events.items():
            event = self.made[id_]
            assert (row.text.decode(), row.order_key, row.on_unknown, row.target) == (
                *(event.text, event.order_key, event.on_unknown, event.target),
            )

    def every_attempt_is_on_record(self, known: set[Tried], seen: Seen) -> None:
        """One row for each claim, and one more for each answer that came after its claim was given up."""
        for tried in seen.tried:
            assert (tried.event_id, tried.number) in self.world.began
            if tried.detail == RAN_OUT and tried not in known:
                assert self.world.began[tried.event_id, tried.number] + LEASE < self.world.hand.running()
        given_up = [tried for tried in seen.tried if tried.detail in (ENDED, RAN_OUT)]
        assert {tried.outcome for tried in given_up} <= {"unknown"}
        answered = Counter((tried.event_id, tried.number, tried.outcome) for tried in seen.tried)
        answered -= Counter((tried.event_id, tried.number, tried.outcome) for tried in given_up)
        assert answered == Counter(answer for answer in self.world.answered if answer[0] in seen.events)
        numbers: dict[str, list[int]] = {id_: [] for id_ in seen.events}
        for tried in seen.tried:
            if not tried.late:
                numbers[tried.event_id].append(tried.number)
        for id_, row in seen.events.items():
            finished = row.attempts - (row.state == "sending")
            assert sorted(numbers[id_]) == list(range(1, finished + 1))

    def every_end_was_told(self, before: dict[str, Any], seen: Seen) -> None:
        """One line of the log for each, and none that tells of trouble with the store."""
        trouble = (logs.CLAIM_FAILED, logs.ATTEMPT_UNRECORDED, logs.MAPPING_FAILED)
        assert [line for line in self.log.lines if line["event"] in trouble] == []
        ended = Counter[tuple[str, str]]()
        states = {id_: row.state for id_, row in before.items()}
        for row in seen.versions:
            if row.state in FINAL and row.state != states.get(row.id):
                ended[FINAL[row.state], row.id] += 1
            states[row.id] = row.state
        told = Counter((line["event"], line["event_id"]) for line in self.log.lines if line["event"] in FINAL.values())
        assert told == ended
        self.log.lines.clear()

    def keys_are_in_order(self) -> None:
        """The first of each key waits for nobody, all others wait for it."""
        for key, line in by_key(self._in(*BLOCKING)):
            first, *others = [row.next_attempt_at == WAITING for row in line]
            assert not first, f"{key} is stuck"
            assert all(others)
            assert [row.state for row in line[1:]] == ["pending"] * len(others)
        assert all(row.next_attempt_at < WAITING for row in self._in("pending") if row.order_key is None)

    def nothing_is_left_lying(self) -> None:
        """What is due is being sent, as far as there is room; what hangs too long was given up."""
        now = self.world.hand.running()
        hanging = Counter((call.claim.event_id, call.claim.attempt) for call in self.world.calls)
        for row in self._in("sending"):
            assert hanging[row.id, row.attempts] == 1
            assert row.lease_until + SWEEP >= now
        for target, room in ROOM.items():
            state = self._stored(target)
            due = [row for row in self._in("pending") if row.target == target and row.next_attempt_at <= now]
            calls = sum(call.claim.target == target for call in self.world.calls)
            assert calls <= room
            if state.paused_at is None:
                assert not due or calls == room
            elif state.next_probe_at is not None and state.next_probe_at <= now:
                assert not due or calls

    def _line(self, row: Any) -> list[Any]:
        """The others of an event's key."""
        if row.order_key is None:
            return []
        same = [other for other in self.rows.values() if key_of(other) == key_of(row)]
        return [other for other in same if other.id != row.id]

    def _stored(self, name: str) -> TargetState:
        """A target's state, as it was when the database was last looked at."""
        return self.stored.get(name, TargetState(name=name))

    def _clock(self, target: str) -> int:
        return self._stored(target).clock(self.world.hand.running())


def key_of(row: Any) -> tuple[str, ...]:
    return row.target, row.source, row.order_key


def by_key(rows: list[Any]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Ordered events by key, each key's in order of commit."""
    ordered = sorted((row for row in rows if row.order_key is not None), key=lambda row: (key_of(row), row.seq))
    return ((key, list(line)) for key, line in groupby(ordered, key_of))


def decided(before: Any, tried: Tried) -> tuple[str, str | None, int, int]:
    """State, reason, retries and unclear answers of an event after an attempt, as the documentation has it."""
    retries, unclear = before.retries, before.unclear
    match tried.outcome:
        case "delivered":
            return "delivered", None, retries, unclear
        case "rejected":
            return "dead", "rejected", retries, unclear
        case "unknown" if before.on_unknown == "hold":
            return "held", "unknown", retries, unclear
        case "unauthorized":
            return "pending", "unauthorized", retries, unclear
    not_understood = tried.detail == Unclear.ANSWER
    if tried.detail == Unclear.PAGE or (tried.probe and not not_understood):
        return "pending", tried.outcome, retries, unclear
    if not_understood and unclear == 2:
        return "dead", "answer_not_understood", retries, unclear
    if retries + 1 == MAX_ATTEMPTS.get(before.target):
        return "dead", "max_attempts", retries, unclear
    return "pending", tried.outcome, retries + 1, unclear + not_understood
