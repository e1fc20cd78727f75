"""The shape of bridge.yaml and of a source file: every key, and every finding with its exact text and place."""

import pytest
from pydantic import BaseModel

from bridge.errors import Problem
from bridge.model import OnUnknown
from bridge.settings.configuration import Source, doubtful_targets, forgotten_duplicates, repeated_rules
from bridge.settings.document import Section
from bridge.settings.parsing import NAME_HINT, M, Rate, parse
from bridge.settings.schema import BridgeSettings
from bridge.settings.source_schema import SourceSettings
from bridge.settings.target_schema import TargetSettings
from bridge.settings.yaml_reader import read_yaml

TARGET = "url: https://crm.example.com/superoffice/api, authorization: {scheme: basic, password: hush}"

KITCHEN_SINK = """
listen: {host: 127.0.0.1, port: 0, max_body: 64KiB}
admin: {host: "::1", port: 9000, token: hush}
store: {url: sqlite:////var/lib/bridge/bridge.db, keep: 30d}
log: {level: debug, format: json}
drain: {grace: 0s, timeout: 5s}
targets:
  crm:
    url: https://crm.example.com/superoffice/api/
    authorization: {scheme: basic, username: u, password: hush}
    language: en
    accept_language: nb-NO
    culture: nb-NO
    time_zone: "54"
    app_token: hush
    select: [EventType, Attributes, TableRight, FieldProperties]
    attributes_format: json
    version: "10.2"
    allow_unknown_event_types: true
    timeout: 3s
    max_in_flight: 1000
    rate: 100/m
    retry: {first_wait: 1s, max_wait: 1m, jitter: 0, max_age: 24h, max_attempts: 7, retry_after_cap: 10m}
    breaker: {after: 3}
  second:
    url: http://localhost:8090/api
    authorization: {scheme: bearer}
    retry: {max_attempts: none}
    breaker: {after: none}
default_target: crm
"""

KITCHEN_SINK_SOURCE = """
verify: {scheme: hmac, secrets: [hush], header: X-Signature}
dedupe: headers['x-id']
dedupe_window: 7d
rules:
  - name: Order.placed-1
    when: body.total | float > 0
    for_each: body.lines
    key: item.id
    target: crm
    event: {type: OrderPlaced, attributes: {order: "{{ body.name }}", deep: {a: [1, null]}}}
    on_unknown: hold
  - name: as_text
    when: true
    event: {type: SaleCreated, attributes: "{{ body }}"}
    target: [crm, "{{ body.shop }}"]
    order_by: body.id
    max_age: 1h
    send: false
    stop: true
    was: old
  - name: bare
    event: {type: SaleCreated}
methods: [POST, PUT]
enabled: false
respond: {accepted: 200, ignored: 204}
defaults: {target: crm, on_unknown: hold}
tests:
  - name: t
    payload: ../p.json
    headers: {X-A: b}
    expect: [{rule: second, attributes: {a: 1}}]
"""


def section(text: str) -> Section:
    document, problems = read_yaml(text, "f", lambda scalar: (scalar, []))
    assert document is not None, problems
    return Section(document)


def parsed(text: str, model: type[M]) -> M:
    value, problems = parse(section(text), model)
    assert value is not None, problems
    return value


def texts(problems: list[Problem]) -> list[str]:
    return [str(problem) for problem in problems]


