"""An update and a configuration as it was before: `check` names each line, and the changelog says what to write."""

from pathlib import Path

import pytest
from mapping.support import WEBHOOK, rules, why

from bridge.errors import ConfigError
from bridge.model import WebhookState
from bridge.service import composition

BEFORE = Path(__file__).parent / "update"
CHANGELOG = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()
SECTION = CHANGELOG.split("### Before you update\n")[1].split("\n### ")[0]


@pytest.fixture(scope="module")
def problems() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        composition.build(BEFORE)
    return [f"{one.location.line}: {one.path}: {one.message}, {one.hint}" for one in caught.value.problems]


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ('6: targets.crm.max_in_flight: must be a whole number, not "8", write it without', '`max_depth: "5"`'),
        ("2: enabled: must be true or false, not the number 1, write true", "`enabled: 0`"),
        ('3: max_depth: must be a whole number, not "50", write it without quotes', '`max_depth: "5"`'),
        ('7: rules[0].send: must be true or false, not "no", write false', '`send: "no"`'),
    ],
)
def test_check_names_what_has_another_form_now_and_the_changelog_does(
    found: str, named: str, problems: list[str]
) -> None:
    assert [problem for problem in problems if problem.startswith(found)], problems
    assert named in SECTION


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ("rules[0].when: query['code'] is dropped", "keep_query"),
        ("rules[1].when: headers['x-api-key'] is dropped", "keep_headers"),
        ("rules[0].event.attributes.link: its text always holds ; or =", "attributes_escape"),
        ("targets.crm.attributes_escape: text of webhooks is sent as pairs", "attributes_escape"),
        ("tests[0].payload: there is no file", "`payload:`"),
    ],
)
def test_check_names_what_means_something_else_now_and_the_changelog_does(
    found: str, named: str, tmp_path: Path
) -> None:
    """Once the forms are right: a section of another form is not compiled."""
    (tmp_path / "sources").mkdir()
    for name in ("bridge.yaml", "sources/shop.yaml"):
        text = (BEFORE / name).read_text()
        for was, becomes in ((': "8"', ": 8"), (": 1 #", ": true #"), (': "50"', ": 50"), (': "no"', ": false")):
            text = text.replace(was, becomes)
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        composition.build(tmp_path)
    told = [f"{one.path}: {one.message}, {one.hint}" for one in caught.value.problems]
    assert [problem for problem in told if problem.startswith(found)], told
    assert named in SECTION


def test_what_only_a_webhook_shows_is_as_the_changelog_says() -> None:
    looks = rules("name: a, event: {type: T, attributes: {version: 1.10, sku: 12E4}}").map(WEBHOOK, {})
    assert [event.text for event in looks.events] == ["version=1.10;sku=12E4"]
    assert "`version: 1.10` is sent as\n  `1.10`" in SECTION
    null = rules("name: a, event: {type: T, attributes: {email: '{{ body.email | lower }}'}}").map(
        WEBHOOK, {"email": None}
    )
    assert null.state is WebhookState.FAILED
    assert "needs text, not null" in str(why(null).error)
    assert "`body.email | lower`\n  sent `none`" in SECTION
    given = rules("name: a, event: {type: T, attributes: {email: \"{{ body.email | default('', true) | lower }}\"}}")
    assert [event.text for event in given.map(WEBHOOK, {"email": None}).events] == ["email="]
    assert "`body.email | default('', true) | lower`" in SECTION
