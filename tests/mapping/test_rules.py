import dataclasses
import hashlib
import json
from time import process_time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.mapping.bounds import MAX_EVENTS, MAX_ITEMS, ROW
from bridge.model import Event, Mapped, OnUnknown, WebhookState
from bridge.receiving.content.body import MAX_DEPTH

from .support import DAY, TARGETS, WEBHOOK, nested, rules, values, why

T = "event: {type: T}"
LINES = "name: lines, for_each: body.lines, event: {type: T, attributes: {sku: '{{ item.sku }}'}}"


def mapped(rule: str, body: Any, **more: Any) -> Mapped:
    return rules(rule, **more).map(WEBHOOK, body)


def only(mapping: Mapped) -> Event:
    (event,) = mapping.events
    return event


def ids(mapping: Mapped) -> list[str]:
    return [event.id for event in mapping.events]


def error(mapping: Mapped) -> str:
    assert mapping.state is WebhookState.FAILED
    told = why(mapping).error
    assert told is not None
    return told


# Which rules fire


def test_all_matching_rules_fire_in_their_order() -> None:
    mapping = rules(
        "name: c, event: {type: C}",
        "name: a, when: body.x == 1, event: {type: A}",
        "name: no, when: body.x == 2, event: {type: No}",
        "name: b, when: body.x > 0, event: {type: B}",
    ).map(WEBHOOK, {"x": 1})
    assert [(event.rule, event.type) for event in mapping.events] == [("c", "C"), ("a", "A"), ("b", "B")]
    assert [(why.rule, why.matched) for why in mapping.why] == [("c", True), ("a", True), ("no", False), ("b", True)]
    assert [why.events for why in mapping.why if why.matched] == [(id_,) for id_ in ids(mapping)]
    assert mapping.state is WebhookState.MAPPED


def test_a_webhook_that_no_rule_matches_is_ignored() -> None:
    assert mapped("name: a, when: false, event: {type: T}", {}).state is WebhookState.IGNORED
    assert rules(source="dedupe: body.x").map(WEBHOOK, {}).state is WebhookState.IGNORED


def test_a_condition_is_true_as_in_python() -> None:
    for value, fires in [(0, 0), (0.0, 0), ("", 0), ([], 0), ({}, 0), (None, 0), (False, 0), ("false", 1), ([0], 1)]:
        assert len(mapped("name: a, when: body.x, event: {type: T}", {"x": value}).events) == fires


def test_a_broken_rule_fails_the_webhook_and_the_others_events_are_made() -> None:
    mapping = rules(
        "name: a, event: {type: A}",
        "name: broken, when: body.nope, event: {type: B}",
        "name: c, event: {type: C}",
    ).map(WEBHOOK, {})
    assert mapping.state is WebhookState.FAILED
    assert [event.type for event in mapping.events] == ["A", "C"]
    assert [bool(why.error) for why in mapping.why] == [False, True, False]
    assert not why(mapping, "broken").matched


def test_stop_ends_with_the_rule_that_matched() -> None:
    three = rules(
        "name: a, when: body.a, event: {type: A}, stop: true",
        "name: b, when: body.b, event: {type: B}, stop: true",
        "name: c, event: {type: C}",
    )
    mapping = three.map(WEBHOOK, {"a": False, "b": True})
    assert [event.type for event in mapping.events] == ["B"]
    assert mapping.state is WebhookState.MAPPED
    assert [why.clause for why in mapping.why] == [None, None, "not tried: b matched and says stop"]
    assert [event.type for event in three.map(WEBHOOK, {"a": 1, "b": 1}).events] == ["A"]
    assert [event.type for event in three.map(WEBHOOK, {"a": 0, "b": 0}).events] == ["C"]


def test_a_rule_that_matched_and_broke_stops_too_and_one_whose_condition_broke_does_not() -> None:
    matched = rules(
        "name: a, event: {type: A, attributes: {x: '{{ body.nope }}'}}, stop: true", "name: b, event: {type: B}"
    )
    assert ids(matched.map(WEBHOOK, {})) == []
    asked = rules("name: a, when: body.nope, event: {type: A}, stop: true", "name: b, event: {type: B}")
    assert len(asked.map(WEBHOOK, {}).events) == 1


def test_stop_of_a_for_each_needs_one_item_that_matches() -> None:
    two = rules("name: a, for_each: body.i, when: item > 1, event: {type: A}, stop: true", "name: b, event: {type: B}")
    assert [event.type for event in two.map(WEBHOOK, {"i": [1, 2, 3]}).events] == ["A", "A"]
    assert [event.type for event in two.map(WEBHOOK, {"i": [1]}).events] == ["B"]
    assert [event.type for event in two.map(WEBHOOK, {"i": []}).events] == ["B"]


# What a rule can see


