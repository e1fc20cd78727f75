"""`bridge test`: every difference in words, what no test covers, and new expectations that touch nothing else."""

import difflib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import BridgeError
from bridge.operations.rules import rule_tests
from bridge.operations.rules.rule_tests import TestResult
from operations.support import Configuration

RULES = """verify: {scheme: none}
rules:
  - name: order
    when: body.total > 0 and headers['x-topic'] == 'paid'
    event: {type: OrderPlaced, attributes: {total: "{{ body.total }}", name: "{{ body.name }}", id: "{{ event.id }}"}}
  - name: line
    for_each: body.lines
    target: erp
    event: {type: SaleSold, attributes: "{{ item }}"}
"""
PAID = {"total": 1.5, "name": "1.10", "lines": ["a", "b"]}
HEAD = """tests:
  - name: paid
    payload: ../payloads/paid.json
    headers: {X-Topic: paid}
    expect:
"""
RIGHT = """
      - {rule: order, type: OrderPlaced, target: crm, attributes: {total: 1.5, name: "1.10"}}
      - {rule: line, attributes: a}
      - {rule: line}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    configuration = Configuration(tmp_path)
    configuration.write_payload("paid.json", PAID)
    return configuration


def run(configuration: Configuration, tests: str, rules: str = RULES) -> list[TestResult]:
    configuration.write(rules + tests)
    return list(rule_tests.run(*configuration.source()))


def differences(configuration: Configuration, expect: str, **more: str) -> list[str]:
    (result,) = run(configuration, HEAD + expect, **more)
    return result.different


def test_what_is_as_expected_passes(configuration: Configuration) -> None:
    (result,) = run(configuration, HEAD + RIGHT)
    assert (result.different, result.source, result.name) == ([], "shop", "paid")
    assert result.place == f"{configuration.directory}/sources/shop.yaml:11:5"
    assert result.seconds > 0


def test_a_source_without_tests_has_no_results(configuration: Configuration) -> None:
    assert run(configuration, "") == []


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("type: OrderPlaced", "type: SaleSold", "event 1: type: expected SaleSold, got OrderPlaced"),
        ("target: crm", "target: erp", "event 1: target: expected erp, got crm"),
        ("total: 1.5", "total: 2", "event 1: attributes.total: expected 2, got 1.5"),
        ("total: 1.5", 'total: "1.5"', 'event 1: attributes.total: expected "1.5", got 1.5'),
        ('name: "1.10"', "name: 1.1", 'event 1: attributes.name: expected 1.1, got "1.10"'),
        ('name: "1.10"', "size: 3", "event 1: attributes.size: expected 3, there is none"),
        ("attributes: a", "attributes: c", 'event 2: attributes: expected "c", got "a"'),
        ("attributes: a", "attributes: {a: 1}", 'event 2: attributes: expected {"a":1}, got "a"'),
    ],
)
def test_each_difference_of_an_event_is_a_line(was: str, becomes: str, told: str, configuration: Configuration) -> None:
    assert was in RIGHT
    assert differences(configuration, RIGHT.replace(was, becomes)) == [told]


@pytest.mark.parametrize(
    ("expected", "made", "same"),
    [("1", "1", True), ("1", "true", False), ("1", '"1"', False), ("1", "1.0", False), ("null", "null", True)],
)
def test_values_are_the_same_as_in_json(expected: str, made: str, same: bool, configuration: Configuration) -> None:
    rules = f"verify: {{scheme: none}}\nrules:\n  - name: r\n    event: {{type: T, attributes: {{a: {made}}}}}\n"
    rules = rules.replace("type: T", "type: SaleSold")
    found = differences(configuration, f"      - {{rule: r, attributes: {{a: {expected}}}}}\n", rules=rules)
    assert (found == []) is same


def test_all_differences_are_told_at_once(configuration: Configuration) -> None:
    wrong = RIGHT.replace("type: OrderPlaced", "type: SaleSold").replace("total: 1.5", "total: 2")
    assert len(differences(configuration, wrong.replace("attributes: a", "attributes: c"))) == 3


def test_an_event_that_is_not_expected_is_shown(configuration: Configuration) -> None:
    less = RIGHT.replace("      - {rule: line}\n", "")
    assert differences(configuration, less) == ['event 3: not expected: rule line, type SaleSold, "b"']


def test_a_missing_event_comes_with_the_clause_that_was_false_and_the_others_are_still_compared(
    configuration: Configuration,
) -> None:
    configuration.write_payload("paid.json", PAID | {"total": -3})
    assert differences(configuration, RIGHT) == [
        'event 1: expected one by rule order, there is none; false was body.total > 0 with {"body.total":-3}'
    ]


def test_a_missing_event_whose_rule_matched_too_seldom_says_how_often(configuration: Configuration) -> None:
    assert differences(configuration, RIGHT + "      - {rule: line}\n") == [
        "event 4: expected one by rule line, there is none; it made 2 in all"
    ]


def test_a_missing_event_of_no_item_and_of_no_rule_say_so(configuration: Configuration) -> None:
    configuration.write_payload("paid.json", PAID | {"lines": []})
    first, second, third = differences(configuration, RIGHT + "      - {rule: ordre}\n")
    assert first.startswith("event 2: expected one by rule line, there is none; false was for_each has no items: ")
    assert second.startswith("event 3: ")
    assert third == "event 4: expected one by rule ordre, there is none; there is no rule ordre"


def test_a_broken_rule_is_told(configuration: Configuration) -> None:
    configuration.write_payload("paid.json", {"total": 1, "lines": []})
    told = differences(configuration, "      []\n")
    assert told[0].startswith("rule order broke: attributes.name: ")
    assert "body.name" in told[0]


def test_an_unreadable_payload_is_told(configuration: Configuration) -> None:
    configuration.write_payload("paid.json", b"[")
    told = differences(configuration, "      []\n")
    assert len(told) == 1
    assert told[0].startswith("the webhook is unreadable: the body is not JSON")


def test_a_payload_that_is_not_there_is_told_with_its_path(configuration: Configuration) -> None:
    (result,) = run(configuration, HEAD.replace("paid.json", "gone.json") + "      []\n")
    path = configuration.directory / "sources" / "../payloads/gone.json"
    assert result.different == [f"the payload {path} cannot be read: No such file or directory"]
    assert result.mapping is None


def test_headers_query_and_method_are_the_requests(configuration: Configuration) -> None:
    rules = """verify: {scheme: none}