def test_a_bridge_that_uses_every_key_is_read() -> None:
    bridge = parsed(KITCHEN_SINK, BridgeSettings)
    assert (bridge.listen.host, bridge.listen.port, bridge.listen.max_body) == ("127.0.0.1", 0, 65536)
    assert bridge.admin is not None
    assert (bridge.admin.host, bridge.admin.port, bridge.admin.token.reveal()) == ("::1", 9000, "hush")
    assert (bridge.store.url, bridge.store.keep) == ("sqlite:////var/lib/bridge/bridge.db", 2_592_000_000)
    assert (bridge.log.level, bridge.log.format) == ("debug", "json")
    assert (bridge.drain.grace, bridge.drain.timeout) == (0, 5000)
    crm = bridge.targets["crm"]
    assert (crm.url, crm.authorization.scheme) == ("https://crm.example.com/superoffice/api", "basic")
    assert (crm.language, crm.accept_language, crm.culture, crm.time_zone) == ("en", "nb-NO", "nb-NO", "54")
    assert crm.app_token is not None
    assert crm.app_token.reveal() == "hush"
    assert crm.select == ("EventType", "Attributes", "TableRight", "FieldProperties")
    assert (crm.attributes_format, crm.version, crm.allow_unknown_event_types) == ("json", "10.2", True)
    assert (crm.timeout, crm.max_in_flight, crm.rate) == (3000, 1000, Rate(100, 60_000))
    retry = crm.retry
    assert (retry.first_wait, retry.max_wait, retry.jitter) == (1000, 60_000, 0)
    assert (retry.max_age, retry.max_attempts, retry.retry_after_cap) == (86_400_000, 7, 600_000)
    assert bridge.targets["second"].retry.max_attempts is None
    assert (crm.breaker.after, bridge.targets["second"].breaker.after) == (3, None)
    assert bridge.default_target == "crm"


def test_a_source_that_uses_every_key_is_read() -> None:
    source = parsed(KITCHEN_SINK_SOURCE, SourceSettings)
    assert (source.verify.scheme, source.dedupe, source.dedupe_window) == ("hmac", "headers['x-id']", 604_800_000)
    first, second, third = source.rules
    assert (first.name, first.when, first.for_each) == ("Order.placed-1", "body.total | float > 0", "body.lines")
    assert (first.key, first.target, first.on_unknown) == ("item.id", "crm", OnUnknown.HOLD)
    assert first.event.type == "OrderPlaced"
    assert first.event.attributes == {"order": "{{ body.name }}", "deep": {"a": [1, None]}}
    assert (second.when, second.event.attributes, second.on_unknown) == ("true", "{{ body }}", None)
    assert (second.send, second.stop, second.was, second.max_age) == (False, True, "old", 3_600_000)
    assert (second.order_by, second.target) == ("body.id", ("crm", "{{ body.shop }}"))
    assert (source.methods, source.enabled) == (("POST", "PUT"), False)
    assert (source.respond.accepted, source.respond.ignored, source.respond.duplicate) == (200, 204, None)
    assert (source.defaults.target, source.defaults.on_unknown) == ("crm", OnUnknown.HOLD)
    (test,) = source.tests
    assert (test.name, test.payload, test.headers) == ("t", "../p.json", {"X-A": "b"})
    assert (test.expect[0].rule, test.expect[0].type, test.expect[0].attributes) == ("second", None, {"a": 1})
    assert (third.when, third.event.attributes) == (None, {})


def test_what_is_left_out_has_the_documented_default() -> None:
    bridge = parsed(f"targets: {{crm: {{{TARGET}}}}}", BridgeSettings)
    assert (bridge.listen.host, bridge.listen.port, bridge.listen.max_body) == ("0.0.0.0", 8080, 1 << 20)
    assert bridge.admin is None
    assert parsed(f"admin: {{token: t}}\ntargets: {{crm: {{{TARGET}}}}}", BridgeSettings).admin is not None
    assert (bridge.store.url, bridge.store.keep) == ("sqlite:///var/bridge.db", 90 * 86_400_000)
    assert (bridge.log.level, bridge.log.format) == ("info", "auto")
    assert (bridge.drain.grace, bridge.drain.timeout) == (5000, 30_000)
    assert bridge.default_target is None
    crm = bridge.targets["crm"]
    assert (crm.language, crm.accept_language, crm.culture, crm.time_zone, crm.app_token) == (None,) * 5
    assert (crm.select, crm.attributes_format, crm.version) == (None, "pairs", "latest")
    assert (crm.allow_unknown_event_types, crm.timeout, crm.max_in_flight) == (False, 10_000, 8)
    assert crm.rate == Rate(50, 1000)
    assert (crm.retry.first_wait, crm.retry.max_wait, crm.retry.jitter) == (2000, 900_000, 0.2)
    assert (crm.retry.max_age, crm.retry.max_attempts, crm.retry.retry_after_cap) == (172_800_000, None, 3_600_000)
    assert crm.breaker.after == 10
    source = parsed("verify: {scheme: none}\nrules: []", SourceSettings)
    assert (source.dedupe, source.dedupe_window, source.rules) == (None, 14 * 86_400_000, ())


