"""The work that is measured: a real GitHub push, signed, for a rule with a condition and five attributes."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

SECRET = "the bench's secret"
PATH = "/webhooks/github"
_EXAMPLES = Path(__file__).parent.parent / "corpus/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
_RULE = """\
  - name: {name}
    when: headers['x-github-event'] == '{event}' and not body.deleted
    event:
      type: SaleSold
      attributes:
        repository: "{{{{ body.repository.full_name }}}}"
        ref: "{{{{ body.ref }}}}"
        pusher: "{{{{ body.pusher.name }}}}"
        commit: "{{{{ body.head_commit.id }}}} by {{{{ body.head_commit.author.name }}}}"
        bridge_id: "{{{{ event.id }}}}"
"""


def push() -> bytes:
    """A push of 7 to 10 KB, as GitHub documents it."""
    examples = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    pushes = [payload for event in examples if event["name"] == "push" for payload in event["examples"]]
    bodies = [json.dumps(payload).encode() for payload in pushes if payload["commits"]]
    return next(body for body in bodies if 7_000 <= len(body) <= 10_000)


def list_of(items: int) -> bytes:
    """A body with a list, for a rule that makes an event of every item."""
    return json.dumps({"items": [{"id": number, "name": f"item {number}"} for number in range(items)]}).encode()


def headers(body: bytes, event: str = "push") -> dict[str, str]:
    """What GitHub sends along, but for the delivery id, which each request has its own."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "292430182",
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }


def source(rules: int = 1) -> str:
    """`sources/github.yaml`: the last of its rules matches a push, those before it do not."""
    written = [_RULE.format(name=f"other-{number}", event=f"other-{number}") for number in range(rules - 1)]
    return (
        'verify: {scheme: github, secrets: ["${SECRET}"]}\nrules:\n'
        + "".join(written)
        + _RULE.format(name="push", event="push")
    )


def source_with_tests(rules: int) -> str:
    """`sources/github.yaml` with a test for each of its rules."""
    written = [_RULE.format(name=f"rule-{number}", event=f"event-{number}") for number in range(rules)]
    tests = [
        f"  - {{name: test-{number}, payload: ../push.json, headers: {{X-GitHub-Event: event-{number}}}, "
        f"expect: [{{rule: rule-{number}}}]}}\n"
        for number in range(rules)
    ]
    start = 'verify: {scheme: github, secrets: ["${SECRET}"]}\nrules:\n'
    return start + "".join(written) + "tests:\n" + "".join(tests)


def source_of_items() -> str:
    """`sources/github.yaml` with a rule that makes an event of every item."""
    return """\
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: each
    for_each: body.items
    key: item.id
    event: {type: SaleSold, attributes: {item: "{{ item.name }}", bridge_id: "{{ event.id }}"}}
"""


def settings(port: int, admin: int, target: str) -> dict[str, Any]:
    """`bridge.yaml`: all as in production, and a target that takes what it can."""
    return {
        "listen": {"host": "127.0.0.1", "port": port},
        "admin": {"port": admin, "token": "${ADMIN_TOKEN}"},
        "log": {"format": "json"},
        "drain": {"grace": "0ms", "timeout": "5s"},
        "targets": {
            "crm": {
                "url": target,
                "authorization": {"scheme": "basic", "username": "bench", "password": "bench"},
                "max_in_flight": 32,
                "rate": "100000/s",
            }
        },
    }
