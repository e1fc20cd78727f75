"""Compiles a source's settings to its rules, or to every problem in them with its place."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from bridge.errors import ExpressionError, MappingError, Problem, Severity
from bridge.jsontext import type_name
from bridge.mapping.attributes import Style, Value, compile_attributes
from bridge.mapping.expressions.expression import Expression, Scope, compile_expression, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.why import Explanation
from bridge.mapping.headers import compile_headers
from bridge.mapping.rule import Condition, Rule, TargetFacts
from bridge.mapping.rules import MAX_TARGETS, Dedupe, Rules
from bridge.model import Why
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.secrets import Expanded
from bridge.settings.source_schema import DefaultsSettings, RuleSettings

# A target whose own settings are wrong, or that is none: what a rule says of it cannot be checked.
UNKNOWN_TARGET = TargetFacts(style=Style("json"), event_types=None, max_age=0)

_OF_WEBHOOKS = Registry.of("body", "headers", "query", "source", "webhook")
_OF_DEDUPE = Registry.of("body", "headers", "query", "source")


def compile_rules(
    source: Source, targets: Mapping[str, TargetFacts], default_target: str | None, dedupe_by_scheme: str = ""
) -> tuple[Rules, list[Problem]]:
    """A source's rules, compiled, and everything that is wrong with them; with an error among it, not to be used.

    `dedupe_by_scheme` is the expression for the delivery id of senders that put it into the body.
    """
    compiling = _Compiling(targets, default_target, source, source.defaults(), [])
    dedupe = compiling.dedupe(_dedupe(source) or dedupe_by_scheme or None)
    rules = tuple(compiling.rule(rule, section) for rule, section in source.rules())
    return Rules(rules, dedupe, targets), list(dict.fromkeys(compiling.problems))


@dataclass(frozen=True, slots=True)
class _Compiling:
    """One source on its way; `problems` grows."""

    targets: Mapping[str, TargetFacts]
    default_target: str | None
    source: Source
    defaults: DefaultsSettings | None  # None: they are wrong, and what they say is not known
    problems: list[Problem]

    def rule(self, settings: RuleSettings, section: Section) -> Rule:
        registry = _OF_WEBHOOKS.and_names("item") if settings.for_each else _OF_WEBHOOKS
        named, choose, chosen_by = self.target(settings, section, registry)
        event = section["event"]
        defaults = self.defaults or DefaultsSettings()
        facts = [self.targets.get(name, UNKNOWN_TARGET) for name in named]
        for name in named:
            self.known_type(settings.event.type, name, event["type"])
        attributes: Value = _no_attributes
        if "attributes" in event.value:
            styles = [one.style for one in facts]
            attributes, doubtful, found = compile_attributes(event["attributes"], registry.and_names("event"), styles)
            self.problems.extend(found)
            if doubtful:
                self.problems.extend(_unescaped(one.place, doubtful) for one in facts if one.place and _refuses(one))
        headers = None
        if settings.headers:
            headers, found = compile_headers(section["headers"], registry.and_names("event"))
            self.problems.extend(found)
        return Rule(
            name=settings.name,
            identity=settings.was or settings.name,
            when=self.condition(section, "when", settings.when, registry),
            for_each=self.condition(section, "for_each", settings.for_each, _OF_WEBHOOKS),
            key=self.expression(section, "key", settings.key, registry),
            order_by=self.expression(section, "order_by", settings.order_by, registry),
            targets=choose,
            named=tuple(named),
            chosen_by=tuple(chosen_by),
            type=settings.event.type,
            attributes=attributes,
            names_attributes=not isinstance(settings.event.attributes, str),
            headers=headers,
            on_unknown=settings.on_unknown or defaults.on_unknown,
            max_age=settings.max_age if settings.max_age is not None else defaults.max_age,
            send=settings.send,
            stop=settings.stop,
            unmatched=Why(rule=settings.name, matched=False),
        )

    def target(
        self, settings: RuleSettings, section: Section, registry: Registry
    ) -> tuple[list[str], Callable[[Scope], list[str]], list[Expression]]:
        """The targets that a rule names outright, what tells all of them for a webhook, and by which expressions."""
        default = self.defaults.target if self.defaults else None
        wanted = settings.target or default or self.default_target
        if wanted is None:
            if self.defaults and self.targets:  # that there are none is told where they should be
                hint = "add target, or default_target to bridge.yaml"
                self.problems.append(section.problem("the rule names no target", hint))
            return [], _no_targets, []
        place = self.source.section["defaults"]["target"] if default and not settings.target else section["target"]
        named: list[str] = []
        templates: list[Expression] = []
        for number, text in enumerate([wanted] if isinstance(wanted, str) else wanted):
            written = place if isinstance(wanted, str) else place[number]
            given = written.value if written.exists else text
            try:
                template = compile_template(given if isinstance(given, Expanded) else text, registry)
                constant = _chosen([template], {}) if template.constant else []
            except ExpressionError as error:
                self.problems.append(written.problem(error.message, error.hint, at=error.position))
                continue
            except MappingError as error:
                self.problems.append(written.problem(error.message, error.hint))
                continue
            templates.append(template)
            named += constant
            for name in constant:
                if self.targets and name not in self.targets:
                    hint = _nearest(name, self.targets, "the targets are")
                    shown = "there is no such target" if isinstance(given, Expanded) else f"there is no target `{name}`"
                    self.problems.append(written.problem(shown, hint))
        if all(template.constant for template in templates):
            each_once = list(dict.fromkeys(named))
            return each_once, lambda _: each_once, []
        return named, lambda scope: _chosen(templates, scope, self.targets), templates

    def known_type(self, type_: str, target: str, place: Section) -> None:
        if "{{" in type_:
            self.problems.append(place.problem("cannot be computed", "write a rule for each type, told apart by when"))
            return
        known = self.targets.get(target, UNKNOWN_TARGET).event_types
        if known is not None and type_ not in known:
            hint = _nearest(type_, known, "the types are")
            self.problems.append(place.problem(f"target {target} does not know event type `{type_}`", hint))

    def dedupe(self, text: str | None) -> Dedupe | None:
        """What tells a webhook's key. `sha256(body)` is that of the raw body, which no expression sees."""
        if text is not None and text.replace(" ", "") == "sha256(body)":
            return lambda webhook, _: "sha256:" + hashlib.sha256(webhook.body).hexdigest()
        expression = self.expression(self.source.section, "dedupe", text, _OF_DEDUPE)
        return None if expression is None else lambda _, scope: expression(scope)

    def condition(self, section: Section, field: str, text: str | None, registry: Registry) -> Condition | None:
        expression = self.expression(section, field, text, registry)
        return None if expression is None else Condition(expression, Explanation(expression, registry))

    def expression(self, section: Section, field: str, text: str | None, registry: Registry) -> Expression | None:
        if text is None:
            return None
        written = section.value.get(field)
        try:
            return compile_expression(written if isinstance(written, Expanded) else text, registry)
        except ExpressionError as error:
            self.problems.append(section[field].problem(error.message, error.hint, at=error.position))
            return None


