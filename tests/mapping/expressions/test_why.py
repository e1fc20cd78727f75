import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge import jsontext
from bridge.mapping.expressions.expression import compile_expression
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.why import Explanation
from bridge.model import WebhookState, Why
from mapping.support import WEBHOOK, nested, rules, values, why

NAMES = Registry.of("body", "headers", "query", "source", "webhook", "item")


def told(when: str, body: Any, **webhook: Any) -> tuple[str | None, Any]:
    """The clause and values that a rule's false `when` leaves with an ignored webhook."""
    made = rules(f"name: a, when: {json.dumps(when)}, event: {{type: T}}").map(replace(WEBHOOK, **webhook), body)
    assert made.state is WebhookState.IGNORED
    found = why(made)
    assert (found.matched, found.error, found.events) == (False, None, ())
    return found.clause, found.values


@pytest.mark.parametrize(
    ("when", "body", "clause", "looked_at"),
    [
        ("body.action == 'opened'", {"action": "closed"}, "body.action == 'opened'", {"body.action": "closed"}),
        ("body.a", {"a": 0}, "body.a", {"body.a": 0}),
        ("false", {}, "false", {}),
        # and: the first that is false, in whatever nesting
        ("body.a and body.b and body.c", {"a": 1, "b": 0, "c": 0}, "body.b", {"body.b": 0}),
        ("body.a and (body.b and body.c)", {"a": 1, "b": 1, "c": None}, "body.c", {"body.c": None}),
        ("body.a and body.nope", {"a": ""}, "body.a", {"body.a": ""}),
        # or: all of it
        ("body.a or body.b", {"a": 0, "b": []}, "body.a or body.b", {"body.a": 0, "body.b": "[]"}),
        (
            "body.a == 1 and (body.b == 1 or body.c > 2)",
            {"a": 1, "b": 2, "c": 2},
            "body.b == 1 or body.c > 2",
            {"body.b": 2, "body.c": 2},
        ),
        ("(body.a or body.b) and body.c", {"a": 1, "b": 0, "c": 0}, "body.c", {"body.c": 0}),
        ("(body.a and body.b) or body.c", {"a": 1, "b": 0, "c": 0}, None, {"body.a": 1, "body.b": 0, "body.c": 0}),
        # not: looked through where one side alone made it false
        ("not body.a", {"a": 1}, "not body.a", {"body.a": 1}),
        ("not not body.a", {"a": 0}, "body.a", {"body.a": 0}),
        ("not (body.a or body.b)", {"a": 0, "b": 1}, "not body.b", {"body.b": 1}),
        ("not (body.a or body.b or body.c)", {"a": 0, "b": 1, "c": 1}, "not body.b", {"body.b": 1}),
        ("not (body.a and body.b)", {"a": 1, "b": 2}, None, {"body.a": 1, "body.b": 2}),
        ("body.a and not (body.b or not body.c)", {"a": 1, "b": 0, "c": 0}, "body.c", {"body.c": 0}),
        # comparisons and `in`
        ("1 < body.a < 3", {"a": 3}, "1 < body.a < 3", {"body.a": 3}),
        ("body.a == body.b.c", {"a": 1, "b": {"c": 1.5}}, "body.a == body.b.c", {"body.a": 1, "body.b.c": 1.5}),
        ("body.a in ['x', 'y']", {"a": "z"}, "body.a in ['x', 'y']", {"body.a": "z"}),
        ("body.a not in ('x', 'y')", {"a": "x"}, "body.a not in ('x', 'y')", {"body.a": "x"}),
        ("'vip' in body.tags", {"tags": ["new", "nordic"]}, "'vip' in body.tags", {"body.tags": '["new","nordic"]'}),
        ("body['a b'][0] == 1", {"a b": [2]}, "body['a b'][0] == 1", {"body['a b'][0]": 2}),
        ("body[body.k] == 1", {"k": "x", "x": 2}, "body[body.k] == 1", {"body[body.k]": 2}),
        # tests and filters
        ("body.sku is match('CRM-.*')", {"sku": "X-1"}, "body.sku is match('CRM-.*')", {"body.sku": "X-1"}),
        ("body.note is not none", {"note": None}, "body.note is not none", {"body.note": None}),
        ("body.a is not defined", {"a": 5}, "body.a is not defined", {"body.a": 5}),
        ("body.total | float > 0", {"total": "-4.20"}, "body.total | float > 0", {"body.total": "-4.20"}),
        ("body.a | lower == body.b", {"a": "A", "b": "b"}, "body.a | lower == body.b", {"body.a": "A", "body.b": "b"}),
        (
            "body.a == 1 if body.b else body.c",
            {"a": 1, "b": 0, "c": ""},
            None,
            {"body.a": 1, "body.b": 0, "body.c": ""},
        ),
        # what is missing has no value
        ("body.a is defined", {}, "body.a is defined", {}),
        ("body.a.b | default('') == 'x'", {}, None, {}),
        ("body.a | default(body.b) == 'x'", {"b": "y"}, None, {"body.b": "y"}),
        ("body.a | default(true) and body.b == 1", {"b": 2}, "body.b == 1", {"body.b": 2}),
        ("body.a | default('') == 'x' and body.b == 1", {"b": 1}, "body.a | default('') == 'x'", {}),
        ("not (body.a | default(0) or body.b)", {"b": 1}, "not body.b", {"body.b": 1}),
        ("body.a is not defined and body.b is defined", {"c": 1}, "body.b is defined", {}),
    ],
)
def test_a_false_condition_names_its_first_false_clause_and_what_it_looked_at(
    when: str, body: Any, clause: str | None, looked_at: dict[str, Any]
) -> None:
    found, found_values = told(when, body)
    expected = clause or when.replace("(body.a and body.b) or", "body.a and body.b or")
    assert (found, found_values) == (expected, looked_at)


