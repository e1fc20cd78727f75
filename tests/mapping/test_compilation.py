from pathlib import Path

import pytest
from msgspec.structs import replace

from bridge.errors import Problem
from bridge.mapping.compilation import UNKNOWN_TARGET, compile_rules
from bridge.model import WebhookState
from bridge.settings.configuration import Source
from bridge.settings.document import Document, Section
from bridge.settings.loading import load
from mapping.support import TARGETS, WEBHOOK, compiled, rules

NAMES = "there are: body, headers, query, source, webhook"
NO_ITEM = "`item` does not exist here, it is an entry of the list that for_each gives"
NO_WEBHOOK = "`webhook` does not exist here, there is one only in rules"
NO_EVENT = "`event` does not exist here, there is one only in event.attributes"
OBJECT_AS_TEXT = (
    "rules[0].event.attributes: an object cannot be sent where the target's attributes_format is text, "
    "write one text, or set attributes_format: pairs or json on the target"
)
NEVER_A_PAIR = (
    "its text always holds ; or =, which separate pairs, "
    "set attributes_escape: percent or replace on the target, or attributes_format: json"
)
NAME_AS_PAIR = "a name with ; or = cannot be written as a pair, change it, or set attributes_format: json on the target"


def without_place(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" + (f", {problem.hint}" if problem.hint else "")


def problems(*written: str, source: str = "", default_target: str | None = "crm") -> list[str]:
    return [without_place(problem) for problem in compiled(*written, source=source, default_target=default_target)[1]]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("when: bdy.x == 1", f"rules[0].when: unknown name `bdy`, did you mean `body`? {NAMES}"),
        ("when: item.x == 1", f"rules[0].when: {NO_ITEM}"),
        ("when: event.id == 1", f"rules[0].when: {NO_EVENT}"),
        ("when: body.x ==", "rules[0].when: it ends too early"),
        ("when: body.x 1", "rules[0].when: unexpected number after `body.x`"),
        ("when: '{{ body.x }}'", "rules[0].when: braces around an expression, write it without `{{ }}` here"),
        ("when: 1 / 0 == 1", "rules[0].when: `1 / 0`: division by zero"),
        (
            "when: \"headers['X-Topic'] == 'a'\"",
            (
                "rules[0].when: `headers['X-Topic']` cannot exist, names of headers are lower-case, "
                "write `headers['x-topic']`"
            ),
        ),
        (
            "when: body.x is match('(')",
            "rules[0].when: `(` is no pattern: missing ): (, the syntax is RE2's",
        ),
        ("for_each: item.lines", f"rules[0].for_each: {NO_ITEM}"),
        (
            "for_each: body, key: items.id",
            (
                "rules[0].key: unknown name `items`, did you mean `item`? "
                "there are: body, headers, item, query, source, webhook"
            ),
        ),
        ("order_by: event.id", f"rules[0].order_by: {NO_EVENT}"),
        ("target: '{{ item.t }}'", f"rules[0].target: {NO_ITEM}"),
        ("target: '{{ body.t '", "rules[0].target: it ends too early, expected '}}'"),
        (
            "target: crmm",
            "rules[0].target: there is no target `crmm`, did you mean `crm`? the targets are crm, desk, erp, old",
        ),
        ("target: zzz", "rules[0].target: there is no target `zzz`, the targets are crm, desk, erp, old"),
        (
            "target: [crm, zzz, '{{ body.t }}']",
            "rules[0].target[1]: there is no target `zzz`, the targets are crm, desk, erp, old",
        ),
        ("target: [crm, '{{ bdy }}']", f"rules[0].target[1]: unknown name `bdy`, did you mean `body`? {NAMES}"),
        (
            "target: \"{{ ['crm', 'zzz'] }}\"",
            "rules[0].target: there is no target `zzz`, the targets are crm, desk, erp, old",
        ),
        ("target: '{{ 5 }}'", "rules[0].target: gives a number, and must give names of targets"),
        ("target: '{{ [[]] }}'", "rules[0].target: gives a list, and must give names of targets"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_with_its_path(fields: str, problem: str) -> None:
    assert problems(f"name: a, event: {{type: T}}, {fields}") == [problem]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            "target: old, event: {type: Clik}",
            [
                (
                    "rules[0].event.type: target old does not know event type `Clik`, "
                    "did you mean `Click`? the types are Click, Run"
                )
            ],
        ),
        (
            "target: [crm, old, '{{ body }}'], event: {type: OrderPlaced}",
            ["rules[0].event.type: target old does not know event type `OrderPlaced`, the types are Click, Run"],
        ),
        ("target: '{{ body.t }}', event: {type: Clik}", []),
        ("target: desk, event: {type: T, attributes: {a: 1}}", [OBJECT_AS_TEXT]),
        ("target: [crm, desk], event: {type: T, attributes: {a: 1}}", [OBJECT_AS_TEXT]),
        ("target: desk, event: {type: T, attributes: {}}", []),
        ("target: desk, event: {type: T, attributes: '{{ body }}'}", []),
        (
            "event: {type: T, attributes: {'a;b': 1, c: 2, 'd=': 3}}",
            [f"rules[0].event.attributes.a;b: {NAME_AS_PAIR}", f"rules[0].event.attributes.d=: {NAME_AS_PAIR}"],
        ),
        ("target: erp, event: {type: T, attributes: {'a;b': 1}}", []),
        ("target: erp, event: {type: T, attributes: {a: {'b;c': 1}}}", []),
        ("event: {type: T, attributes: {a: {'b;c': 1}}}", [f"rules[0].event.attributes.a: {NEVER_A_PAIR}"]),
        (
            "event: {type: T, attributes: '{{ item.x }}'}",
            [f"rules[0].event.attributes: {NO_ITEM}"],
        ),
        (
            "event: {type: T, attributes: {a: {b: [1, '{{ body.x | nope }}']}, c: '{% if body %}x{% endif %}'}}",
            [
                (
                    "rules[0].event.attributes.a.b[1]: unknown filter `nope`, "
                    "there are: as_list, default, float, int, join, length, lower, replace, string, trim, upper"
                ),
                (
                    "rules[0].event.attributes.c: `{% %}` statements are not available, "
                    "use `{{ a if condition else b }}`"
                ),
            ],
        ),
    ],
)
def test_what_is_wrong_with_an_event_is_told_with_its_path(fields: str, expected: list[str]) -> None:
    assert problems(f"name: a, {fields}") == expected


