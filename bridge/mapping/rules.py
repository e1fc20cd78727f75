"""A source's rules: a verified webhook in, its events and one Why for each rule out. Values only, no I/O.

A rule or an item that breaks is a value (`failed`, with the reason), never an exception: the others' events are still
made.
"""

import hashlib
from collections.abc import Collection, Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from bridge import jsontext
from bridge.errors import ExpressionError, MappingError, Problem
from bridge.mapping.attributes import Format, Value, compile_attributes, final_text
from bridge.mapping.expressions import Expression, compile_expression
from bridge.model import Event, Mapping, OnUnknown, Webhook, WebhookState, Why, event_id
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.schema import RuleSettings
from bridge.times import iso

MAX_ITEMS = 10_000  # of one for_each: bounds the transaction that stores the events
_KEY_LENGTH = 255

_WEBHOOK_NAMES = frozenset({"body", "headers", "query", "source", "webhook"})
_DEDUPE_NAMES = frozenset({"body", "headers", "query", "source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What the rules must know of a target. `event_types` None: any name may be sent; `max_age` in milliseconds."""

    attributes_format: Format
    event_types: frozenset[str] | None
    max_age: int


# A target whose own settings are wrong, or that is none: what a rule says of it cannot be checked.
UNKNOWN_TARGET = TargetFacts(attributes_format="json", event_types=None, max_age=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    name: str
    when: Expression | None
    for_each: Expression | None
    key: Expression | None
    target: str
    facts: TargetFacts
    type: str
    attributes: Value
    on_unknown: OnUnknown


@dataclass(frozen=True, slots=True)
class Rules:
    """A source's compiled rules."""

    rules: tuple[_Rule, ...]
    dedupe: Expression | None

    def map(self, webhook: Webhook, body: Any) -> Mapping:
        """Run every rule over a webhook with its parsed body."""
        scope = _scope(webhook) | {"body": body}
        events: list[Event] = []
        whys: list[Why] = []
        for rule in self.rules:
            made, why = _apply(rule, webhook, scope)
            events += made
            whys.append(why)
        failed = any(why.error for why in whys)
        state = WebhookState.FAILED if failed else WebhookState.MAPPED if events else WebhookState.IGNORED
        key = self._dedupe_key(webhook, scope)
        return Mapping(state=state, events=tuple(events), why=tuple(whys), dedupe_key=key)

    def without_events(self, webhook: Webhook, state: WebhookState, error: str) -> Mapping:
        """The mapping of a webhook that no rule could be tried on, and why."""
        return Mapping(state=state, error=error, dedupe_key=self._dedupe_key(webhook, _scope(webhook) | {"body": None}))

    def _dedupe_key(self, webhook: Webhook, scope: MappingOf[str, Any]) -> str | None:
        if self.dedupe is None:
            return webhook.delivery_id
        try:
            value = self.dedupe(scope)
        except MappingError:  # no key, no dedupe; never a refusal
            return None
        return None if value is None or value == "" else _bounded(jsontext.as_text(value))


def _scope(webhook: Webhook) -> dict[str, Any]:
    return {
        "headers": webhook.headers,
        "query": dict(parse_qsl(webhook.query, keep_blank_values=True)) if webhook.query else {},
        "source": webhook.source,
        "webhook": {"id": webhook.id, "received_at": iso(webhook.received_at), "method": webhook.method},
    }


def _apply(rule: _Rule, webhook: Webhook, scope: dict[str, Any]) -> tuple[list[Event], Why]:
    events: list[Event] = []
    errors: list[str] = []
    matched = False
    occurrences: dict[str, int] = {}
    try:
        for place, item_scope in _items(rule, scope):
            try:
                if rule.when is not None and not _named("when", rule.when, item_scope):
                    continue
                matched = True
                events.append(_make(rule, webhook, item_scope, occurrences))
            except MappingError as error:
                errors.append(place + _explain(error))
    except MappingError as error:
        errors.append(_explain(error))
    told = "; ".join(errors[:3]) + (f"; and {len(errors) - 3} more" if len(errors) > 3 else "")
    return events, Why(rule=rule.name, matched=matched, error=told or None, events=tuple(event.id for event in events))


def _items(rule: _Rule, scope: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The scope of each item, with words for its place; without a for_each there is one, the webhook itself."""
    if rule.for_each is None:
        yield "", scope
        return
    items = _named("for_each", rule.for_each, scope)
    if not isinstance(items, list):
        raise _in_field("for_each", MappingError(f"gives {jsontext.type_name(items)}, and must give a list"))
    if len(items) > MAX_ITEMS:
        raise _in_field("for_each", MappingError(f"gives {len(items)} items, at most {MAX_ITEMS} are allowed"))
    for number, item in enumerate(items):
        yield f"item {number}: ", scope | {"item": item}


def _make(rule: _Rule, webhook: Webhook, scope: dict[str, Any], occurrences: dict[str, int]) -> Event:
    key = "" if rule.for_each is None else _item_key(rule, scope)
    occurrence = occurrences.get(key, 0)
    occurrences[key] = occurrence + 1  # before anything can break: a broken item keeps its identity for a remap
    id_ = event_id(webhook.id, rule.name, rule.target, key, occurrence)
    values = rule.attributes(scope | {"event": {"id": id_}})
    text = final_text(values, rule.facts.attributes_format)
    return Event(
        id=id_,
        rule=rule.name,
        target=rule.target,
        item_key=f"{key}#{occurrence}" if occurrence else key,
        type=rule.type,
        attributes=values,
        text=text,
        on_unknown=rule.on_unknown,
        max_age=rule.facts.max_age,
    )


def _item_key(rule: _Rule, scope: dict[str, Any]) -> str:
    if rule.key is None:
        return hashlib.sha256(jsontext.encode(scope["item"])).hexdigest()[:32]
    return _bounded(jsontext.as_text(_named("key", rule.key, scope)))


def _bounded(key: str) -> str:
    """A key as a database's text: short, and without the characters that PostgreSQL refuses."""
    if len(key) <= _KEY_LENGTH and "\0" not in key:
        return key
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def _named(field: str, expression: Expression, scope: MappingOf[str, Any]) -> Any:
    try:
        return expression(scope)
    except MappingError as error:
        raise _in_field(field, error) from None


def _in_field(field: str, error: MappingError) -> MappingError:
    error.field = field
    return error


def _explain(error: MappingError) -> str:
    text = f"{error.field}: {error.message}" if error.field else error.message
    return text + (f" in `{error.expression}`" if error.expression else "") + (f", {error.hint}" if error.hint else "")


def compile_rules(
    source: Source, targets: MappingOf[str, TargetFacts], default_target: str | None
) -> tuple[Rules, list[Problem]]:
    """A source's rules, compiled, and everything that is wrong with them; with an error among it, not to be used."""
    problems: list[Problem] = []
    text = source.settings.dedupe if source.settings else None
    dedupe = _compile(source.section, "dedupe", text, _DEDUPE_NAMES, problems)
    rules = [
        _compile_rule(settings, section, targets, default_target, problems) for settings, section in source.rules()
    ]
    return Rules(tuple(rules), dedupe), problems


def _compile_rule(
    settings: RuleSettings,
    section: Section,
    targets: MappingOf[str, TargetFacts],
    default_target: str | None,
    problems: list[Problem],
) -> _Rule:
    names = _WEBHOOK_NAMES | ({"item"} if settings.for_each else set())
    for_each = _compile(section, "for_each", settings.for_each, _WEBHOOK_NAMES, problems)
    when = _compile(section, "when", settings.when, names, problems)
    key = _compile(section, "key", settings.key, names, problems)
    target = settings.target or default_target
    facts = targets.get(target or "", UNKNOWN_TARGET)
    if target is None:
        problems.append(section.problem("the rule names no target", "add target, or default_target to bridge.yaml"))
    elif target not in targets:
        hint = _nearest(target, targets, "the targets are")
        problems.append(section["target"].problem(f"there is no target `{target}`", hint))
    event = section["event"]
    if facts.event_types is not None and settings.event.type not in facts.event_types:
        hint = _nearest(settings.event.type, facts.event_types, "the types are")
        problems.append(
            event["type"].problem(f"target {target} does not know event type `{settings.event.type}`", hint)
        )
    attributes: Value = _no_attributes
    if "attributes" in event.value:
        attributes, found = compile_attributes(event["attributes"], names | {"event"}, facts.attributes_format)
        problems += found
    return _Rule(
        name=settings.name,
        when=when,
        for_each=for_each,
        key=key,
        target=target or "",
        facts=facts,
        type=settings.event.type,
        attributes=attributes,
        on_unknown=settings.on_unknown,
    )


def _no_attributes(_: MappingOf[str, Any]) -> dict[str, Any]:
    return {}


def _compile(
    section: Section, field: str, text: str | None, names: Collection[str], problems: list[Problem]
) -> Expression | None:
    if text is None:
        return None
    try:
        return compile_expression(text, names)
    except ExpressionError as error:
        problems.append(section[field].problem(error.message, error.hint))
        return None


def _nearest(name: str, known: Collection[str], words: str) -> str:
    near = get_close_matches(name, known, 1)
    return f"did you mean `{near[0]}`? " * bool(near) + f"{words} {', '.join(sorted(known))}"