BRIDGE_KEYS = "addresses, admin, default_target, drain, listen, log, store, targets, trusted_proxies"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: is empty, write its keys, or remove it"),
        ("log: {}", "1:1: targets: is missing, add it: the SuperOffice installations, by name"),
        ("targets: {}", "1:1: targets: is empty, give at least one"),
        ("targets:\n", "1:1: targets: is empty, give it a value"),
        (f"targets: {{CRM: {{{TARGET}}}}}", f"1:11: targets.CRM: is not a valid name, {NAME_HINT}"),
        (f"targets: {{{'a' * 65}: {{{TARGET}}}}}", f"1:11: targets.{'a' * 65}: is not a valid name, {NAME_HINT}"),
        (f"targets: {{c: {{{TARGET}}}}}\nqqq: 1", f"2:1: qqq: unknown key `qqq`, known here: {BRIDGE_KEYS}"),
        (f"targets: {{c: {{{TARGET}}}}}\nalarms: 1", "2:1: alarms: `alarms` is not available yet, remove it"),
        (f"targets: {{c: {{{TARGET}}}}}\ndrain:", "2:1: drain: is empty, give it a value, or remove it"),
        (
            f"targets: {{c: {{{TARGET}}}, d: {{{TARGET}}}}}\ndefault_target: e",
            "2:1: default_target: is not one of the targets, name one of c, d",
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\nadmin: {{}}",
            "2:1: admin.token: is missing, add it: the bearer token that every request must carry",
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\nadmin: {{token: ''}}",
            "2:9: admin.token: is empty, give it its value: an empty secret protects nothing",
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\nlisten: {{port: 65536}}",
            "2:10: listen.port: must be at most 65535, not the number 65536",
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\nlisten: {{port: -1}}",
            "2:10: listen.port: must be at least 0, not the number -1",
        ),
        (f"targets: {{c: {{{TARGET}}}}}\nlisten: {{host: ''}}", "2:10: listen.host: is empty"),
        (
            f"targets: {{c: {{{TARGET}}}}}\nlisten: {{max_body: 0}}",
            "2:10: listen.max_body: must be more than 0, not the number 0",
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\ndrain: {{timeout: 0s}}",
            '2:9: drain.timeout: must be more than 0, not "0s"',
        ),
        (
            f"targets: {{c: {{{TARGET}}}}}\nstore: {{url: 'postgresql://user:hush@host/bridge'}}",
            "2:9: store.url: serving from PostgreSQL is not available yet, use sqlite:///var/bridge.db",
        ),
        *(
            (
                f"targets: {{c: {{{TARGET}}}}}\nstore: {{url: '{url}'}}",
                (
                    "2:9: store.url: is not the URL of a SQLite file, write sqlite:///var/bridge.db, "
                    "or sqlite://// and an absolute path"
                ),
            )
            for url in (
                "mysql://host/hush",
                "sqlite:///",
                "sqlite:///:memory:",
                "sqlite://var/x",
                "sqlite:///x?mode=ro",
            )
        ),
    ],
)
def test_a_finding_about_the_bridge(text: str, problem: str) -> None:
    assert texts(parse(section(text), BridgeSettings)[1]) == [f"f:{problem}"]


URL_HINT = "write it like https://crm.example.com/superoffice/api"


