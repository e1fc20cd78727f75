"""What `check` warns of since a genuine request, sent again by somebody else, would count once more."""

from pathlib import Path

import pytest
from service.test_composition import write

from bridge.service import composition

BRIDGE = """\
default_target: crm
targets:
  crm: {url: "https://crm.example.com/api", authorization: {scheme: bearer, token: t}}
  erp: {url: "https://erp.example.com/api", authorization: {scheme: bearer, token: t}}
"""
SECRET = "a-secret-of-the-tests"


def warnings(directory: Path, text: str) -> list[tuple[str, str]]:
    """The warnings about a source, as path and message."""
    problems = composition.build(write(directory, bridge=BRIDGE, shop=text)).problems
    return [(problem.path, problem.message) for problem in problems]


def source(scheme: str, *rules: str, more: str = "") -> str:
    listed = "".join(f"  - {{name: r{number}, {rule}, event: {{type: Run}}}}\n" for number, rule in enumerate(rules))
    return f"verify: {{scheme: {scheme}, secrets: [{SECRET}]}}\n{more}rules:\n{listed}" + "  []\n" * (not rules)


@pytest.mark.parametrize(
    ("verify", "window", "place"),
    [
        (f"scheme: stripe, secrets: [{SECRET}], tolerance: 2h", "1h", "verify.tolerance"),
        (f"scheme: stripe, secrets: [{SECRET}], tolerance: 2h", "2h", None),
        (f"scheme: stripe, secrets: [{SECRET}], tolerance: 20d", "", "verify.tolerance"),
        (f"scheme: stripe, secrets: [{SECRET}]", "1m", "dedupe_window"),
        (f"scheme: stripe, secrets: [{SECRET}]", "5m", None),
        (f"scheme: hubspot, secrets: [{SECRET}]", "1m", "dedupe_window"),
        (f"scheme: mailgun, secrets: [{SECRET}]", "1h", "dedupe_window"),
        ('scheme: aws-sns, topic_arns: ["arn:aws:sns:eu-west-1:123456789012:orders"]', "1h", "dedupe_window"),
        ("scheme: paypal, webhook_id: x", "1d", "dedupe_window"),
        (f"scheme: github, secrets: [{SECRET}]", "1m", None),
        (f"scheme: basic, username: u, secrets: [{SECRET}]", "1m", None),
    ],
)
def test_a_time_that_is_good_for_longer_than_duplicates_are_known(
    verify: str, window: str, place: str | None, tmp_path: Path
) -> None:
    dedupe = f"dedupe_window: {window}\n" if window else ""
    text = f"verify: {{{verify}}}\npublic_url: https://hooks.example.com/webhooks/shop\n{dedupe}rules: []\n"
    found = warnings(tmp_path, text)
    assert [path for path, _ in found] == ([place] if place else [])


TOPIC = "when: \"headers['x-topic'] == 'paid'\""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (source("github", TOPIC), "rules[0].when"),
        (source("github", 'when: "headers.topic == 1"'), "rules[0].when"),
        (source("github", "when: body.a", "for_each: \"[headers['x-topic']]\""), "rules[1].for_each"),
        (source("github", "target: \"{{ headers['x-tenant'] }}\""), "rules[0].target"),
        (source("hmac, header: X-Sign", TOPIC), "rules[0].when"),
        (source('hmac, header: X-Sign, signed: ["header:X-Other", body]', TOPIC), "rules[0].when"),
        (source("github", TOPIC, more="dedupe: headers['x-id']\n"), "rules[0].when"),
        (source("twilio", TOPIC, more="public_url: https://x.example.com\n"), "rules[0].when"),
        # signed, or told as a duplicate whatever the header says
        (source('hmac, header: X-Sign, signed: ["header:X-Topic", body]', TOPIC), None),
        (source("github", TOPIC, more="dedupe: sha256(body)\n"), None),
        (source("github", TOPIC, more="dedupe: body.id\n"), None),
        (source("stripe", TOPIC), None),
        # who calls is all that is proven, and nobody gets hold of a request without its credential
        (source("token, header: X-Token", TOPIC), None),
        (source("github", TOPIC, more="enabled: false\n"), None),
        (source("github", "when: body.action == 'opened'"), None),
    ],
)
def test_rules_that_go_by_headers_that_are_not_signed(text: str, path: str | None, tmp_path: Path) -> None:
    assert [found for found, _ in warnings(tmp_path, text)] == ([path] if path else [])


def test_a_source_is_told_once_with_every_such_header(tmp_path: Path) -> None:
    ((path, message),) = warnings(tmp_path, source("github", "when: body.a", TOPIC, "when: headers.other", TOPIC))
    assert path == "rules[1].when"
    assert "other, x-topic (and in 2 other places)" in message
