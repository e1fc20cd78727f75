"""Iterates over a rule's `for_each` items and computes each item's key."""

import hashlib
from collections.abc import Iterable

from bridge import jsontext
from bridge.errors import Exceeded, MappingError
from bridge.mapping.bounds import MAX_ITEMS
from bridge.mapping.expressions.expression import Scope
from bridge.mapping.expressions.unparse import spell
from bridge.mapping.rule import Rule
from bridge.mapping.rule_errors import in_field, with_field

_KEY_LENGTH = 255


def items(rule: Rule, scope: Scope) -> Iterable[tuple[str, Scope]]:
    """The scope of each item, with words for its place; without a for_each there is one, the webhook itself."""
    if rule.for_each is None:
        return (("", scope),)
    items = in_field("for_each", rule.for_each.expression, scope)
    if not isinstance(items, list):
        message = f"`{spell(rule.for_each.expression.node)}` gives {jsontext.type_name(items)}, and must give a list"
        raise with_field("for_each", MappingError(message))
    if len(items) > MAX_ITEMS:
        given = f"`{spell(rule.for_each.expression.node)}` gives {len(items):,} items"
        raise with_field("for_each", Exceeded(f"{given}, at most {MAX_ITEMS:,} are allowed"))
    return ((f"item {number}: ", {**scope, "item": item}) for number, item in enumerate(items))


def identity_of(rule: Rule, scope: Scope, occurrences: dict[str, int]) -> tuple[str, int] | MappingError:
    """An item's key and how many items before it have the same, or why it has no key.

    Every item counts, whatever becomes of it: so its events stay the same when a repaired rule runs again.
    """
    if rule.for_each is None:
        return "", 0
    try:
        key = _item_key(rule, scope)
    except MappingError as error:
        return error
    occurrence = occurrences.get(key, 0)
    occurrences[key] = occurrence + 1
    return key, occurrence


def _item_key(rule: Rule, scope: Scope) -> str:
    if rule.key is None:
        return hashlib.sha256(jsontext.encode(scope["item"])).hexdigest()[:32]
    return bounded(jsontext.as_text(in_field("key", rule.key, scope)))


def bounded(key: str) -> str:
    """A key as a database's text: short, and without the characters that PostgreSQL refuses."""
    if len(key) <= _KEY_LENGTH and "\0" not in key:
        return key
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