def test_values_keep_their_types() -> None:
    clause = "body.a == 1 or body.b == 1 or body.c == 1 or body.d == 1"
    _, found = told(clause, {"a": "1", "b": None, "c": False, "d": 2**70})
    assert found == {"body.a": "1", "body.b": None, "body.c": False, "body.d": 2**70}
    assert found["body.c"] is False


def test_headers_query_source_and_webhook_are_looked_at_too() -> None:
    clause, found = told(
        "headers['x-topic'] == query.t or source == 'x' or webhook.method == 'PUT'",
        {},
        headers={"x-topic": "paid"},
        query="t=placed",
    )
    assert clause == "headers['x-topic'] == query.t or source == 'x' or webhook.method == 'PUT'"
    assert found == {"headers['x-topic']": "paid", "query.t": "placed", "source": "shop", "webhook.method": "POST"}


def test_what_is_shown_of_a_webhook_is_bounded() -> None:
    body = {"a": "x" * 1_000_000, "b": list(range(100_000)), "c": 10**4000, "d": {"k" * 5_000: "v"}}
    _, found = told("body.a == 1 or body.b == 1 or body.c == 1 or body.d == 1 or 1 in body", body)
    assert list(found) == ["body.a", "body.b", "body.c", "body.d", "body"]
    assert all(isinstance(value, str) and len(value) == 100 and value[-1] == "…" for value in found.values())
    assert found["body.a"] == "x" * 99 + "…"
    assert found["body.b"].startswith("[0,1,2,")


def test_what_is_shown_of_a_rule_is_bounded() -> None:
    many = " or ".join(f"body.{'k' * 90}{number} | default(0)" for number in range(30))
    clause, found = told(many, {f"{'k' * 90}{number}": 0 for number in range(30)})
    assert clause is not None
    assert len(clause) == 300
    assert len(found) <= 8
    assert all(len(name) <= 80 for name in found)
    _, found = told(" or ".join(f"body.k{number}" for number in range(20)), {f"k{n}": 0 for n in range(20)})
    assert list(found) == [f"body.k{number}" for number in range(8)]


# Which rules are explained


