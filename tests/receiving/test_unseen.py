"""`check` refuses a rule that reads what it can never see, and says how to keep it."""

from pathlib import Path

import pytest
from operations.support import Configuration

from bridge.errors import ConfigError, Severity

RULE = "rules: [{{name: all, {rule}, event: {{type: FormSubmitted, attributes: {{a: b}}}}}}]"
NAMED = "is dropped before a rule can see it, since its name looks like a secret's; where it is none, add"


def problems(tmp_path: Path, text: str, verify: str = "{scheme: none}") -> list[str]:
    try:
        Configuration(tmp_path, shop=f"verify: {verify}\n{text}\n").built()
    except ConfigError as error:
        errors = [problem for problem in error.problems if problem.severity is Severity.ERROR]
        return [f"{problem.path}: {problem.message}, {problem.hint}" for problem in errors]
    return []


def rule(written: str) -> str:
    return RULE.format(rule=written)


def test_a_rule_that_reads_a_dropped_parameter_is_refused_and_told_of_keep_query(tmp_path: Path) -> None:
    text = rule("when: \"query.key == 'PROJ-7'\"")
    assert problems(tmp_path / "1", text) == [f"rules[0].when: query['key'] {NAMED} keep_query: [key]"]
    assert problems(tmp_path / "2", f"keep_query: [key]\n{text}") == []


@pytest.mark.parametrize(
    "when",
    [
        "(query | default({})).key == 'PROJ-7'",
        "(query | default({}, true))['key'] == 'PROJ-7'",
        "(body.query | default(query)).key == 'PROJ-7'",
        "(body.query | default(default_value=query)).key == 'PROJ-7'",
        "((query or {}) | default({})).key == 'PROJ-7'",
        "(body and query).key == 'PROJ-7'",
        "(query if body.full else {}).key == 'PROJ-7'",
        "(body if body.full else query).key == 'PROJ-7'",
        "'key' in (query | default({}))",
        "'key' not in (query or {})",
    ],
)
def test_a_dropped_name_is_found_past_defaults_and_alternatives(tmp_path: Path, when: str) -> None:
    text = rule(f'when: "{when}"')
    assert problems(tmp_path / "1", text) == [f"rules[0].when: query['key'] {NAMED} keep_query: [key]"]
    assert problems(tmp_path / "2", f"keep_query: [key]\n{text}") == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (rule("when: \"headers['x-auth-token'] is defined\""), "rules[0].when"),
        (rule("when: \"'x-auth-token' in headers\""), "rules[0].when"),
        (rule("for_each: \"body[headers['x-auth-token']]\""), "rules[0].for_each"),
        (rule("for_each: body, key: \"headers['x-auth-token']\""), "rules[0].key"),
        (rule("order_by: \"headers['x-auth-token']\""), "rules[0].order_by"),
        (rule("target: \"{{ headers['x-auth-token'] }}\""), "rules[0].target"),
        ("dedupe: headers['x-auth-token']\nrules: []", "dedupe"),
        (
            rule("on_unknown: retry").replace("a: b", "deep: [{x: \"a {{ headers['x-auth-token'] }}\"}]"),
            "rules[0].event.attributes.deep[0].x",
        ),
        (
            "rules: [{name: a, headers: {X-Shop: \"{{ headers['x-auth-token'] }}\"}, event: {type: FormSubmitted}}]",
            "rules[0].headers.X-Shop",
        ),
        ("defaults: {target: \"{{ headers['x-auth-token'] }}\"}\nrules: []", "defaults.target"),
    ],
)
def test_every_expression_of_a_source_is_looked_at(tmp_path: Path, text: str, place: str) -> None:
    (found,) = problems(tmp_path / "1", text)
    assert found == f"{place}: headers['x-auth-token'] {NAMED} keep_headers: [x-auth-token]"
    assert problems(tmp_path / "2", f"keep_headers: [X-Auth-Token]\n{text}") == []


def test_what_the_scheme_proves_by_cannot_be_kept(tmp_path: Path) -> None:
    github = "{scheme: github, secrets: [a-secret-of-the-tests]}"
    kept = "keep_headers: [X-Hub-Signature-256, authorization, X-Mine-Token]\nrules: []"
    told = "is what the sender is proven by, or may be a user's credential, so nothing keeps it, take it out"
    assert problems(tmp_path / "1", kept, github) == [f"keep_headers[0]: {told}", f"keep_headers[1]: {told}"]
    (found,) = problems(tmp_path / "2", rule("when: headers.authorization == 'x'"), github)
    assert found.startswith(
        "rules[0].when: headers['authorization'] is dropped before a rule can see it, it is what the"
    )


def test_a_look_at_anything_else_is_no_problem(tmp_path: Path) -> None:
    when = "when: \"headers['x-event-key'] == 'push' and query.page == body.token and body['key'] is defined\""
    assert problems(tmp_path, rule(when)) == []


def test_what_only_decides_between_values_is_not_looked_into(tmp_path: Path) -> None:
    when = "when: \"(body if query else {}).key == 'x' and (query | length).key is defined\""
    assert problems(tmp_path, rule(when)) == []


def test_what_an_expression_hides_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHICH", "query.key")
    (found,) = problems(tmp_path, rule('when: "${WHICH} == 1"'))
    assert "something of query is dropped" in found
    assert "key" not in found.replace("keep_query", "")
