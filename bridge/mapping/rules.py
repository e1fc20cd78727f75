"""Applies a source's rules to a verified webhook: events and one Why a rule. Values only, no I/O.

A rule or an item that breaks is a value (`failed`, with the reason), never an exception: the others' events are still
made. Only a bound on what one webhook may make or take fails it as a whole. `compilation` makes them from settings.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qsl

from msgspec.structs import replace

from bridge import jsontext
from bridge.attribute_text import untold
from bridge.errors import Exceeded, MappingError
from bridge.mapping.attributes import final_text
from bridge.mapping.bounds import Allowance
from bridge.mapping.expressions.expression import Scope
from bridge.mapping.expressions.unparse import spell
from bridge.mapping.items import bounded, identity_of, items
from bridge.mapping.rule import Rule, TargetFacts
from bridge.mapping.rule_errors import Errors, in_field, logged, told, with_field
from bridge.mapping.steps import Steps, to_the_end
from bridge.model import Content, Event, Mapped, Webhook, WebhookState, Why, event_id
from bridge.times import iso

MAX_TARGETS = 100  # of one event

Dedupe = Callable[[Webhook, Scope], Any]

# As attributes of their class, each look at them costs more than a call.
_MAPPED: Final = WebhookState.MAPPED
_IGNORED: Final = WebhookState.IGNORED
_FAILED: Final = WebhookState.FAILED


@dataclass(frozen=True, slots=True)
class Rules:
    """A source's compiled rules, the targets that they may name, and the bodies that they are written for.

    `max_body` is in bytes, after decompression; `max_events_size` are those that one webhook's events may take in the
    store.
    """

    rules: tuple[Rule, ...]
    dedupe: Dedupe | None
    targets: Mapping[str, TargetFacts]
    content: Content = Content.JSON
    max_body: int = 1 << 20
    max_depth: int = 100
    max_events_size: int = 16 << 20

    def map(self, webhook: Webhook, body: Any, *, explain: bool = False) -> Mapped:
        """Run the rules over a webhook with its parsed body, here and now."""
        return to_the_end(self.steps(webhook, body, explain=explain))

    def steps(self, webhook: Webhook, body: Any, *, explain: bool = False) -> Steps:
        """Run the rules over a webhook with its parsed body. There is no step before `AT_ONCE` is over.

        Why a rule did not match is told where `explain` asks for it, and where something did not go as it might have:
        no rule matched, or one broke.
        """
        scope = _scope(webhook, body)
        events: list[Event] = []
        whys: list[Why] = []
        ended = ""
        failed = bounded = False
        dedupe_key = self._dedupe_key(webhook, scope)
        left = Allowance.of(self.max_events_size, dedupe_key or "")
        for rule in self.rules:
            if ended:
                whys.append(Why(rule=rule.name, matched=False, clause=f"not tried: {ended}"))
                continue
            if _is_out(rule, scope, left):
                whys.append(rule.unmatched)
                continue
            made, why, bounded = yield from self._apply(rule, webhook, scope, left)
            if bounded:
                events, whys = [], [replace(before, events=()) for before in whys]
                ended = f"{rule.name} broke a bound of the whole webhook"
            elif rule.stop and why.matched:
                ended = f"{rule.name} matched and says stop"
            events += made
            whys.append(why)
            if why.error:
                failed = True
        state = _FAILED if failed else _MAPPED if events else _IGNORED
        if explain or state is not _MAPPED:
            whys = yield from self._explain(whys, scope, left)
        return Mapped(
            state=state,
            events=tuple(events),
            why=tuple(whys),
            error=f"no event is made: {why.rule}: {why.error}" if bounded else None,
            size=left.taken if events else 0,
            bounded=bounded,
            dedupe_key=dedupe_key,
        )

    def without_events(self, webhook: Webhook, state: WebhookState, error: str) -> Mapped:
        """The mapping of a webhook that no rule could be tried on, and why."""
        return Mapped(state=state, error=error, dedupe_key=self._dedupe_key(webhook, _scope(webhook, None)))

    def _dedupe_key(self, webhook: Webhook, scope: Scope) -> str | None:
        if self.dedupe is None:
            return webhook.delivery_id
        try:
            value = self.dedupe(webhook, scope)
        except MappingError:  # no key, no dedupe; never a refusal
            return None
        return None if value is None or value == "" else bounded(jsontext.as_text(value))

    def _explain(self, whys: list[Why], scope: Scope, left: Allowance) -> Generator[str, None, list[Why]]:
        explained: list[Why] = []
        try:
            for rule, why in zip(self.rules, whys, strict=True):
                if perf_counter() > left.until:
                    yield left.key
                explained.append(_explained(rule, why, scope))
        except Exceeded:  # what is told by now will do
            pass
        return explained + whys[len(explained) :]

    def _apply(
        self, rule: Rule, webhook: Webhook, scope: Scope, left: Allowance
    ) -> Generator[str, None, tuple[list[Event], Why, bool]]:
        """A rule's events, why, and whether a bound of the whole webhook was broken, so that there are none."""
        events: list[Event] = []
        errors = Errors()
        matched = False
        occurrences: dict[str, int] = {}
        try:
            for place, item_scope in items(rule, scope):
                if perf_counter() > left.until:
                    yield left.key
                identity = identity_of(rule, item_scope, occurrences)
                try:
                    if rule.when is not None and not in_field("when", rule.when.expression, item_scope):
                        continue
                    matched = True
                    if isinstance(identity, MappingError):
                        raise identity
                    targets = in_field("target", rule.targets, item_scope)
                except MappingError as error:
                    errors.add(place, error)
                    continue
                for target in targets:
                    if perf_counter() > left.until:
                        yield left.key
                    try:
                        event = self._make(rule, target, webhook, item_scope, *identity)
                    except MappingError as error:
                        errors.add(place, error)
                        continue
                    events.append(event)
                    left.take(event)
        except Exceeded as error:
            return [], Why(rule=rule.name, matched=matched, error=told(error), logged=logged(error)), True
        except MappingError as error:
            errors.add("", error)
        ids = tuple([event.id for event in events])
        why = Why(
            rule=rule.name,
            matched=matched,
            values=errors.values or None,
            error=errors.told(),
            logged=errors.logged(),
            events=ids,
        )
        return events, why, False

    def _make(self, rule: Rule, target: str, webhook: Webhook, scope: Scope, key: str, occurrence: int) -> Event:
        facts = self._facts(rule, target)
        id_ = event_id(webhook.id, rule.identity, target, key, occurrence)
        event_scope = {**scope, "event": {"id": id_}}
        values = rule.attributes(event_scope)
        try:
            text = final_text(values, facts.style)
        except MappingError as error:
            if not rule.names_attributes:
                error.logged_field = "attributes"
            raise
        form, rest = untold(values, text, facts.style.format, escaped=facts.style.escape is not None)
        order_by = None if rule.order_by is None else in_field("order_by", rule.order_by, event_scope)
        return Event(
            id=id_,
            rule=rule.name,
            target=target,
            item_key=f"{key}#{occurrence}" if occurrence else key,
            type=rule.type,
            text=text,
            form=form,
            rest=rest,
            on_unknown=rule.on_unknown,
            max_age=facts.max_age if rule.max_age is None else rule.max_age,
            order_key=None if order_by is None else bounded(jsontext.as_text(order_by)),
            send=rule.send,
            headers=(rule.headers(event_scope) or None) if rule.headers else None,
        )

    def _facts(self, rule: Rule, target: str) -> TargetFacts:
        facts = self.targets.get(target)
        if facts is None:
            name = target[:100]
            error = MappingError(f"there is no target `{name}`", lambda: self._nearest(name))
            error.logged_message = "there is no target of this name"
            raise with_field("target", error)
        if facts.event_types is not None and rule.type not in facts.event_types:
            raise with_field("event.type", MappingError(f"target {target} does not know event type `{rule.type}`"))
        return facts

    def _nearest(self, target: str) -> str:
        near = get_close_matches(target, self.targets, 1)
        return f"did you mean `{near[0]}`?" if near else f"the targets are {', '.join(sorted(self.targets))}"