rules:
  - name: r
    event: {type: SaleSold, attributes: "{{ headers['x-a'] }} {{ query.q }} {{ webhook.method }} {{ source }}"}
"""
    tests = """tests:
  - name: t
    payload: ../payloads/paid.json
    headers: {X-A: "ü"}
    query: {q: "a&b c"}
    method: PUT
    expect: [{rule: r, attributes: "ü a&b c PUT shop"}]
"""
    (result,) = run(configuration, tests, rules)
    assert result.different == []


def test_rules_that_made_no_event_in_any_test_are_uncovered(configuration: Configuration) -> None:
    for expect, uncovered in ((HEAD + RIGHT, []), (HEAD.replace("X-Topic", "X-Other") + RIGHT, ["order"])):
        results = run(configuration, expect)
        assert rule_tests.uncovered(configuration.source()[0], results) == uncovered
    assert rule_tests.uncovered(configuration.source()[0], []) == ["order", "line"]


# update


def updated(configuration: Configuration, text: str) -> tuple[int, str]:
    path = configuration.write(text)
    source, rules = configuration.source()
    count = rule_tests.update(source, list(rule_tests.run(source, rules)))
    return count, path.read_bytes().decode()


LAID_OUT = (
    "# The shop's rules\n"
    + RULES.replace("  - name: line\n", "\n  # one for each\n  - name: line   # and a remark\n")
    + """
tests:                        # they run in CI
  - name: 'paid'              # in single quotes
    payload: "../payloads/paid.json"
    headers: {X-Topic:   paid}
    expect:
      # what the order makes
      - {rule: order, attributes: {total: 99}}
      - {rule: line, target: crm}

  # the next one passes
  - {name: none, payload: ../payloads/none.json, expect: [ ]}
  - name: other topic
    payload: ../payloads/paid.json
    expect: []   # nothing
    headers: {X-Topic: other}