@pytest.mark.parametrize(
    ("url", "finding"),
    [
        *(
            (url, f"is not an http:// or https:// URL, {URL_HINT}")
            for url in (
                "ftp://h/api",
                "crm.example.com/api",
                "https:///api",
                "https://[::1/api",
                "https://h:99999/api",
                "https://h:x/api",
                "https://h/a pi",
                "https://h/api\\n",
                "https://høst/api",
                "",
            )
        ),
        ("https://user:hush@h/api", "holds a user name or a password, put them under authorization"),
        ("https://h/api?hush=1", "holds a query or a fragment, end it with the path"),
        ("https://h/api#x", "holds a query or a fragment, end it with the path"),
        ("https://h/api?", "holds a query or a fragment, end it with the path"),
    ],
)
def test_a_url_of_a_target_that_cannot_be_right(url: str, finding: str) -> None:
    text = f'url: "{url}"\nauthorization: {{scheme: basic}}'
    assert texts(parse(section(text), TargetSettings)[1]) == [f"f:1:1: url: {finding}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("timeout: 0s", '2:1: timeout: must be more than 0, not "0s"'),
        ("max_in_flight: 0", "2:1: max_in_flight: must be at least 1, not the number 0"),
        ("max_in_flight: 1001", "2:1: max_in_flight: must be at most 1000, not the number 1001"),
        ("rate: 0/s", '2:1: rate: must be a rate such as 50/s, 100/m or 10/h, not "0/s"'),
        ("version: 10.1", "2:1: version: must be text, not the number 10.1, put it in quotes"),
        ("select: []", "2:1: select: is empty, name at least one field, or remove it"),
        (
            "select: [EventTyp]",
            (
                "2:10: select[0]: must be one of EventType, Attributes, TableRight, FieldProperties, "
                'not "EventTyp", did you mean `EventType`?'
            ),
        ),
        (
            'language: "e\\nn"',
            "2:1: language: cannot be the value of a header, use plain ASCII text without control characters",
        ),
        (
            'app_token: "hush\\0"',
            "2:1: app_token: cannot be the value of a header, use plain ASCII text without control characters",
        ),
        ("attributes_format: xml", '2:1: attributes_format: must be one of pairs, json, text, not "xml"'),
        ("retry: {jitter: 2}", "2:9: retry.jitter: must be at most 1, not the number 2"),
        ("retry: {jitter: true}", "2:9: retry.jitter: must be a number, not true"),
        ("breaker: {after: 0}", "2:11: breaker.after: must be at least 1, not the number 0"),
        ("breaker: {after: some}", '2:11: breaker.after: must be a whole number, not "some"'),
        ("retry: {max_attempts: 0}", "2:9: retry.max_attempts: must be at least 1, not the number 0"),
        ("retry: {max_attempts: some}", '2:9: retry.max_attempts: must be a whole number, not "some"'),
        ("retry: {first_wait: 0s}", '2:9: retry.first_wait: must be more than 0, not "0s"'),
        ("retry: {first_wait: 20m}", "2:1: retry: max_wait is shorter than first_wait, make it at least as long"),
        (
            "retry: {first_wait: 2s, max_wait: 1s}",
            "2:1: retry: max_wait is shorter than first_wait, make it at least as long",
        ),
    ],
)
def test_a_finding_about_a_target(text: str, problem: str) -> None:
    found = parse(section(f"<<: {{{TARGET}}}\n{text}"), TargetSettings)[1]
    assert texts(found) == [f"f:{problem}"]


def test_a_target_needs_a_url_and_an_authorization_with_a_scheme() -> None:
    assert texts(parse(section("authorization: {}"), TargetSettings)[1]) == [
        "f:1:1: has neither url nor online, add url: the URL of its web API, ending in /api, or online",
        "f:1:1: authorization.scheme: is missing, add it: the name of the scheme, such as basic",
    ]