def test_a_rule_without_a_target_needs_one_from_somewhere() -> None:
    told = ["rules[0]: the rule names no target, add target, or default_target to bridge.yaml"]
    assert problems("name: a, event: {type: T}", default_target=None) == told
    assert problems("name: a, event: {type: T}, target: crm", default_target=None) == []
    assert problems("name: a, event: {type: T}", default_target="crm") == []
    assert problems("name: a, event: {type: T}", source="defaults: {target: crm}", default_target=None) == []


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("zzz", "defaults.target: there is no target `zzz`, the targets are crm, desk, erp, old"),
        ("[crm, zzz]", "defaults.target[1]: there is no target `zzz`, the targets are crm, desk, erp, old"),
        ("'{{ item.t }}'", f"defaults.target: {NO_ITEM}"),
    ],
)
def test_a_wrong_default_target_is_told_once_and_where_it_stands(target: str, problem: str) -> None:
    three = ("name: a, event: {type: T}", "name: b, event: {type: T}", "name: c, event: {type: T}, target: crm")
    assert problems(*three, source=f"defaults: {{target: {target}}}") == [problem]


def test_a_rule_with_its_own_target_does_not_care_for_a_wrong_default() -> None:
    assert problems("name: a, event: {type: T}, target: crm", source="defaults: {target: zzz}") == []


def test_dedupe_sees_the_request_only() -> None:
    assert problems(source="dedupe: webhook.id") == [f"dedupe: {NO_WEBHOOK}"]
    assert problems(source="dedupe: body.id ~ headers['x-id'] ~ query.q ~ source") == []