def test_a_mapped_webhooks_other_rules_are_explained_only_where_asked() -> None:
    two = rules("name: yes, event: {type: T}", "name: no, when: body.x == 2, event: {type: T}")
    untold = two.map(WEBHOOK, {"x": 1})
    assert untold.why[1] == Why(rule="no", matched=False)
    assert two.map(WEBHOOK, {"x": 1}, explain=True).why == (
        untold.why[0],
        Why(rule="no", matched=False, clause="body.x == 2", values={"body.x": 1}),
    )


def test_of_a_failed_webhook_the_rules_that_did_not_match_are_explained() -> None:
    made = rules(
        "name: yes, event: {type: T}",
        "name: broken, when: body.y == 1 and body.x == 2, event: {type: T}",
        "name: no, when: body.x == 2, event: {type: T}",
    ).map(WEBHOOK, {"x": 1})
    assert why(made, "yes").clause is None
    assert (why(made, "broken").clause, why(made, "broken").values) == (None, None)
    assert (why(made, "broken").error or "").startswith("when: `body.y` is missing")
    assert why(made, "no").clause == "body.x == 2"


@pytest.mark.parametrize("explain", [False, True])
def test_a_rule_that_matched_has_no_clause(explain: bool) -> None:
    made = rules(
        "name: a, when: body.x == 1, event: {type: T}",
        "name: b, for_each: body.l, when: item, event: {type: T}",
        "name: c, when: body.x == 1, event: {type: T, attributes: {n: '{{ body.nope }}'}}",
        "name: d, when: body.x == 1, target: '{{ body.none }}', event: {type: T}",
    ).map(WEBHOOK, {"x": 1, "l": [0, 1], "none": []}, explain=explain)
    assert [(why.matched, why.clause, why.values) for why in made.why] == [(True, None, None)] * 4
    assert [bool(why.error) for why in made.why] == [False, False, True, False]


@pytest.mark.parametrize("explain", [False, True])
def test_after_a_stop_the_rules_say_who_stopped(explain: bool) -> None:
    made = rules(
        "name: first, stop: true, event: {type: T}",
        "name: b, when: body.nope, event: {type: T}",
        "name: c, for_each: body.nope, event: {type: T}",
    ).map(WEBHOOK, {}, explain=explain)
    assert made.state is WebhookState.MAPPED
    assert made.why[1:] == tuple(
        Why(rule=name, matched=False, clause="not tried: first matched and says stop") for name in ("b", "c")
    )


def test_a_for_each_of_nothing_says_so() -> None:
    made = rules("name: a, for_each: body.lines, when: item.x, event: {type: T}").map(WEBHOOK, {"lines": []})
    assert why(made) == Why(
        rule="a", matched=False, clause="for_each has no items: body.lines", values={"body.lines": "[]"}
    )
    made = rules("name: a, for_each: 'body.lines | default([])', event: {type: T}").map(WEBHOOK, {})
    assert (why(made).clause, why(made).values) == ("for_each has no items: body.lines | default([])", {})


def test_of_a_for_each_the_first_item_is_explained() -> None:
    made = rules("name: a, for_each: body, when: item.n > 5 and item.x, event: {type: T}").map(
        WEBHOOK, [{"n": 6, "x": 0}, {"n": 1}]
    )
    assert (why(made).clause, why(made).values) == ("item.x", {"item.x": 0})


@pytest.mark.parametrize(
    "fields",
    [
        "when: body.x.y",
        "for_each: body.x",
        "for_each: body.l, when: item.x.y",
        "for_each: body.l, key: item.x.y",
        "target: '{{ body.x.y }}'",
        "order_by: body.x.y",
    ],
)
def test_a_broken_rule_has_an_error_and_no_clause(fields: str) -> None:
    made = rules(f"name: a, event: {{type: T}}, {fields}").map(WEBHOOK, {"x": 1, "l": [{}]}, explain=True)
    assert why(made).error
    assert (why(made).clause, why(made).values) == (None, None)


def test_a_why_is_json_for_the_commands() -> None:
    made = rules("name: a, when: body.x == 2, event: {type: T}").map(WEBHOOK, {"x": {"y": 1}})
    assert json.loads(json.dumps(why(made).as_json())) == {
        "rule": "a",
        "matched": False,
        "clause": "body.x == 2",
        "values": {"body.x": '{"y":1}'},
        "error": None,
        "events": [],
    }