ENVIRONMENT_HINT = "use sod, stage, qaonline, online"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("sod", "https://sod.superoffice.com"),
        ("stage", "https://stage.superoffice.com"),
        ("qaonline", "https://qaonline.superoffice.com"),
        ("online", "https://online.superoffice.com"),
        ("online.superoffice.com", "https://online.superoffice.com"),
        ("SuperOffice.Example.com:8443", "https://superoffice.example.com:8443"),
        ("https://superoffice.example.com", "https://superoffice.example.com"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8090"),
        ("http://[::1]:8090", "http://[::1]:8090"),
        ("http://localhost:8090", "http://localhost:8090"),
        ("127.0.0.1:8090", "https://127.0.0.1:8090"),
    ],
)
def test_an_environment_is_a_name_or_a_host(written: str, url: str) -> None:
    text = f'online: {{environment: "{written}", tenant: Cust12345}}\nauthorization: {{scheme: bearer}}'
    target, problems = parse(section(text), TargetSettings)
    assert problems == []
    assert target is not None
    assert target.online is not None
    assert (target.url, target.online.environment, target.place) == (None, url, f"Cust12345 at {url}")


@pytest.mark.parametrize(
    ("written", "finding"),
    [
        (
            "onlin",
            f"is not an environment of SuperOffice Online, did you mean `online`? {ENVIRONMENT_HINT}, or its host",
        ),
        ("prod", "is not an environment of SuperOffice Online, use sod, stage, qaonline, online, or its host"),
        ("", "is not an environment of SuperOffice Online, use sod, stage, qaonline, online, or its host"),
        *(
            (
                host,
                f"is not the host of an environment, {ENVIRONMENT_HINT}, or write it like online.example.com",
            )
            for host in (
                "online.superoffice.com/api",
                "https://online.superoffice.com/",
                "ftp://online.superoffice.com",
                "user:hush@online.superoffice.com",
                "online.superoffice.com?x",
                "on line.example.com",
                "evil.example#.superoffice.com",
                "http://",
                "online.example.com:99999",
            )
        ),
        (
            "http://online.superoffice.com",
            "is plain http: whoever is on the way could say where credentials go, use https",
        ),
    ],
)
def test_an_environment_that_cannot_be_one(written: str, finding: str) -> None:
    text = f'online: {{environment: "{written}", tenant: Cust12345}}\nauthorization: {{scheme: bearer}}'
    assert texts(parse(section(text), TargetSettings)[1]) == [f"f:1:10: online.environment: {finding}"]


@pytest.mark.parametrize("tenant", ["../x", "a/b", "a b", "a?b", "", "ø", "a" * 65])
def test_a_tenant_is_a_word_that_a_path_can_hold(tenant: str) -> None:
    text = f'online: {{environment: online, tenant: "{tenant}"}}\nauthorization: {{scheme: bearer}}'
    (problem,) = parse(section(text), TargetSettings)[1]
    assert problem.path == "online.tenant"


def test_a_target_is_in_one_place_and_that_is_told_beside_all_else() -> None:
    both = "url: https://h/api\nonline: {environment: sod, tenant: Cust1}\nauthorization: {scheme: bearer}\nrate: 0/s"
    assert texts(parse(section(both), TargetSettings)[1]) == [
        "f:1:1: url: has both url and online, keep url for an installation of your own, online for a tenant",
        'f:4:1: rate: must be a rate such as 50/s, 100/m or 10/h, not "0/s"',
    ]