"""
)


def test_update_rewrites_the_expectations_that_differ_and_nothing_else(configuration: Configuration) -> None:
    configuration.write_payload("none.json", {"total": 0, "lines": []})
    count, text = updated(configuration, LAID_OUT)
    changed = [line for line in difflib.ndiff(LAID_OUT.splitlines(), text.splitlines()) if line[0] in "+-"]
    assert count == 2
    assert changed == [
        "-       - {rule: order, attributes: {total: 99}}",
        "+       - {rule: order, attributes: {total: 1.5}}",
        "-       - {rule: line, target: crm}",
        "+       - {rule: line, target: erp}",
        "+       - {rule: line, type: SaleSold, attributes: b}",
        "-     expect: []   # nothing",
        "+     expect: [{rule: line, type: SaleSold, attributes: a},",
        "+              {rule: line, type: SaleSold, attributes: b}]   # nothing",
    ]
    assert [result.different for result in rule_tests.run(*configuration.source())] == [[], [], []]
    assert updated(configuration, text) == (0, text)


def test_update_keeps_the_ends_of_lines(configuration: Configuration) -> None:
    text = (RULES + HEAD + RIGHT.replace("total: 1.5", "total: 7")).replace("\n", "\r\n")
    assert updated(configuration, text) == (1, text.replace("total: 7", "total: 1.5"))


@pytest.mark.parametrize("expect", ["", "      # none\n      - rule: order\n        type: X\n\n"])
def test_update_of_what_makes_nothing_any_more_is_an_empty_list(expect: str, configuration: Configuration) -> None:
    configuration.write_payload("paid.json", {"total": 0, "lines": []})
    last = HEAD.split("\n", 2)[2] + RIGHT
    count, _ = updated(configuration, RULES + HEAD + (expect or RIGHT) + "  - name: last\n" + last)
    assert count == 2
    assert [result.different for result in rule_tests.run(*configuration.source())] == [[], []]


def test_update_writes_no_ids_since_the_next_run_has_others(configuration: Configuration) -> None:
    count, text = updated(configuration, RULES + HEAD + "      []\n")
    assert count == 1
    assert "ev_" not in text
    assert '{rule: order, type: OrderPlaced, attributes: {total: 1.5, name: "1.10"}}' in text


def test_update_leaves_a_test_alone_that_shows_a_broken_rule(configuration: Configuration) -> None:
    configuration.write_payload("paid.json", {"total": 1, "lines": []})
    assert updated(configuration, RULES + HEAD + RIGHT) == (0, RULES + HEAD + RIGHT)


def test_update_leaves_expectations_alone_that_tests_share(configuration: Configuration) -> None:
    shared = RULES + HEAD.replace("expect:\n", "expect: &all [{rule: line}]\n")
    shared += "  - {name: again, payload: ../payloads/paid.json, expect: *all}\n"
    assert updated(configuration, shared) == (0, shared)


def test_update_writes_no_file_that_could_not_be_read(configuration: Configuration) -> None:
    configuration.write_payload("paid.json", PAID | {"lines": [{"\x1f": 1}]})
    rules = RULES.replace("crm", "erp").replace('"{{ item }}"', '{a: "{{ item }}"}')
    path = configuration.write(rules + HEAD + "      []\n")
    source, its_rules = configuration.source()
    with pytest.raises(BridgeError, match=r"left as it was: .*shop.yaml:.* has a key that cannot be printed"):
        rule_tests.update(source, list(rule_tests.run(source, its_rules)))
    assert path.read_text() == rules + HEAD + "      []\n"


def test_a_file_that_cannot_be_written_is_told(configuration: Configuration) -> None:
    path = configuration.write(RULES + HEAD + "      []\n")
    source, rules = configuration.source()
    results = list(rule_tests.run(source, rules))
    path.unlink()
    with pytest.raises(BridgeError, match=r"shop.yaml cannot be updated: No such file or directory$"):
        rule_tests.update(source, results)


texts = st.text(st.characters(exclude_categories=["Cs"]))
printable = texts.filter(str.isprintable)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(printable, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(value=json)
def test_whatever_a_rule_makes_is_expected_after_an_update(
    value: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    configuration = Configuration(tmp_path_factory.mktemp("any"))
    configuration.write_payload("paid.json", {"value": value})
    rules = "verify: {scheme: none}\nrules:\n  - name: r\n"
    rules += '    event: {type: SaleSold, attributes: {value: "{{ body.value }}"}}\n'
    rules = rules.replace("rules:\n", "defaults: {target: erp}\nrules:\n")
    configuration.write(rules + HEAD + "      []\n")
    source, its_rules = configuration.source()
    results = list(rule_tests.run(source, its_rules))
    if any(result.mapping and result.mapping.state != "mapped" for result in results):
        return  # a pair's value with ; or =, which breaks the rule
    assert rule_tests.update(source, results) == 1
    (again,) = rule_tests.run(*configuration.source())
    assert again.different == []
