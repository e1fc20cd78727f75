"""A dry run: what today's rules make of a payload, without secret, sender, store or target."""

import gzip
from typing import Any

import pytest

from bridge.operations.rules.dry_run import as_json, dry_run
from bridge.receiving.verification.schemes import credential_filter_of
from operations.support import Configuration

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
    headers = {"X-Hub-Signature-256": "sha256=0", "X-Auth-Token": "t", "X-Other": "o"}
    told = as_json(dry_run("shop", made, b"{}", headers, credentials=credential_filter_of(source)))
    assert [event["attributes"] for event in told["events"]] == ["x-other"]


@pytest.mark.parametrize(
    ("content", "payload", "content_type", "number"),
    [
        ("json", b'{"n": 1}', "application/json", 1),
        ("json", b"payload=%7B%22n%22%3A1%7D", "application/x-www-form-urlencoded", 1),
        ("json", '{"n": 1}'.encode("utf-16"), "application/json; charset=utf-16", 1),
        ("form", b"n=1", "", "1"),
        (
            "form",
            b'--b\r\ncontent-disposition: form-data; name="n"\r\n\r\n1\r\n--b--',
            "multipart/form-data; boundary=b",
            "1",
        ),
    ],
)
def test_a_payload_is_read_as_the_source_and_its_content_type_say(
    tmp_path: Any, content: str, payload: bytes, content_type: str, number: Any
) -> None:
    text = f"""
verify: {{scheme: none}}
content: {content}
rules:
  - name: read
    event: {{type: Run, attributes: {{n: "{{{{ body.n }}}}"}}}}
"""
    rules = Configuration(tmp_path, shop=text).source()[1]
    headers = {"Content_Type": content_type} if content_type else {}
    assert tried(rules, payload, **headers)["events"][0]["attributes"] == {"n": number}


def test_a_payload_of_another_content_is_unreadable_and_says_why(tmp_path: Any) -> None:
    rules = Configuration(tmp_path, shop="verify: {scheme: none}\ncontent: xml\nmax_body: 10\nrules: []\n").source()[1]
    told = tried(rules, b"{}")
    assert (told["state"], told["error"]) == ("unreadable", "the body is not XML: line 1, column 1")
    told = tried(rules, gzip.compress(b"<a>" + b"x" * 20 + b"</a>"), Content_Encoding="gzip")
    assert "larger than 10 bytes when it is decompressed" in told["error"]