RULES = "verify: {scheme: none}\nrules:\n"
RULE_NAME_HINT = "use letters, digits, _, . and -, with a letter or a digit first and at most 100 characters"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("verify: {scheme: none}", "1:1: rules: is missing, add it: what becomes of a webhook; [] only records it"),
        ("verify: {scheme: none}\nrules:", "2:1: rules: is empty, give it a value"),
        (
            "verify: none\nrules: []",
            (
                "1:1: verify: must be a mapping (key: value), not text, "
                "write it like {scheme: NAME}, with what the scheme needs"
            ),
        ),
        ("verify: {}\nrules: []", "1:1: verify.scheme: is missing, add it: the name of the scheme, such as basic"),
        ("rules: []", "1:1: verify: is missing, add it: how a webhook is proven genuine: a scheme and what it needs"),
        (
            "verify: {scheme: none}\nrules: {}",
            "2:1: rules: must be a list, not a mapping, begin each of its entries with a dash: `- name: ...`",
        ),
        (
            "verify: {scheme: none}\nrules: []\ncontent: yaml",
            '3:1: content: must be one of json, form, xml, text, any, not "yaml"',
        ),
        (
            "verify: {scheme: none}\nrules: []\naddresses: [10.1.2.3/8]",
            (
                "3:13: addresses[0]: names an address within a network, write 10.0.0.0/8 for the whole network, "
                "or the address without /"
            ),
        ),
        (
            "verify: {scheme: none}\nrules: []\ntrusted_proxies: ['2001:db8::/129']",
            (
                "3:19: trusted_proxies[0]: must be a network such as 203.0.113.0/24 or 2001:db8::/32, or an address, "
                'not "2001:db8::/129"'
            ),
        ),
        (
            "verify: {scheme: none}\nrules: []\naddresses: []",
            "3:1: addresses: is empty, give at least one, or remove it",
        ),
        (
            "verify: {scheme: none}\nrules: []\npublic_url: hooks.example.com",
            "3:1: public_url: is not an http:// or https:// URL, write it like https://hooks.example.com/webhooks/shop",
        ),
        (
            "verify: {scheme: none}\nrules: []\npublic_url: 'https://me@hooks.example.com'",
            "3:1: public_url: is no URL that a sender could call, write it as it is registered at the sender",
        ),
        (
            "verify: {scheme: none}\nrules: []\nfailures: {at_once: 0}",
            "3:12: failures.at_once: must be at least 1, not the number 0",
        ),
        ("verify: {scheme: none}\nrules: []\ndedupe: ''", "3:1: dedupe: is empty, write an expression, or remove it"),
        (
            "verify: {scheme: none}\nrules: []\ndedupe_window: 0d",
            '3:1: dedupe_window: must be more than 0, not "0d"',
        ),
        (f"{RULES}  - name: a", "3:5: rules[0].event: is missing, add it: the event to make"),
        (
            f"{RULES}  - {{name: a, event: {{}}}}",
            "3:15: rules[0].event.type: is missing, add it: the WorkflowEventType",
        ),
        (f"{RULES}  - {{name: a, event: {{type: ''}}}}", "3:23: rules[0].event.type: is empty"),
        (
            f"{RULES}  - {{name: a, event: {{type: A, attributes: [1]}}}}",
            "3:32: rules[0].event.attributes: must be names and values, or one text, not a list",
        ),
        (
            f"{RULES}  - {{name: ä, event: {{type: A}}}}",
            f"3:6: rules[0].name: is not a valid name of a rule, {RULE_NAME_HINT}",
        ),
        (
            f"{RULES}  - {{name: a, key: item, event: {{type: A}}}}",
            "3:15: rules[0].key: names an item, and there is none without for_each, add for_each, or remove it",
        ),
        (
            f"{RULES}  - {{name: a, when: 1, event: {{type: A}}}}",
            "3:15: rules[0].when: must be text, not the number 1, put it in quotes",
        ),
        (
            f"{RULES}  - {{name: a, on_unknown: wait, event: {{type: A}}}}",
            '3:15: rules[0].on_unknown: must be one of retry, hold, not "wait"',
        ),
        (
            f"{RULES}  - {{name: a, headers: x, event: {{type: A}}}}",
            "3:15: rules[0].headers: must be a mapping (key: value), not text",
        ),
    ],
)
def test_a_finding_about_a_source(text: str, problem: str) -> None:
    assert texts(parse(section(text), SourceSettings)[1]) == [f"f:{problem}"]