# Any condition

atoms = st.sampled_from(
    [
        *("body.a", "body.b.c", "body['d e']", "body.list[0]", "true", "false", "query.q", "source == 'shop'"),
        *("body.a == body.b", "body.a in [1, 'x', none]", "body.a in (true, 2)", "1 in body.list"),
        *("body.nope is defined", "body.a is none", "body.b is not defined", "body.nope.x | default(body.a)"),
        *(
            "body.a | default(1) == 1",
            "body.n > 1",
            "0 <= body.n < 3",
            "body.n | float(0) > 0.5",
            "body.list | length > 1",
        ),
        *(
            "body.a | string | upper == 'X'",
            "(body.a if body.b else body.n)",
            "body.text is match('x')",
            "body.a ~ 'y' == 'xy'",
        ),
    ]
)
conditions = st.recursive(
    atoms,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not {})".format, inner)
        | st.builds("({} == {})".format, inner, inner)
    ),
    max_leaves=6,
)
bodies = st.fixed_dictionaries(
    {
        "a": values,
        "list": st.lists(st.integers(0, 2) | st.booleans(), max_size=3),
        "n": st.integers(-1, 3),
        "text": st.text("xy", max_size=2),
    },
    optional={"b": values | st.fixed_dictionaries({"c": values}), "d e": values},
)


@settings(max_examples=300)
@given(conditions, bodies)
@example("(body.a and body.n > 1)", {"a": nested(100), "list": [], "n": 1, "text": ""})
def test_the_clause_of_any_false_condition_is_itself_false_and_its_values_are_the_webhooks(
    when: str, body: Any
) -> None:
    scope = {"body": body, "headers": {}, "query": {}, "source": "shop", "webhook": {}, "item": None}
    expression = compile_expression(when, NAMES)
    try:
        result = expression(scope)
    except Exception:
        assume(False)
    assume(not result)
    clause, looked_at = Explanation(expression, NAMES).first_false(scope)
    if len(clause) < 300:
        assert not compile_expression(clause, NAMES)(scope)
    for name, shown in looked_at.items():
        value = compile_expression(name, NAMES)(scope)
        text = jsontext.as_text(value)
        if len(text) > 100:
            assert shown == text[:99] + "…"
        else:
            assert repr(shown) == repr(text if isinstance(value, dict | list) else value)


@settings(max_examples=100)
@given(st.lists(conditions, min_size=1, max_size=3), values | bodies)
def test_explaining_never_raises_whatever_the_webhook(whens: list[str], body: Any) -> None:
    written = [f"name: r{number}, when: {json.dumps(when)}, event: {{type: T}}" for number, when in enumerate(whens)]
    made = rules(*written).map(WEBHOOK, body, explain=True)
    for found in made.why:
        assert (found.clause is None) == (found.matched or found.error is not None)


def test_a_key_that_is_computed_is_told_where_it_is_missing_and_not_in_the_error() -> None:
    rule = "name: a, event: {type: T, attributes: {level: \"{{ {'gold': 1, 'silver': 2}[body.plan] }}\"}}"
    told = why(rules(rule).map(WEBHOOK, {"plan": "bronze"}))
    assert told.values == {"body.plan": "bronze"}
    assert told.error is not None
    assert "bronze" not in told.error
    assert "`{'gold': 1, 'silver': 2}[body.plan]` is missing" in told.error


def test_of_many_items_the_keys_of_the_first_are_told_each_with_its_place() -> None:
    rule = "name: a, for_each: body.l, event: {type: T, attributes: {level: \"{{ {'gold': 1}[item] }}\"}}"
    told = why(rules(rule).map(WEBHOOK, {"l": ["gold", "x" * 200, "tin"]}))
    assert told.values == {"item 1: item": "x" * 99 + "…", "item 2: item": "tin"}


def test_a_key_that_the_rule_itself_spells_is_in_the_error_alone() -> None:
    assert why(rules("name: a, when: body.x == 1, event: {type: T}").map(WEBHOOK, {})).values is None