def test_source_webhook_headers_and_body_are_in_scope() -> None:
    webhook = replace(WEBHOOK, method="PUT", headers={"x-topic": "paid"})
    made = rules(
        'name: a, event: {type: T, attributes: {a: "{{ source }}", b: "{{ webhook.id }}", c: "{{ webhook.method }}", '
        'd: "{{ webhook.received_at }}", e: "{{ headers[\'x-topic\'] }}", f: "{{ body }}"}}'
    ).map(webhook, [1])
    assert only(made).attributes == {
        "a": "shop",
        "b": WEBHOOK.id,
        "c": "PUT",
        "d": "2023-11-14T22:13:20.000Z",
        "e": "paid",
        "f": [1],
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("a=1&b=&c", {"a": "1", "b": "", "c": ""}),
        ("a=1&a=2", {"a": "2"}),
        ("a+b=%C3%A5+%26", {"a b": "å &"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("a=%FF%00%", {"a": "\ufffd\0%"}),
        ("=1&&", {"": "1"}),
    ],
)
def test_the_query_is_decoded_and_of_a_repeated_name_the_last_counts(query: str, expected: dict[str, str]) -> None:
    made = rules('name: a, target: erp, event: {type: T, attributes: {q: "{{ query }}"}}')
    assert only(made.map(replace(WEBHOOK, query=query), {})).attributes == {"q": expected}


def test_a_query_of_thousands_of_names_costs_nothing() -> None:
    started = process_time()
    query = "&".join(f"k{number}=%41" for number in range(5_000))
    made = rules('name: a, event: {type: T, attributes: {q: "{{ query.k4999 }}"}}')
    assert only(made.map(replace(WEBHOOK, query=query), {})).text == "q=A"
    assert process_time() - started < 1


def test_the_event_id_in_the_attributes_is_the_events() -> None:
    made = mapped('name: a, target: [crm, erp], event: {type: T, attributes: {id: "{{ event.id }}"}}', {})
    assert len(set(ids(made))) == 2
    assert [event.attributes["id"] for event in made.events] == ids(made)
    assert made.events[0].text == f"id={ids(made)[0]}"


# for_each


def test_for_each_makes_an_event_of_every_item_that_matches_in_order() -> None:
    made = mapped(
        "name: a, for_each: body.lines, when: item.n > 1, event: {type: T, attributes: {n: '{{ item.n }}'}}",
        {"lines": [{"n": 3}, {"n": 1}, {"n": 2}]},
    )
    assert [event.text for event in made.events] == ["n=3", "n=2"]
    assert why(made).events == tuple(ids(made))


def test_for_each_of_nothing_is_no_match() -> None:
    made = mapped(LINES, {"lines": []})
    assert (made.state, made.events, why(made).matched) == (WebhookState.IGNORED, (), False)


@pytest.mark.parametrize(
    ("value", "kind"),
    [({"a": 1}, "an object"), ("abc", "text"), (3, "a number"), (None, "null"), (True, "true or false")],
)
def test_for_each_of_no_list_fails(value: Any, kind: str) -> None:
    made = mapped(LINES, {"lines": value})
    assert error(made) == f"for_each: `body.lines` gives {kind}, and must give a list"
    assert made.events == ()


def test_for_each_has_a_limit() -> None:
    assert len(mapped("name: a, for_each: body, event: {type: T}", list(range(MAX_ITEMS))).events) == MAX_ITEMS
    made = mapped("name: a, for_each: body, event: {type: T}", list(range(MAX_ITEMS + 1)))
    assert error(made) == "for_each: `body` gives 10,001 items, at most 10,000 are allowed"
    assert made.events == ()
    assert made.bounded


def test_a_broken_item_does_not_stop_the_others() -> None:
    made = mapped(LINES, {"lines": [{"sku": "a"}, {"skus": "b"}, 7, {"sku": "c;d"}, {"sku": "e"}]})
    assert [event.text for event in made.events] == ["sku=a", "sku=e"]
    assert why(made).matched
    assert error(made).split("; item ") == [
        (
            "item 1: attributes.sku: `item.sku` is missing: `item` has no such key in `{{ item.sku }}`, "
            "the nearest key is `skus`; `| default(...)` gives a value where it may be"
        ),
        (
            "2: attributes.sku: `item.sku` is missing: `item` is a number, which has no keys in `{{ item.sku }}`, "
            "`| default(...)` gives a value where it may be"
        ),
        (
            "3: attributes.sku: the value holds a `;`, which separates pairs, "
            "set attributes_escape: percent or replace on the target, or attributes_format: json"
        ),
    ]


def test_of_many_broken_items_three_are_told_and_the_others_counted() -> None:
    made = mapped(LINES, {"lines": [{} for _ in range(MAX_ITEMS)]})
    assert error(made).endswith("; and 9,997 more")
    assert error(made).count("attributes.sku") == 3


def test_many_broken_items_do_not_hold_up_the_next_webhook() -> None:
    started = process_time()
    line = {f"skus{number}": 1 for number in range(20)}
    mapped(LINES, {"lines": [line] * 5_000})
    wrong = {"t": [f"crm{number}" for number in range(100)]}
    mapped("name: a, for_each: body, target: '{{ item.t }}', event: {type: T}", [wrong] * 300)
    mapped("name: a, target: '{{ body.t }}', event: {type: T}", {"t": "crm-" * 200_000})
    assert process_time() - started < 3  # a nearest name for each would take half a minute


NOTES = "name: a, for_each: body.lines, event: {type: T, attributes: {line: '{{ item }}', note: '{{ body.note }}'}}"


def test_the_events_of_one_webhook_have_a_size_in_all() -> None:
    made = mapped(NOTES, {"lines": [f"{number:06}" for number in range(10_000)], "note": "x" * 6_000})
    assert error(made) == (
        "the events take over 16,777,216 bytes of the store, "
        "send less of the webhook, or raise the source's max_events_size"
    )
    assert (made.state, made.events, made.bounded) == (WebhookState.FAILED, (), True)
    assert made.error == f"no event is made: a: {error(made)}"


def test_the_events_of_one_webhook_have_a_number_in_all() -> None:
    twice = "name: a, for_each: body, target: [crm, erp], event: {type: T}"
    assert len(mapped(twice, list(range(MAX_EVENTS // 2))).events) == MAX_EVENTS
    made = mapped(twice, list(range(MAX_EVENTS // 2 + 1)))
    assert error(made) == "the rules make over 10,000 events, let fewer of them fire"
    assert made.bounded


@pytest.mark.parametrize("target", ["crm", "erp", "desk"])
@pytest.mark.parametrize("note", ["x" * 999, "æ" * 999, 7])
def test_the_size_of_events_counts_what_is_stored_of_them(target: str, note: str | int) -> None:
    rule = f"name: a, target: {target}, for_each: body.lines, headers: {{X-Line: 'abc'}}, event: {{type: T"
    attributes = "'{{ body.note }}'" if target == "desk" else "{line: '{{ item }}', note: '{{ body.note }}'}"
    of_one = rules(f"{rule}, attributes: {attributes}}}").map(WEBHOOK, {"lines": [1, 1], "note": note})
    stored = [event.text.encode() + event.rest + b'{"X-Line":"abc"}' for event in of_one.events]
    assert of_one.size == sum(map(len, stored)) + 2 * ROW
    assert not any(isinstance(note, str) and note in event.rest.decode() for event in of_one.events)


def test_a_source_bounds_the_size_of_its_events() -> None:
    webhook = {"lines": ["a", "b"], "note": ""}
    of_two = rules(NOTES)
    size = of_two.map(WEBHOOK, webhook).size
    assert dataclasses.replace(of_two, max_events_size=size).map(WEBHOOK, webhook).state is WebhookState.MAPPED
    assert dataclasses.replace(of_two, max_events_size=size - 1).map(WEBHOOK, webhook).bounded


def test_a_bound_fails_the_webhook_whatever_other_rules_made() -> None:
    made = rules(
        "name: first, event: {type: T}",
        "name: out, when: body.other == 1, event: {type: T}",
        "name: many, for_each: body.lines, event: {type: T}",
        "name: last, event: {type: T}",
    ).map(WEBHOOK, {"lines": list(range(MAX_ITEMS + 1)), "other": 2})
    assert (made.state, made.events, made.bounded) == (WebhookState.FAILED, (), True)
    assert [(one.rule, one.matched, one.events) for one in made.why] == [
        ("first", True, ()),
        ("out", False, ()),
        ("many", False, ()),
        ("last", False, ()),
    ]
    assert why(made, "out").clause == "body.other == 1"
    assert why(made, "last").clause == "not tried: many broke a bound of the whole webhook"


# What a broken rule says


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            "when: body.custommer.id == 1",
            (
                "when: `body.custommer` is missing: `body` has no such key in `body.custommer.id == 1`, "
                "the nearest key is `customer`; `| default(...)` gives a value where it may be"
            ),
        ),
        (
            "for_each: body.liness",
            (
                "for_each: `body.liness` is missing: `body` has no such key in `body.liness`, "
                "the nearest key is `lines`; `| default(...)` gives a value where it may be"
            ),
        ),
        (
            "for_each: body.lines, key: item.Id",
            (
                "item 0: key: `item.Id` is missing: `item` has no such key in `item.Id`, "
                "the nearest key is `id`; `| default(...)` gives a value where it may be"
            ),
        ),
        (
            "order_by: body.customer.zzzzz",
            (
                "order_by: `body.customer.zzzzz` is missing: `body.customer` has no such key in `body.customer.zzzzz`, "
                "`| default(...)` gives a value where it may be"
            ),
        ),
        (
            "target: '{{ body.customer.name }}'",
            (
                "target: `body.customer.name` is missing: `body.customer` has no such key in "
                "`{{ body.customer.name }}`, "
                "`| default(...)` gives a value where it may be"
            ),
        ),
        (
            "when: body.total > 5",
            (
                "when: `body.total > 5`: '>' not supported between instances of text and a number in "
                "`body.total > 5`, "
                "`| string`, `| int` or `| float` convert"
            ),
        ),
    ],
)
def test_a_broken_rule_names_field_expression_what_was_missing_and_the_nearest_key(fields: str, told: str) -> None:
    body = {"customer": {"id": 1}, "lines": [{"id": 1}], "total": "4.20"}
    assert error(mapped(f"name: a, {T}, {fields}", body)) == told


def test_a_broken_attribute_is_named_by_its_path() -> None:
    made = mapped("name: a, target: erp, event: {type: T, attributes: {a: {b: [1, '{{ body.x }}']}}}", {"y": {}})
    assert error(made).startswith("attributes.a.b[1]: `body.x` is missing: `body` has no such key in `{{ body.x }}`")
    assert why(made).matched


# Identity


def test_an_event_of_the_webhook_itself_has_one_identity_however_the_rule_changes() -> None:
    before = mapped("name: a, event: {type: T}", {"x": 1})
    after = mapped("name: a, when: body.x == 2, event: {type: U, attributes: {x: 1}}", {"x": 2})
    assert ids(before) == ids(after)
    assert only(before).item_key == only(after).item_key == ""


def test_ids_differ_by_webhook_rule_target_and_item() -> None:
    lines = {"lines": [{"id": 1}, {"id": 2}, {"id": 1}, {"id": "1#1"}, {"id": ""}, {"id": "1"}]}
    rule = "for_each: body.lines, key: item.id, target: [crm, erp], event: {type: T}"
    two = rules(f"name: a, {rule}", f"name: b, {rule}")
    other = replace(WEBHOOK, id="wh_018bcfe5-6800-7000-8000-000000000002")
    made = [*ids(two.map(WEBHOOK, lines)), *ids(two.map(other, lines))]
    assert len(set(made)) == len(made) == 2 * 2 * 2 * 6


def test_ids_sort_by_the_webhooks_time() -> None:
    later = replace(WEBHOOK, id="wh_018bcfe5-6801-7000-8000-000000000000")
    one = rules("name: a, event: {type: T}")
    assert ids(one.map(WEBHOOK, {})) < ids(one.map(later, {}))
    assert ids(one.map(WEBHOOK, {}))[0].startswith("ev_018bcfe5-6800-7")


def test_a_renamed_rule_keeps_its_events_with_was() -> None:
    body = {"lines": [{"sku": "a"}, {"sku": "a"}]}
    before = mapped(LINES, body)
    renamed = LINES.replace("name: lines", "name: each-line")
    assert ids(mapped(f"{renamed}, was: lines", body)) == ids(before)
    assert [event.rule for event in mapped(f"{renamed}, was: lines", body).events] == ["each-line"] * 2
    assert not set(ids(mapped(renamed, body))) & set(ids(before))


def test_without_a_key_an_item_is_known_by_its_content_wherever_it_stands() -> None:
    a, b, c = {"sku": "a"}, {"sku": "b"}, {"sku": "c"}
    first = mapped(LINES, {"lines": [a, b]})
    second = mapped(LINES, {"lines": [c, b, a]})
    assert ids(first) == [ids(second)[2], ids(second)[1]]
    changed = mapped(LINES, {"lines": [{"sku": "a", "n": 1}]})
    assert not set(ids(changed)) & set(ids(first))


def test_content_is_told_apart_by_type_too() -> None:
    made = mapped("name: a, for_each: body, event: {type: T}", [1, 1.0, "1", True, None, "", [], {}, [1], 2**70, 0.0])
    assert len({event.item_key for event in made.events}) == 11


def test_with_a_key_an_item_is_known_by_it_whatever_else_changes() -> None:
    keyed = f"{LINES}, key: item.id"
    first = mapped(keyed, {"lines": [{"id": 7, "sku": "a"}, {"id": 8, "sku": "b"}]})
    second = mapped(keyed, {"lines": [{"id": 8, "sku": "z"}, {"id": 7, "sku": "y"}]})
    assert ids(first) == ids(second)[::-1]
    assert [event.item_key for event in first.events] == ["7", "8"]


def test_items_that_are_alike_and_repeated_keys_get_their_occurrence() -> None:
    alike = mapped(LINES, {"lines": [{"sku": "a"}] * 3})
    assert len(set(ids(alike))) == 3
    keyed = mapped(f"{LINES}, key: item.id | default(none)", {"lines": [{"sku": "a"}, {"id": "k", "sku": "b"}] * 2})
    assert [event.item_key for event in keyed.events] == ["", "k", "#1", "k#1"]
    assert len(set(ids(keyed))) == 4


@pytest.mark.parametrize(
    "field",
    [
        "when: item.n > 0, event: {type: T}",
        "when: item.n | default(0) > 0, event: {type: T}",
        "target: '{{ item.to[item.n] }}', event: {type: T}",
        "target: '{{ item.to[item.n | default(1)] }}', event: {type: T}",
        "order_by: item.n, event: {type: T}",
        "event: {type: T, attributes: {n: '{{ item.n }}'}}",
    ],
)
def test_a_later_item_of_the_same_key_keeps_its_id_when_the_earlier_is_repaired(field: str) -> None:
    lines = [
        {"id": 1, "to": ["crm", "erp"]},
        {"id": 1, "n": 0, "to": ["crm", "erp"]},
        {"id": 1, "n": 1, "to": ["crm"] * 2},
    ]
    before = mapped(f"name: a, for_each: body, key: item.id, {field}", lines)
    repaired = mapped("name: a, for_each: body, key: item.id, target: crm, event: {type: T}", lines)
    assert len(set(ids(repaired))) == 3
    assert len(before.events) < 3 or before.events[0].target == "erp"
    assert before.events[-1].id == ids(repaired)[-1]


def test_an_item_without_a_key_fails_only_where_it_matches() -> None:
    rule = "name: a, for_each: body, key: item.id, when: item.ok, event: {type: T}"
    left_out = mapped(rule, [{"ok": False}, {"ok": True, "id": 5}])
    assert left_out.state is WebhookState.MAPPED
    assert only(left_out).item_key == "5"
    failed = mapped(rule, [{"ok": True}, {"ok": True, "id": 5}])
    assert error(failed).startswith("item 0: key: `item.id` is missing")
    assert ids(failed) == ids(left_out)


@pytest.mark.parametrize("key", ["k" * 256, "a\0b", "\0", "é" * 300])
def test_a_key_that_a_database_cannot_carry_becomes_its_hash(key: str) -> None:
    made = mapped("name: a, for_each: body, key: item, order_by: item, event: {type: T}", [key, key, key + "x", "ok"])
    item_keys = [event.item_key for event in made.events]
    assert all(len(found) <= 80 and "\0" not in found for found in item_keys)
    assert item_keys[0].startswith("sha256:")
    assert item_keys[1] == item_keys[0] + "#1"
    assert item_keys[3] == "ok"
    assert len(set(ids(made))) == 4
    assert made.events[0].order_key == made.events[1].order_key == item_keys[0] != made.events[2].order_key


def test_a_key_of_255_characters_stays_as_it_is() -> None:
    made = mapped("name: a, for_each: body, key: item, order_by: item, event: {type: T}", ["k" * 255])
    assert (only(made).item_key, only(made).order_key) == ("k" * 255, "k" * 255)


# Targets


def test_a_rule_of_two_targets_makes_two_events_in_their_formats() -> None:
    made = mapped("name: a, target: [erp, crm, erp], event: {type: T, attributes: {x: '{{ body.x }}'}}", {"x": 1})
    assert [(event.target, event.text) for event in made.events] == [("erp", '{"x":1}'), ("crm", "x=1")]


def test_one_of_two_targets_may_break_alone() -> None:
    made = mapped("name: a, target: [crm, erp], event: {type: T, attributes: {x: '{{ body.x }}'}}", {"x": "a=b"})
    assert [(event.target, event.text) for event in made.events] == [("erp", '{"x":"a=b"}')]
    assert error(made) == (
        "attributes.x: the value holds a `=`, which separates pairs, "
        "set attributes_escape: percent or replace on the target, or attributes_format: json"
    )


@pytest.mark.parametrize(
    ("target", "body", "expected"),
    [
        ("'{{ body.t }}'", {"t": "erp"}, ["erp"]),
        ("'{{ body.t }}'", {"t": ["erp", "crm", "erp"]}, ["erp", "crm"]),
        ("'{{ body.t }}'", {"t": []}, []),
        ("'e{{ body.t }}p'", {"t": "r"}, ["erp"]),
        ("[crm, '{{ body.t }}', erp]", {"t": ["old", "crm"]}, ["crm", "old", "erp"]),
        ("\"{{ 'erp' }}\"", {}, ["erp"]),
        ("\"{{ ['erp', 'crm'] }}\"", {}, ["erp", "crm"]),
    ],
)
def test_a_target_may_be_a_name_a_list_or_an_expression_for_either(target: str, body: Any, expected: list[str]) -> None:
    made = mapped(f"name: a, event: {{type: Run}}, target: {target}", body)
    assert [event.target for event in made.events] == expected
    assert why(made).error is None


def test_a_target_may_depend_on_the_item() -> None:
    made = mapped("name: a, for_each: body, target: '{{ item }}', event: {type: T}", ["crm", "erp", "nope"])
    assert [event.target for event in made.events] == ["crm", "erp"]
    assert error(made) == "item 2: target: there is no target `nope`, the targets are crm, desk, erp, old"


def test_an_unknown_target_fails_with_the_nearest_and_the_others_events_are_made() -> None:
    made = mapped("name: a, target: '{{ body }}', event: {type: T}", ["crmm", "erp", "x" * 1000])
    assert [event.target for event in made.events] == ["erp"]
    assert error(made) == (
        "target: there is no target `crmm`, did you mean `crm`?; "
        f"target: there is no target `{'x' * 100}`, the targets are crm, desk, erp, old"
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [(5, "a number"), (None, "null"), ({}, "an object"), (["crm", True], "true or false"), ([["crm"]], "a list")],
)
def test_a_target_that_is_no_name_fails(value: Any, kind: str) -> None:
    made = mapped("name: a, target: '{{ body.t }}', event: {type: T}", {"t": value})
    assert error(made) == f"target: gives {kind}, and must give names of targets in `{{{{ body.t }}}}`"
    assert made.events == ()


def test_a_rule_may_choose_100_targets() -> None:
    targets = {f"t{number}": TARGETS["crm"] for number in range(101)}
    one = rules("name: a, target: '{{ body }}', event: {type: T}", targets=targets, default_target=None)
    names = list(targets)
    assert len(one.map(WEBHOOK, names[:100]).events) == 100
    assert error(one.map(WEBHOOK, names)) == "target: gives 101 targets, at most 100 are allowed"


def test_a_type_that_a_chosen_target_does_not_know_fails_for_it_alone() -> None:
    made = mapped("name: a, target: '{{ body }}', event: {type: OrderPlaced}", ["old", "crm"])
    assert [event.target for event in made.events] == ["crm"]
    assert error(made) == "event.type: target old does not know event type `OrderPlaced`"


def test_attributes_that_a_chosen_target_cannot_take_fail_for_it_alone() -> None:
    made = mapped("name: a, target: '{{ body }}', event: {type: T, attributes: {x;y: 1}}", ["desk", "crm", "erp"])
    assert [(event.target, event.text) for event in made.events] == [("erp", '{"x;y":1}')]
    assert error(made) == (
        "attributes: an object cannot be sent as text, write one text, or set another attributes_format on the target; "
        "attributes.x;y: the name holds a `;`, which separates pairs, "
        "change it, or set attributes_format: json on the target"
    )


# What else an event carries


def test_a_shadow_rules_events_are_not_to_be_sent() -> None:
    made = rules("name: a, send: false, event: {type: T}", "name: b, event: {type: T}").map(WEBHOOK, {})
    assert [event.send for event in made.events] == [False, True]
    assert made.state is WebhookState.MAPPED


@pytest.mark.parametrize(
    ("rule", "source", "default", "expected"),
    [
        ("", "", "crm", ("crm", OnUnknown.RETRY, 2 * DAY)),
        ("", "", "erp", ("erp", OnUnknown.RETRY, 3 * DAY)),
        ("target: old", "", "crm", ("old", OnUnknown.RETRY, DAY)),
        ("", "defaults: {target: old, on_unknown: hold, max_age: 1h}", "crm", ("old", OnUnknown.HOLD, DAY // 24)),
        (
            "target: erp, on_unknown: retry, max_age: 2h",
            "defaults: {target: old, on_unknown: hold, max_age: 1h}",
            None,
            ("erp", OnUnknown.RETRY, DAY // 12),
        ),
        ("target: '{{ body.t }}'", "defaults: {target: old}", "crm", ("erp", OnUnknown.RETRY, 3 * DAY)),
        ("", "defaults: {target: '{{ body.t }}'}", "crm", ("erp", OnUnknown.RETRY, 3 * DAY)),
    ],
)
def test_the_rule_comes_before_the_sources_defaults_and_those_before_the_target(
    rule: str, source: str, default: str | None, expected: tuple[str, OnUnknown, int]
) -> None:
    made = mapped(f"name: a, event: {{type: Run}}, {rule}", {"t": "erp"}, source=source, default_target=default)
    assert (only(made).target, only(made).on_unknown, only(made).max_age) == expected


def test_a_list_of_default_targets_goes_for_each_rule() -> None:
    made = mapped("name: a, event: {type: T}", {}, source="defaults: {target: [erp, crm]}")
    assert [event.target for event in made.events] == ["erp", "crm"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (5, "5"),
        (2**70, str(2**70)),
        ("5", "5"),
        ("", ""),
        (False, "false"),
        ([1, "a"], '[1,"a"]'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_order_by_gives_the_order_key_as_text_and_null_none(value: Any, expected: str | None) -> None:
    assert only(mapped("name: a, order_by: body.x, event: {type: T}", {"x": value})).order_key == expected
    assert only(mapped("name: a, event: {type: T}", {"x": value})).order_key is None


# Dedupe


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("d-1", "d-1"),
        (17, "17"),
        (0, "0"),
        (None, None),
        ("", None),
        (False, "false"),
        ([1], "[1]"),
        ("k" * 255, "k" * 255),
    ],
)
def test_the_dedupe_key_is_the_expressions_value_as_text(value: Any, expected: str | None) -> None:
    assert rules(source="dedupe: body.id").map(WEBHOOK, {"id": value}).dedupe_key == expected


@pytest.mark.parametrize("body", [{}, [], None, "text", {"id": {}}])
def test_what_the_dedupe_expression_cannot_find_is_no_key_and_no_failure(body: Any) -> None:
    made = rules(source="dedupe: body.id.x").map(replace(WEBHOOK, delivery_id="theirs"), body)
    assert (made.dedupe_key, made.state) == (None, WebhookState.IGNORED)


@pytest.mark.parametrize("value", ["k" * 256, "a\0b"])
def test_a_dedupe_key_that_a_database_cannot_carry_becomes_its_hash(value: str) -> None:
    one = rules(source="dedupe: body.id")
    key = one.map(WEBHOOK, {"id": value}).dedupe_key
    assert key is not None
    assert key.startswith("sha256:")
    assert len(key) == 71
    assert key == one.map(WEBHOOK, {"id": value}).dedupe_key != one.map(WEBHOOK, {"id": value + "x"}).dedupe_key


def test_without_an_expression_the_senders_delivery_id_is_the_key() -> None:
    assert rules().map(replace(WEBHOOK, delivery_id="d-1"), {}).dedupe_key == "d-1"
    assert rules().map(WEBHOOK, {}).dedupe_key is None


def test_an_expression_comes_before_the_delivery_id_and_sees_headers_query_and_source() -> None:
    webhook = replace(WEBHOOK, delivery_id="d-1", headers={"x-id": "h"}, query="q=1")
    one = rules(source="dedupe: source ~ headers['x-id'] ~ query.q")
    assert one.map(webhook, {}).dedupe_key == "shoph1"


@pytest.mark.parametrize("written", ["sha256(body)", " sha256( body ) "])
def test_the_hash_of_the_body_is_that_of_its_bytes(written: str) -> None:
    one = rules(source=f"dedupe: '{written}'")
    bodies = (b'{"a":1}', b'{"a": 1}', b'{"a":1}\n', b"\xff")
    keys = [one.map(replace(WEBHOOK, body=body), {"a": 1}).dedupe_key for body in bodies]
    assert keys == [f"sha256:{hashlib.sha256(body).hexdigest()}" for body in bodies]


def test_a_broken_rule_leaves_the_dedupe_key() -> None:
    made = mapped("name: a, when: body.nope, event: {type: T}", {"id": 1}, source="dedupe: body.id")
    assert (made.state, made.dedupe_key) == (WebhookState.FAILED, "1")


def test_a_webhook_without_a_readable_body_has_a_state_a_reason_and_its_key() -> None:
    one = rules("name: a, event: {type: T}", source="dedupe: headers['x-id']")
    made = one.without_events(replace(WEBHOOK, headers={"x-id": "7"}), WebhookState.UNREADABLE, "no JSON")
    assert made == Mapped(state=WebhookState.UNREADABLE, error="no JSON", dedupe_key="7")
    one = rules("name: a, event: {type: T}", source="dedupe: body.id")
    assert one.without_events(WEBHOOK, WebhookState.FAILED, "x").dedupe_key is None
    webhook = replace(WEBHOOK, delivery_id="d-1")
    assert rules().without_events(webhook, WebhookState.UNREADABLE, "x").dedupe_key == "d-1"


# Any JSON


VARIED = rules(
    'name: keep, target: erp, event: {type: T, attributes: {x: "{{ body.x }}", b: "{{ body }}"}}',
    'name: pairs, event: {type: T, attributes: {x: "{{ body.x }}", mixed: "<{{ body.x }}|{{ body.y }}>"}}',
    'name: text, target: desk, event: {type: T, attributes: "{{ body.x }}"}',
    'name: whole, target: [crm, erp, desk], event: {type: T, attributes: "{{ body }}"}',
    "name: items, for_each: body.items, key: item.id, order_by: item, event: {type: T}",
    'name: each, for_each: body, target: "{{ item }}", when: item, event: {type: Run}',
    'name: keyed, for_each: "[body, body]", key: body, order_by: body.x, target: erp, event: {type: T}',
    'name: chosen, target: "{{ body.target | default(body) }}", event: {type: T, attributes: {k: "{{ body.keys }}"}}',
    'name: asked, when: "body.x > 1 and not (body.y == none or body.total | int < 0)", event: {type: T}',
    'name: quiet, when: "body.x | default(0) | float(0) > 1 or body is defined and body.y | default([]) in body.x | '
    'default([], true)", send: false, event: {type: T}',
    "name: sums, when: body.x + body.y > body.x * 2 - body.y // 3, event: {type: T}",
    'name: words, event: {type: T, attributes: "{{ body.x | upper | replace(body.y, body.x) | trim ~ body }}"}',
    "name: last, when: body.x, stop: true, event: {type: T}",
    "name: after, when: body.y is none, event: {type: T}",
    source="dedupe: body.id",
)
BODIES = values | st.fixed_dictionaries({"x": values}, optional={"y": values, "items": values, "id": values})


def same(left: Any, right: Any) -> bool:
    """Equal in value and type all the way down; -0.0 is not 0.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and repr(left) == repr(right)


@given(BODIES)
@example(nested(MAX_DEPTH))
@example({"x": nested(MAX_DEPTH - 1), "y": nested(MAX_DEPTH - 1), "items": [nested(MAX_DEPTH - 2)]})
@example({"x": {"": {"\0": None}}, "": 2**70, "items": ["\0", -0.0, {"id": "\0"}]})
def test_any_json_maps_without_an_exception_and_always_to_the_same(body: Any) -> None:
    before = json.dumps(body)
    made = VARIED.map(WEBHOOK, body)
    assert made == VARIED.map(WEBHOOK, body)
    assert [why.rule for why in made.why] == [rule.name for rule in VARIED.rules]
    assert (made.state is WebhookState.FAILED) == any(why.error for why in made.why)
    assert (made.state is WebhookState.IGNORED) == (not made.events and made.state is not WebhookState.FAILED)
    assert [id_ for why in made.why for id_ in why.events] == ids(made)
    assert len(set(ids(made))) == len(made.events)
    assert all(why.matched or not why.events for why in made.why)
    assert json.dumps(body) == before


@given(BODIES)
@example({"x": 0, "y": 1})
def test_explaining_changes_neither_events_nor_state(body: Any) -> None:
    told, untold = VARIED.map(WEBHOOK, body, explain=True), VARIED.map(WEBHOOK, body)
    assert (told.state, told.events, told.dedupe_key, told.error) == (
        untold.state,
        untold.events,
        untold.dedupe_key,
        untold.error,
    )
    assert [replace(why, clause=None, values=None) for why in told.why] == [
        replace(why, clause=None, values=None) for why in untold.why
    ]


KEPT = rules('name: a, target: erp, event: {type: T, attributes: {x: "{{ body.x }}"}}')


@given(values)
@example("1.10")
@example("None")
@example("true")
@example({"a": [None, {"b": None}], "": 2**63})
@example([2**64, 1e308, -0.0, 5e-324])
@example(nested(MAX_DEPTH - 1))
def test_a_lone_expression_keeps_value_text_and_type(value: Any) -> None:
    event = only(KEPT.map(WEBHOOK, {"x": value}))
    assert same(event.attributes, {"x": value})
    assert same(json.loads(event.text), {"x": value})


@pytest.mark.parametrize("text", ["1.10", "None", "true", "null", "007", "1e3", "[1]", " "])
def test_text_that_looks_like_something_else_stays_text_wherever_it_is_written(text: str) -> None:
    attributes = "a: '%', b: '{{ body.x }}', c: '{{ body.x }}{# #}'".replace("%", text)
    made = mapped(f"name: a, target: erp, event: {{type: T, attributes: {{{attributes}}}}}", {"x": text})
    assert only(made).attributes == {"a": text, "b": text, "c": text}


def written(value: Any) -> str:
    """A value inside text, as docs/expressions.md says it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


plain_floats = st.floats(-1e15, 1e15, allow_nan=False).filter(lambda number: "e" not in repr(number))
exact = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(2**70)
    | plain_floats
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5).filter(str.isprintable), inner, max_size=4)
    ),
    max_leaves=10,
)
"""JSON that has only one compact form: no float with an exponent."""


WRITTEN = rules(
    'name: text, target: desk, event: {type: T, attributes: "x: {{ body.x }}, {{ body.y }}{{ body.x }}."}',
    'name: pairs, event: {type: T, attributes: {x: "{{ body.x }}", n: 1, "y y": "{{ body.y }}"}}',
)


@given(exact, exact)
@example("a;b", None)
@example("a", "b=c")
@example(True, {"a": [1.5, "ä", None]})
def test_mixed_text_and_pairs_are_written_as_documented(x: Any, y: Any) -> None:
    made = WRITTEN.map(WEBHOOK, {"x": x, "y": y})
    texts = {event.rule: event.text for event in made.events}
    assert texts["text"] == f"x: {written(x)}, {written(y)}{written(x)}."
    broken = [
        (name, character) for name, value in (("x", x), ("y y", y)) for character in ";=" if character in written(value)
    ]
    if broken:
        name, character = broken[0]
        assert "pairs" not in texts
        told = why(made, "pairs").error
        assert told is not None
        assert told.startswith(
            f"attributes.{name}: the value holds a `{character}`, which separates pairs, set attributes"
        )
    else:
        assert texts["pairs"] == f"x={written(x)};n=1;y y={written(y)}"
        assert made.state is WebhookState.MAPPED
