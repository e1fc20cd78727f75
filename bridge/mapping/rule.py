"""A compiled rule, and the facts about targets that rules are compiled with."""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.mapping.attributes import Style, Value
from bridge.mapping.expressions.expression import Expression, Scope
from bridge.mapping.expressions.why import Explanation
from bridge.mapping.headers import HeaderTemplates
from bridge.model import OnUnknown, Why
from bridge.settings.document import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What the rules must know of a target. `event_types` None: any name may be sent; `max_age` in milliseconds.

    `place` is where its settings stand, for what a rule finds missing in them.
    """

    style: Style
    event_types: frozenset[str] | None
    max_age: int
    place: Section | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A rule's `when`, and what explains it where it is false."""

    expression: Expression
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A compiled rule. `identity` is the name that its events' ids are made from."""

    name: str
    identity: str
    when: Condition | None
    for_each: Condition | None
    key: Expression | None
    order_by: Expression | None
    targets: Callable[[Scope], list[str]]
    named: tuple[str, ...]  # the targets that it names outright
    chosen_by: tuple[Expression, ...]  # what tells the others
    type: str
    attributes: Value
    names_attributes: bool  # the rule itself: else the webhook has a say in their names
    headers: HeaderTemplates | None
    on_unknown: OnUnknown
    max_age: int | None
    send: bool
    stop: bool
    unmatched: Why  # made once: most rules do not match most webhooks