def test_all_problems_of_all_rules_are_told_at_once() -> None:
    assert problems(
        "name: a, when: nope, for_each: nope, key: nope, order_by: nope, target: nope, event: {type: T, attributes: "
        "{a: '{{ nope }}', 'b;': '{{ nope }}'}}",
        "name: b, target: [old, nope], event: {type: T, attributes: '{{ nope }}'}",
        source="dedupe: nope",
    ) == [
        "dedupe: unknown name `nope`, there are: body, headers, query, source",
        "rules[0].target: there is no target `nope`, the targets are crm, desk, erp, old",
        (
            "rules[0].event.attributes.a: unknown name `nope`, "
            "there are: body, event, headers, item, query, source, webhook"
        ),
        (
            "rules[0].event.attributes.b;: unknown name `nope`, "
            "there are: body, event, headers, item, query, source, webhook"
        ),
        "rules[0].when: unknown name `nope`, there are: body, headers, item, query, source, webhook",
        f"rules[0].for_each: unknown name `nope`, {NAMES}",
        "rules[0].key: unknown name `nope`, there are: body, headers, item, query, source, webhook",
        "rules[0].order_by: unknown name `nope`, there are: body, headers, item, query, source, webhook",
        "rules[1].target[1]: there is no target `nope`, the targets are crm, desk, erp, old",
        "rules[1].event.type: target old does not know event type `T`, the types are Click, Run",
        "rules[1].event.attributes: unknown name `nope`, there are: body, event, headers, query, source, webhook",
    ]


def test_a_problem_says_line_and_column() -> None:
    _, found = compiled("name: a, event: {type: T}", "name: b, target: [crm, zzz], event: {type: T}")
    assert [str(problem) for problem in found] == [
        "shop.yaml:5:29: rules[1].target[1]: there is no target `zzz`, the targets are crm, desk, erp, old"
    ]


def test_what_is_right_of_a_broken_source_is_still_checked_by_its_own_defaults() -> None:
    source = "nope: 1\ndefaults: {target: old, on_unknown: hold}\ndedupe: webhook.id"
    told = problems("name: a, event: {type: Clik}", "name: 7, event: []", source=source, default_target=None)
    assert told[-2:] == [
        f"dedupe: {NO_WEBHOOK}",
        (
            "rules[0].event.type: target old does not know event type `Clik`, "
            "did you mean `Click`? the types are Click, Run"
        ),
    ]


def test_where_the_defaults_are_wrong_no_rule_is_blamed_for_naming_no_target() -> None:
    (told,) = problems("name: a, event: {type: T}", source="defaults: {target: crm, nope: 1}", default_target=None)
    assert told.startswith("defaults.nope: unknown key `nope`")


def test_a_target_whose_settings_are_wrong_is_known_by_name_and_takes_anything() -> None:
    _, found = compiled(
        "name: a, target: broken, event: {type: Whatever, attributes: {'a;b': 1}}",
        targets={"broken": UNKNOWN_TARGET},
        default_target=None,
    )
    assert found == []


@pytest.mark.parametrize("data", [None, [], "text", {}, {"rules": None}, {"rules": "x", "dedupe": 5, "defaults": []}])
def test_a_file_of_any_shape_compiles_to_no_rules(data: object) -> None:
    section = Section(Document("shop.yaml", data))
    made, found = compile_rules(Source("shop", None, section), TARGETS, "crm")
    assert (made.rules, made.dedupe, found) == ((), None, [])
    assert made.map(WEBHOOK, {}).state is WebhookState.IGNORED


def test_constant_expressions_are_targets_like_names() -> None:
    one = rules("name: a, target: [\"{{ 'erp' }}\", \"{{ ['crm', 'erp'] }}\"], event: {type: T}")
    assert [event.target for event in one.map(WEBHOOK, {}).events] == ["erp", "crm"]


def test_rules_of_a_configuration_directory_compile_as_they_were_loaded(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(
        "targets: {erp: {url: https://erp.example.com/api, attributes_format: json, "
        "authorization: {scheme: bearer, token: t}}}\n"
    )
    (tmp_path / "sources" / "shop.yaml").write_text(
        "verify: {scheme: none}\n"
        "dedupe: headers['x-id']\n"
        "defaults: {max_age: 90m}\n"
        "rules:\n"
        "  - name: greeted\n"
        "    when: body.name is match('${NAME}')\n"
        "    event:\n"
        "      type: T\n"
        "      attributes: {hello: '{{ body.name }}'}\n"
    )
    settings, found = load(tmp_path, {"NAME": "A.*"})
    made, more = compile_rules(settings.sources["shop"], TARGETS, settings.default_target)
    assert found + more == []
    mapping = made.map(replace(WEBHOOK, headers={"x-id": "7"}), {"name": "Ada"})
    (event,) = mapping.events
    assert (event.target, event.text, event.max_age) == ("erp", '{"hello":"Ada"}', 5_400_000)
    assert mapping.dedupe_key == "7"