def _dedupe(source: Source) -> str | None:
    if source.settings:
        return source.settings.dedupe
    written = source.section.value.get("dedupe") if isinstance(source.section.value, dict) else None
    return written if isinstance(written, str) and written else None


def _chosen(templates: list[Expression], scope: Scope, known: Collection[str] | None = None) -> list[str]:
    """The targets that templates give; of `known`, where whoever checks them later would tell what is hidden."""
    chosen: dict[str, None] = {}  # in order, each once
    for template in templates:
        value = template(scope)
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str):
                raise MappingError(f"gives {type_name(name)}, and must give names of targets", "", template.text)
            if template.hidden and known is not None and name not in known:
                raise MappingError("there is no such target", "", template.text)
            chosen[name] = None
    if len(chosen) > MAX_TARGETS:
        raise MappingError(f"gives {len(chosen):,} targets, at most {MAX_TARGETS} are allowed")
    return list(chosen)


def _refuses(target: TargetFacts) -> bool:
    """Whether it is sent no text with what separates pairs."""
    return target.style == Style("pairs")


def _unescaped(target: Section, attribute: Section) -> Problem:
    message = f"text of webhooks is sent as pairs, and breaks its rule where it holds ; or = (first: {attribute.place})"
    hint = "set attributes_escape: percent or replace, or attributes_format: json"
    return target["attributes_escape"].problem(message, hint, Severity.WARNING)


def _no_targets(_: Scope) -> list[str]:
    return []


def _no_attributes(_: Scope) -> dict[str, Any]:
    return {}


def _nearest(name: str, known: Collection[str], words: str) -> str:
    near = [f"did you mean `{match}`? " for match in get_close_matches(name, known, 1)]
    return "".join([*near, f"{words} {', '.join(sorted(known))}"])
