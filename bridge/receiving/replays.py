"""Warnings of `check` about replay attacks: a genuine request, sent again by somebody else, that would count again."""

from collections.abc import Iterator

from bridge.errors import Problem, Severity
from bridge.mapping.expressions.expression import Expression
from bridge.mapping.rule import Rule
from bridge.mapping.rules import Rules
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.sender import HASH
from bridge.receiving.verification import Verifier
from bridge.receiving.verification.schemes import signed_headers
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.source_schema import RuleSettings


def forgotten_too_early(source: Source, verifier: Verifier) -> Iterator[Problem]:
    """A signed time that is good for longer than duplicates are recognised."""
    if source.settings is None or (verifier.tolerance or 0) <= source.settings.dedupe_window:
        return
    place = source.section["verify"]["tolerance"]
    if place.exists:
        yield place.problem(
            "is above dedupe_window: a request that is sent again in between counts twice",
            "shorten it",
            Severity.WARNING,
        )
    else:
        message = "is below the tolerance for the signed time: a request that is sent again in between counts twice"
        hint = "make it longer, or set tolerance under verify"
        yield source.section["dedupe_window"].problem(message, hint, Severity.WARNING)


def unsigned_headers(source: Source, rules: Rules) -> Iterator[Problem]:
    """Rules that go by headers which are not signed, where that a request came before is not told by what is signed."""
    verify = source.section["verify"].value
    signed = signed_headers(verify)
    if signed is None or _recognised(source, signed):
        return
    found = [(place, read - signed) for place, read in _decided_by(source, rules) if read - signed]
    if found:
        names = ", ".join(sorted(frozenset[str]().union(*(names for _, names in found))))
        also = f" (and in {len(found) - 1} other places)" if len(found) > 1 else ""
        message = f"goes by a header that is not signed, {names}{also}: it can be changed, and the request sent again"
        hint = f"tell it by the body, or set dedupe: {HASH} where no two webhooks have the same body"
        yield found[0][0].problem(message, hint, Severity.WARNING)


def _recognised(source: Source, signed: frozenset[str]) -> bool:
    written, verify = source.section.value.get("dedupe"), source.section["verify"].value
    if written:
        return "headers" not in str(written) and "query" not in str(written)
    if verify["scheme"] == "hmac":
        return str(verify.get("delivery_id", "")).partition(":")[2].lower() in signed
    return SENDERS[verify["scheme"]].signs_id


def _decided_by(source: Source, rules: Rules) -> Iterator[tuple[Section, frozenset[str]]]:
    """Each part of a rule that decides whether it makes events, and for whom, with the headers that it reads."""
    for (settings, section), rule in zip(source.rules(), rules.rules, strict=True):
        for place, expression in _deciding(settings, section, rule):
            yield place, frozenset(key.lower() for key in expression.keys_of("headers"))


def _deciding(settings: RuleSettings, section: Section, rule: Rule) -> Iterator[tuple[Section, Expression]]:
    for key, condition in (("when", rule.when), ("for_each", rule.for_each)):
        if condition:
            yield section[key], condition.expression
    for expression in rule.chosen_by:
        yield section["target"] if settings.target else section, expression
