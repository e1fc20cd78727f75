"""What a target can be told beside its URL, in a real bridge: headers, a correlation id, its version asked for."""

import json
from collections.abc import Callable

from running import Bridge, Superoffice, by_github, eventually, superoffice

RULES = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: sold
    headers: {X-Shop: "{{ body.shop }}", SO-Language: "{{ body.language | default('') }}"}
    event: {type: SaleSold, attributes: {number: "{{ body.number }}"}}
"""


def post(bridge: Bridge, **body: object) -> None:
    content = json.dumps(body).encode()
    assert bridge.post("github", content, by_github(content)).status_code == 202


def test_headers_are_fixed_when_the_webhook_is_accepted_and_a_bad_one_fails_its_rule(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    settings = {"headers": {"X-Gateway": "${SECRET}"}, "correlation_header": "X-Correlation-Id", "language": "en"}
    sandbox.script("headers", {"fault": "503", "times": 1})
    bridge = make_bridge({"crm": sandbox.target("headers", **settings)}, {"github": RULES}).start()
    post(bridge, number=1, shop="oslo", language="nb")
    (event,) = bridge.settled()
    post(bridge, number=2, shop="bergen\r\nAuthorization: Basic guess", language="nb")
    post(bridge, number=3, shop="bergen")
    bridge.settled()
    first, second = sandbox.events("headers")
    assert first["headers"]["x-shop"] == "oslo"
    assert first["headers"]["so-language"] == "nb"
    assert first["headers"]["x-correlation-id"] == event["id"]
    assert first["headers"]["x-gateway"] == bridge.environment["SECRET"]
    assert event["headers"] == {"X-Shop": "oslo", "SO-Language": "nb"}
    assert (second["headers"]["x-shop"], second["headers"]["so-language"]) == ("bergen", "en")
    (failed,) = bridge.webhooks(state="failed")
    assert failed["why"][0]["error"].startswith("headers.X-Shop: cannot be the value of a header in `{{ body.shop }}`")
    shown = json.loads(bridge.run("events", "show", event["id"], "--json").stdout)
    assert shown["headers"] == {"X-Shop": "oslo", "SO-Language": "nb"}
    assert bridge.stop() == 0


def test_a_target_is_asked_for_its_version_and_its_rules_are_looked_at(make_bridge: Callable[..., Bridge]) -> None:
    with superoffice(0, "--version", "10.2.8") as old:
        bridge = make_bridge({"crm": old.target("crm", version="auto")}, {"github": RULES}).start()
        lines = eventually(lambda: [line for line in bridge.lines() if line["event"] == "target.version_read"])
        assert [(line["level"], line["version"], line["unlisted"]) for line in lines] == [
            ("warning", "10.2.8", ["SaleSold"])
        ]
        post(bridge, number=1, shop="oslo")
        (event,) = bridge.settled()
        assert (event["state"], event["reason"]) == ("dead", "rejected")  # SuperOffice has the last word
        assert bridge.stop() == 0


def test_a_target_that_is_down_keeps_no_bridge_from_starting(make_bridge: Callable[..., Bridge]) -> None:
    down = {
        "url": "http://127.0.0.1:1/api",
        "authorization": {"scheme": "bearer", "token": "t"},
        "version": "auto",
    }
    bridge = make_bridge({"crm": down}, {"github": RULES}).start()
    line = eventually(lambda: [line for line in bridge.lines() if line["event"] == "target.version_read"])[0]
    assert (line["level"], line["version"], line["unlisted"]) == ("warning", None, [])
    assert bridge.stop() == 0
