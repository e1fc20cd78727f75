"""Of an expression that holds a `${...}`, nothing is told: neither where it is wrong nor where it fails or is false."""

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.mapping.expressions.expression import HIDDEN
from bridge.model import WebhookState
from bridge.service import composition
from bridge.service.rules import build_rules

from .support import WEBHOOK

VALUE = "hush-hush"
BRIDGE = "targets: {crm: {url: https://crm.example.com/api, authorization: {scheme: bearer, token: t}}}\n"


@pytest.fixture(autouse=True)
def _set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", VALUE)
    monkeypatch.setenv("HUSH_NAME", VALUE.replace("-", "_"))


def configured(directory: Path, rule: str, more: str = "") -> Path:
    (directory / "sources").mkdir()
    (directory / "bridge.yaml").write_text(BRIDGE)
    text = f"verify: {{scheme: none}}\n{more}\nrules:\n  - name: a\n    {rule}\n"
    (directory / "sources" / "shop.yaml").write_text(text if "event:" in text else f"{text}    event: {{type: Run}}\n")
    return directory


@pytest.mark.parametrize(
    "rule",
    [
        "when: \"body.t == '${HUSH}' and\"",
        'when: "body.t == \'${HUSH}"',
        'when: "${HUSH_NAME}.t == 1"',
        'when: "body | ${HUSH_NAME}"',
        "when: \"'${HUSH}' < 1\"",
        "when: \"body.t is match('(${HUSH}')\"",
        'for_each: "body.${HUSH_NAME} x"',
        'target: "${HUSH}"',
        'target: ["crm", "${HUSH}"]',
        'target: "{{ ${HUSH_NAME} }}"',
        "target: \"{{ '${HUSH}' }}\"",
        'event: {type: Run, attributes: {a: "{{ ${HUSH_NAME} }}"}}',
        'event: {type: Run, attributes: {a: "{{ body.x ${HUSH_NAME} }}"}}',
    ],
)
def test_no_problem_of_the_configuration_tells_it(rule: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        composition.build(configured(tmp_path, rule))
    told = "\n".join(map(str, raised.value.problems))
    assert "sources/shop.yaml:" in told
    assert "hush" not in told.lower().replace("hush}", "")


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ("when: \"body.t == '${HUSH}'\"", WebhookState.IGNORED),
        ("when: \"body.t in ['a', '${HUSH}'] or body['${HUSH}'] is defined\"", WebhookState.IGNORED),
        ("when: \"body['${HUSH}'] == 1\"", WebhookState.FAILED),
        ("when: \"'${HUSH}' < body.n\"", WebhookState.FAILED),
        ("key: \"body['${HUSH}']\"\n    for_each: body.items", WebhookState.FAILED),
        ("for_each: \"body['${HUSH}']\"", WebhookState.FAILED),
        ("order_by: \"body['${HUSH}']\"", WebhookState.FAILED),
        ("target: \"{{ '${HUSH}' if body.n else 'crm' }}\"", WebhookState.FAILED),
        ("event: {type: Run, attributes: {a: \"{{ body['${HUSH}'] }}\"}}", WebhookState.FAILED),
        ("event: {type: Run, attributes: {a: \"b {{ '${HUSH}' < body.n }}\"}}", WebhookState.FAILED),
        ("event: {type: Run, attributes: {a: \"{{ '${HUSH}' | int }}{{ body.t }}\"}}", WebhookState.FAILED),
    ],
)
def test_no_why_and_no_failure_tells_it(rule: str, state: WebhookState, tmp_path: Path) -> None:
    ((_, rules),) = build_rules(configured(tmp_path, rule))
    for explain in (False, True):
        made = rules.map(WEBHOOK, {"t": "x", "n": 1, "items": [1]}, explain=explain)
        assert made.state is state
        assert VALUE not in f"{made.why} {made.error}"
        (why,) = made.why
        assert (why.clause, dict(why.values or {})) == (HIDDEN if state is WebhookState.IGNORED else None, {})


def test_it_still_decides(tmp_path: Path) -> None:
    ((_, rules),) = build_rules(configured(tmp_path, "when: \"body.t == '${HUSH}'\""))
    assert rules.map(WEBHOOK, {"t": VALUE}).state is WebhookState.MAPPED
