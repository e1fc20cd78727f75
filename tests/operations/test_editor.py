"""`bridge schema` in an editor: it completes, explains and flags while one types."""

import json
from collections.abc import Iterator

import pytest
from editor import Editor, editor

from bridge.operations.rules.json_schema import json_schema
from bridge.receiving.verification.schemes import SCHEMES
from bridge.superoffice.event_types import event_types
from bridge.superoffice.login.authorization import SCHEMES as LOG_INS

RULE = "verify: {scheme: none}\nrules:\n  - name: a\n"
TARGET = "targets:\n  crm:\n    url: http://127.0.0.1/api\n"


@pytest.fixture(scope="module")
def yaml(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    schema = tmp_path_factory.mktemp("editor") / "bridge.schema.json"
    schema.write_text(json.dumps(json_schema()))
    with editor(schema) as opened:
        yield opened


def test_every_scheme_is_offered(yaml: Editor) -> None:
    offered = yaml.completed("verify:\n  scheme: ^\nrules: []\n")
    assert sorted(offered) == sorted(SCHEMES)
    assert len(offered) >= 45
    assert sorted(yaml.completed(f"{TARGET}    authorization:\n      scheme: ^\n")) == sorted(LOG_INS)


def test_the_keys_of_the_scheme_that_was_chosen_are_offered(yaml: Editor) -> None:
    offered = yaml.completed("verify:\n  scheme: hmac\n  ^\nrules: []\n")
    assert {"secrets", "header", "encoding", "signed", "tolerance"} <= set(offered)
    assert "webhook_id" not in offered
    assert "webhook_id" in yaml.completed("verify:\n  scheme: paypal\n  ^\nrules: []\n")


def test_event_types_and_filters_are_offered(yaml: Editor) -> None:
    offered = yaml.completed(f"{RULE}    event:\n      type: ^\n")
    assert set(offered) == set(event_types("auto") or ())
    assert {"body.name | lower", "body.name is defined"} <= set(yaml.completed(f"{RULE}    when: ^\n"))


def test_a_key_says_its_meaning_and_its_default(yaml: Editor) -> None:
    assert "how long duplicates are recognised (default: 14d)" in yaml.hover(f"dedupe_win^dow: 3d\n{RULE}")
    assert "how long one attempt may take (default: 10s)" in yaml.hover(f"{TARGET}    time^out: 3s\n")
    assert "default, float, int, join" in yaml.hover(f"{RULE}    wh^en: true\n")
    assert "the user's name" in yaml.hover(f"{TARGET}    authorization: {{scheme: basic, user^name: x}}\n")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("verify: {scheme: githup, secrets: [s]}\nrules: []\n", 0, "Value is not accepted"),
        ("verify: {scheme: github}\nrules: []\n", 0, 'Missing property "secrets"'),
        ("verify: {scheme: github, secrets: []}\nrules: []\n", 0, "too few items"),
        ("verify: {scheme: none}\nrules: []\nenabled: 0\n", 2, "Incorrect type"),
        ("verify: {scheme: none}\nrules: []\ndedupe_window: 0d\n", 2, "does not match the pattern"),
        (f"{TARGET}    authorization: {{scheme: bearer, token: t}}\n    timeout: 10\n", 4, "Incorrect type"),
        (f"{TARGET}    authorization: {{scheme: bearer, token: t}}\n    timeot: 10s\n", 4, "timeot is not allowed"),
    ],
)
def test_what_is_wrong_is_flagged_where_it_stands(yaml: Editor, text: str, line: int, said: str) -> None:
    flagged = yaml.flagged(text)
    assert [(at, said in words) for at, words in flagged] == [(line, True)], flagged


def test_what_is_right_is_not_flagged(yaml: Editor) -> None:
    assert yaml.flagged(f"{RULE}    event: {{type: Run, attributes: {{a: 1}}}}\n") == []
    assert yaml.flagged(f"{TARGET}    authorization: {{scheme: basic, username: u, password: '${{P}}'}}\n") == []
