"""A dry run: what today's rules make of a payload, without secret, sender, store or target."""

from typing import Any

import pytest

from bridge.operations.dry_run import as_json, dry_run
from bridge.receiving.verification.schemes import dropped_headers

from .support import Configuration

RULES = """
verify: {scheme: github, secrets: ["${UNSET}"]}
rules:
  - name: opened
    when: body.action == 'opened' and headers['x-github-event'] == 'issues'
    event: {type: CreatedRequest, attributes: {number: "{{ body.number }}", from: "{{ source }}"}}
  - name: text
    target: erp
    send: false
    event: {type: AddedMessage, attributes: "{{ body.action }}"}
"""


@pytest.fixture
def rules(tmp_path: Any) -> Any:
    return Configuration(tmp_path, shop=RULES).source()[1]


def tried(rules: Any, body: bytes, **headers: str) -> dict[str, Any]:
    return as_json(dry_run("shop", rules, body, {name.replace("_", "-"): value for name, value in headers.items()}))


def test_it_tells_the_state_the_events_and_why_with_the_documented_fields(rules: Any) -> None:
    told = tried(rules, b'{"action": "opened", "number": 7}', X_GitHub_Event="issues")
    assert list(told) == ["state", "events", "error", "why"]
    assert (told["state"], told["error"]) == ("mapped", None)
    assert told["events"] == [
        {"rule": "opened", "target": "crm", "type": "CreatedRequest", "attributes": {"number": 7, "from": "shop"}},
        {"rule": "text", "target": "erp", "type": "AddedMessage", "attributes": "opened"},
    ]
    assert [set(why) for why in told["why"]] == [{"rule", "matched", "clause", "values", "error", "events"}] * 2
    assert [(why["rule"], why["matched"], len(why["events"])) for why in told["why"]] == [
        ("opened", True, 1),
        ("text", True, 1),
    ]


def test_a_rule_that_did_not_match_tells_its_first_false_clause_also_where_others_did(rules: Any) -> None:
    first, _ = tried(rules, b'{"action": "closed"}', X_GitHub_Event="issues")["why"]
    assert (first["matched"], first["clause"], first["values"]) == (
        *(False, "body.action == 'opened'"),
        {"body.action": "closed"},
    )
    first, _ = tried(rules, b'{"action": "opened"}', X_GitHub_Event="ping")["why"]
    assert (first["clause"], first["values"]) == (
        "headers['x-github-event'] == 'issues'",
        {"headers['x-github-event']": "ping"},
    )


def test_a_rule_that_breaks_and_a_body_that_cannot_be_read_are_told(rules: Any) -> None:
    told = tried(rules, b'{"action": "opened"}', X_GitHub_Event="issues")
    assert told["state"] == "failed"
    assert "body.number" in told["why"][0]["error"]
    told = tried(rules, b"{")
    assert (told["state"], told["events"], told["why"]) == ("unreadable", [], [])
    assert told["error"].startswith("the body is not JSON")


def test_any_headers_are_taken(rules: Any) -> None:
    assert tried(rules, b'{"action": "x"}', X_GitHub_Event="ü\u20ac😀")["state"] == "mapped"


def test_no_rule_sees_the_headers_that_the_scheme_takes_out(tmp_path: Any) -> None:
    text = RULES.replace("{{ body.action }}", "{{ headers | join(' ') }}")
    source, made = Configuration(tmp_path, shop=text).source()
    dropped = dropped_headers(source.section.value["verify"])
    headers = {"X-Hub-Signature-256": "sha256=0", "X-Other": "o"}
    told = as_json(dry_run("shop", made, b"{}", headers, dropped=dropped))
    assert [event["attributes"] for event in told["events"]] == ["x-other"]
