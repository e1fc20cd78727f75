"""A rule's headers: fixed with the event, and nothing that a sender writes can make two of one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Mapped, WebhookState
from bridge.settings.headers import MAX_VALUE

from .support import WEBHOOK, compiled, rules, values, why

EVENT = "event: {type: Run}"
HINT = f"send plain ASCII of at most {MAX_VALUE:,} characters, without blanks around it"


def mapped(headers: str, body: Any) -> Mapped:
    return rules(f"name: a, headers: {{{headers}}}, {EVENT}").map(WEBHOOK, body)


def headers_of(mapping: Mapped) -> Any:
    (event,) = mapping.events
    return event.headers


def test_an_event_keeps_the_headers_that_its_rule_gave_it() -> None:
    mapping = mapped(
        "X-Shop: '{{ body.shop }}', X-Fixed: plain, X-Number: '{{ body.number }}', X-Mixed: 'no. {{ body.number }}'",
        {"shop": "oslo", "number": 7},
    )
    assert headers_of(mapping) == {"X-Shop": "oslo", "X-Fixed": "plain", "X-Number": "7", "X-Mixed": "no. 7"}


def test_a_header_may_hold_the_events_id() -> None:
    mapping = mapped("X-Event: '{{ event.id }}', X-Webhook: '{{ webhook.id }}'", {})
    assert headers_of(mapping) == {"X-Event": mapping.events[0].id, "X-Webhook": WEBHOOK.id}


def test_each_item_has_its_own() -> None:
    made = rules(f"name: a, for_each: body, headers: {{X-Sku: '{{{{ item }}}}'}}, {EVENT}").map(WEBHOOK, ["x", "y"])
    assert [event.headers for event in made.events] == [{"X-Sku": "x"}, {"X-Sku": "y"}]


def test_a_rule_without_headers_makes_events_without() -> None:
    assert headers_of(rules(f"name: a, {EVENT}").map(WEBHOOK, {})) is None
    assert headers_of(rules(f"name: a, headers: {{}}, {EVENT}").map(WEBHOOK, {})) is None


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_header_without_a_value_is_left_out(nothing: Any) -> None:
    assert headers_of(mapped("X-A: '{{ body }}', X-B: b", nothing)) == {"X-B": "b"}
    assert headers_of(mapped("X-A: '{{ body }}'", nothing)) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("oslo\r\nX-Other: evil", f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        ("oslo\n", f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        (" oslo", f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        ("Åsgårdstrand", f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        ("a\0b", f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        ("a" * (MAX_VALUE + 1), f"cannot be the value of a header in `{{{{ body.v }}}}`, {HINT}"),
        (["a"], "a list cannot be the value of a header in `{{ body.v }}`, send one of its values"),
        ({"a": 1}, "an object cannot be the value of a header in `{{ body.v }}`, send one of its values"),
    ],
)
def test_a_value_that_a_header_cannot_hold_breaks_the_rule_and_is_not_quoted(value: Any, message: str) -> None:
    mapping = mapped("X-V: '{{ body.v }}'", {"v": value})
    assert mapping.state is WebhookState.FAILED
    assert mapping.events == ()
    assert why(mapping).error == f"headers.X-V: {message}"


def test_a_missing_key_breaks_the_rule_with_its_place() -> None:
    error = why(mapped("X-V: '{{ body.v }}'", {})).error
    assert error is not None
    assert error.startswith("headers.X-V: ")
    assert "`body.v`" in error


def test_what_is_wrong_with_a_header_is_told_at_load() -> None:
    _, problems = compiled(f"name: a, headers: {{X-A: '{{{{ bdy.x }}}}', X-B: 'a\tb', X-C: '{{% if a %}}'}}, {EVENT}")
    assert [(problem.path, problem.message) for problem in problems] == [
        ("rules[0].headers.X-A", "unknown name `bdy`"),
        ("rules[0].headers.X-B", "cannot be the value of a header"),
        ("rules[0].headers.X-C", "`{% %}` statements are not available"),
    ]


@given(values)
def test_whatever_a_sender_writes_is_one_header_or_none(value: Any) -> None:
    mapping = mapped("X-V: '{{ body.v }}'", {"v": value})
    if not mapping.events:
        assert mapping.state is WebhookState.FAILED
        return
    for text in (headers_of(mapping) or {}).values():
        assert text
        assert text == text.strip()
        assert text.isascii()
        assert text.isprintable()


@given(st.text(max_size=30), st.text(max_size=30))
def test_mixed_text_is_no_way_around(before: str, after: str) -> None:
    mapping = mapped("X-V: 'a{{ body.b }}-{{ body.a }}z'", {"b": before, "a": after})
    clean = (before + after).isascii() and (before + after).isprintable()
    assert bool(mapping.events) == clean