def test_keys_of_later_versions_are_refused_by_name() -> None:
    later = ["require", "lookups", "redact", "expect_every", "backlog", "alarms"]
    text = "verify: {scheme: none}\nrules: []\n" + "".join(f"{key}: 1\n" for key in later)
    assert texts(parse(section(text), SourceSettings)[1]) == [
        f"f:{line}:1: {key}: `{key}` is not available yet, remove it" for line, key in enumerate(later, 3)
    ]


def test_rules_with_the_same_name_are_told_even_where_they_are_otherwise_wrong() -> None:
    source = section(f"{RULES}  - name: a\n  - name: b\n  - 7\n  - name: a\n    when: 1\n  - {{name: a}}")
    assert texts(repeated_rules(source)) == [
        "f:6:5: rules[3].name: is the name of an earlier rule, give it its own",
        "f:8:6: rules[4].name: is the name of an earlier rule, give it its own",
    ]
    for text in ("", "rules: 7", "rules: [{name: [a]}, {name: [a]}]", "[]"):
        assert repeated_rules(section(text)) == []


@pytest.mark.parametrize(
    ("url", "warnings"),
    [
        ("https://h/api", []),
        ("http://localhost:1/api", []),
        ("http://127.0.0.2/api", []),
        ("http://[::1]/api", []),
        (
            "http://h/api",
            ["f:1:15: targets.c.url: is plain http: everybody on the way can read the credentials, use https"],
        ),
        (
            "http://128.0.0.1/api",
            ["f:1:15: targets.c.url: is plain http: everybody on the way can read the credentials, use https"],
        ),
        (
            "https://h/SuperOffice",
            [
                (
                    "f:1:15: targets.c.url: does not end in /api, write the part before /v1, such as "
                    "https://crm.example.com/superoffice/api"
                )
            ],
        ),
    ],
)
def test_doubtful_urls_are_warnings(url: str, warnings: list[str]) -> None:
    root = section(f"targets: {{c: {{url: '{url}', authorization: {{scheme: basic}}}}}}")
    bridge, problems = parse(root, BridgeSettings)
    assert bridge is not None, problems
    found = doubtful_targets(bridge, root)
    assert texts(found) == warnings
    assert all(problem.severity == "warning" for problem in found)


@pytest.mark.parametrize(
    ("keep", "window", "found"),
    [
        ("", "", []),
        ("store: {keep: 14d}", "", []),
        ("store: {keep: 7d}", "dedupe_window: 7d", []),
        (
            "store: {keep: 13d}",
            "",
            [
                (
                    "f:2:9: store.keep: is shorter than the dedupe_window of source shop (14d where it sets none), "
                    "keep webhooks longer, or set dedupe_window there"
                )
            ],
        ),
        (
            "",
            "dedupe_window: 91d",
            ["f:3:1: dedupe_window: is longer than store.keep of bridge.yaml, shorten it, or keep webhooks longer"],
        ),
    ],
)
def test_duplicates_are_remembered_no_longer_than_webhooks_are_kept(keep: str, window: str, found: list[str]) -> None:
    root = section(f"targets: {{c: {{{TARGET}}}}}\n{keep}")
    bridge = parse(root, BridgeSettings)[0]
    source = section(f"verify: {{scheme: none}}\nrules: []\n{window}")
    settings = parse(source, SourceSettings)[0]
    assert bridge is not None
    assert settings is not None
    assert texts(forgotten_duplicates(bridge, root, Source("shop", settings, source))) == found


@pytest.mark.parametrize("model", [BridgeSettings, SourceSettings])
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), f"{part['title']}.{name}"


def test_secrets_do_not_show_in_a_repr() -> None:
    root = section(KITCHEN_SINK)
    bridge = parsed(KITCHEN_SINK, BridgeSettings)
    source = parsed(KITCHEN_SINK_SOURCE, SourceSettings)
    assert "hush" not in repr((bridge, root, source, section(KITCHEN_SINK_SOURCE))) + str(bridge) + str(source)
