"""Attributes as pairs: what separates them, and what becomes of that in values."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import MappingError, Severity
from bridge.mapping.attributes import Style
from bridge.mapping.expressions.expression import compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.pairs import always, escaping, maybe, write
from bridge.mapping.rule import TargetFacts
from bridge.model import WebhookState
from bridge.settings.document import Document, Section

from .support import DAY, WEBHOOK, compiled, texts, why

FREE_TEXT = "Hi; please see https://x.example/?id=7"
WRITTEN = "name: a, event: {type: T, attributes: {message: '{{ body.message }}'}}"
PLACE = Section(Document("bridge.yaml", {"targets": {"crm": {}}}, {("targets", "crm"): (7, 3)}), ("targets", "crm"))


def target(escape: Callable[[str], str] | None) -> dict[str, TargetFacts]:
    return {"crm": TargetFacts(style=Style("pairs", escape), event_types=None, max_age=DAY, place=PLACE)}


def found(rule: str, escape: Callable[[str], str] | None = None) -> list[str]:
    return [f"{one.severity}: {one}" for one in compiled(rule, targets=target(escape))[1]]


@pytest.mark.parametrize(
    ("escape", "text"),
    [
        (escaping("percent", " "), "message=Hi%3B please see https://x.example/?id%3D7"),
        (escaping("replace", " "), "message=Hi  please see https://x.example/?id 7"),
        (escaping("replace", ""), "message=Hi please see https://x.example/?id7"),
        (escaping("replace", "\\1"), "message=Hi\\1 please see https://x.example/?id\\17"),
    ],
)
def test_free_text_goes_into_pairs_as_the_target_says(escape: Callable[[str], str], text: str) -> None:
    rules, problems = compiled(WRITTEN, targets=target(escape))
    assert problems == []
    (event,) = rules.map(WEBHOOK, {"message": FREE_TEXT}).events
    assert (event.text, event.attributes) == (text, {"message": FREE_TEXT})


def test_free_text_that_pairs_cannot_hold_breaks_the_rule_unless_it_is_escaped() -> None:
    rules, _ = compiled(WRITTEN, targets=target(None))
    mapping = rules.map(WEBHOOK, {"message": FREE_TEXT})
    assert mapping.state is WebhookState.FAILED
    assert why(mapping).error == (
        "attributes.message: the value holds a `;`, which separates pairs, "
        "set attributes_escape: percent or replace on the target, or attributes_format: json"
    )


def test_line_ends_and_the_sign_of_an_escape_are_escaped_too() -> None:
    assert write({"a": "100 %\r\nof\nit\r"}, escaping("percent", "")) == "a=100 %25%0D%0Aof%0Ait%0D"
    assert write({"a": "100 %\r\nof\nit\r"}, escaping("replace", " / ")) == "a=100 % / of / it / "
    assert write({"a": [";", {"b": "="}]}, escaping("percent", "")) == 'a=["%3B",{"b":"%3D"}]'


def test_a_name_is_never_escaped() -> None:
    for escape in (escaping("percent", ""), escaping("replace", "")):
        with pytest.raises(MappingError, match="the name holds a `;`"):
            write({"a;b": "c"}, escape)


@given(st.dictionaries(st.text(st.sampled_from("ab c")), texts))
def test_percents_can_be_read_back(values: dict[str, str]) -> None:
    written = write(values, escaping("percent", ""))
    assert not set("\r\n") & set(written)
    read = [pair.split("=") for pair in written.split(";")] if written or values else []
    assert {name: unquote(text) for name, text in read} == values


@given(st.dictionaries(st.text(st.sampled_from("ab c")), texts), st.text(st.sampled_from("-_ %")))
def test_what_is_replaced_leaves_as_many_pairs_as_there_were(values: dict[str, str], replacement: str) -> None:
    written = write(values, escaping("replace", replacement))
    assert [pair.split("=")[0] for pair in written.split(";")] == (list(values) or [""])


@pytest.mark.parametrize("value", ["a;b", "a=b", "x={{ body.x }}", "{{ body.x }};", {"deep": ["a;b"]}, {"a=": 1}])
def test_a_constant_that_can_never_pass_is_an_error(value: Any) -> None:
    shown = str(value).replace("'", '"') if isinstance(value, dict) else f"'{value}'"
    problem, *_ = found(f"name: a, event: {{type: T, attributes: {{v: {shown}}}}}")
    assert problem == (
        "error: shop.yaml:4:45: rules[0].event.attributes.v: its text always holds ; or =, which separate pairs, "
        "set attributes_escape: percent or replace on the target, or attributes_format: json"
    )
    assert found(f"name: a, event: {{type: T, attributes: {{v: {shown}}}}}", escaping("percent", "")) == []


def test_text_of_a_webhook_in_pairs_that_are_not_escaped_is_a_warning_at_the_target() -> None:
    (problem,) = found(WRITTEN)
    assert problem == (
        "warning: bridge.yaml:7:3: targets.crm.attributes_escape: text of webhooks is sent as pairs, and breaks its "
        "rule where it holds ; or = (first: shop.yaml:4:45), "
        "set attributes_escape: percent or replace, or attributes_format: json"
    )
    assert compiled(WRITTEN, targets=target(None))[1][0].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("template", "may"),
    [
        ("{{ body.x }}", ";="),
        ("{{ headers['x-y'] | lower }}", ";="),
        ("{{ query.x | default('none') }}", ";="),
        ("{{ item.x ~ '!' }}", ";="),
        ("Order {{ body.x }}", ";="),
        ("{{ 'a' if body.x else body.y }}", ";="),
        ("{{ body.list | join('-') }}", ";="),
        ("{{ body.x | replace(';', ',') }}", "="),
        ("{{ body.x | replace(';', ',') | replace('=', '-') }}", ""),
        ("{{ body.x | replace(';', '=') | replace('=', '-') }}", ""),
        ("{{ body.x | replace('=', ';') }}", ";"),
        ("{{ body.x | int }}", ""),
        ("{{ (body.x | float) * 2 }}", ""),
        ("{{ body.list | length }}", ""),
        ("{{ body.x == ';' }}", ""),
        ("{{ body.x is defined }}", ""),
        ("{{ not body.x }}", ""),
        ("{{ 'paid' if body.x == '=' else 'open' }}", ""),
        ("{{ event.id }}", ""),
        ("{{ webhook.received_at }} of {{ source }}", ""),
        ("{{ [1, 'a;'] | join }}", ";"),
        ("{{ event.id ~ '=' }}", "="),
        ("plain", ""),
    ],
)
def test_what_an_expression_tells_of_separators(template: str, may: str) -> None:
    registry = Registry.of("body", "headers", "query", "source", "webhook", "event", "item")
    node = compile_template(template, registry).node
    assert maybe(node) == frozenset(may)
    assert always(node) == frozenset()


def test_a_number_or_an_id_in_pairs_is_no_warning() -> None:
    assert found("name: a, event: {type: T, attributes: {n: '{{ body.n | int }}', id: '{{ event.id }}'}}") == []


def test_in_another_format_nothing_is_escaped_nor_warned_of() -> None:
    for format_ in ("json", "text"):
        written = WRITTEN if format_ == "json" else "name: a, event: {type: T, attributes: '{{ body.message }}'}"
        facts = TargetFacts(style=Style(format_, escaping("fail", "")), event_types=None, max_age=DAY, place=PLACE)
        rules, problems = compiled(written, targets={"crm": facts})
        assert problems == []
        (event,) = rules.map(WEBHOOK, {"message": FREE_TEXT}).events
        assert FREE_TEXT in event.text