def _scope(webhook: Webhook, body: Any) -> dict[str, Any]:
    return {
        "body": body,
        "headers": webhook.headers,
        "query": dict(parse_qsl(webhook.query, keep_blank_values=True)) if webhook.query else {},
        "source": webhook.source,
        "webhook": {"id": webhook.id, "received_at": iso(webhook.received_at), "method": webhook.method},
    }


def _is_out(rule: Rule, scope: Scope, left: Allowance) -> bool:
    """Whether a rule is plainly not for this webhook; what breaks, or has to go step by step, is left to `_apply`."""
    if rule.when is None or rule.for_each is not None or perf_counter() > left.until:
        return False
    try:
        return not rule.when.expression(scope)
    except MappingError:
        return False


def _explained(rule: Rule, why: Why, scope: Scope) -> Why:
    """The same, with the clause that was false: of the first item that there is, where the rule is for each item."""
    if why.matched or why.error or why.clause:
        return why
    try:
        item_scope = next((item_scope for _, item_scope in items(rule, scope)), None)
        if item_scope is None and rule.for_each is not None:
            values = rule.for_each.explanation.values(None, scope)
            return Why(
                rule=rule.name,
                matched=False,
                clause=f"for_each has no items: {spell(rule.for_each.expression.node, 300)}",
                values=values,
            )
        if item_scope is not None and rule.when is not None:
            clause, values = rule.when.explanation.first_false(item_scope)
            return Why(rule=rule.name, matched=False, clause=clause, values=values)
    except Exception:  # noqa: S110 - an explanation is worth less than the webhook that it is about
        pass
    return why
