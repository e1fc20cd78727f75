"""A source's defaults, each resolved once: its own word, else its sender's, else the bridge's."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from service.test_composition import write

from bridge.receiving.sources import CompiledSource
from bridge.service import composition

BRIDGE = """\
listen: {max_body: 300KiB}
trusted_proxies: [10.0.0.0/8]
addresses: [192.0.2.0/24]
targets:
  crm: {url: "https://crm.example.com/api", authorization: {scheme: bearer, token: a-token-of-the-tests}}
"""


def source(directory: Path, verify: str, more: str = "") -> CompiledSource:
    text = f"verify: {verify}\nrules: []\n{more}"
    return composition.build(write(directory, bridge=BRIDGE, shop=text)).sources["shop"]


GITHUB = "{scheme: github, secrets: [a-secret-of-the-tests]}"
MAILGUN = "{scheme: mailgun, secrets: [a-secret-of-the-tests]}"


@pytest.mark.parametrize(
    ("verify", "more", "largest"),
    [
        (GITHUB, "", (300 << 10, "max_body")),
        (GITHUB, "max_body: 5KiB\n", (5 << 10, "max_body")),
        (MAILGUN, "", (300 << 10, "max_body")),
        (MAILGUN, "max_body: 40MiB\n", (32 << 20, "max_unverified_body")),
        (MAILGUN, "max_unverified_body: 1KiB\n", (1 << 10, "max_unverified_body")),
    ],
)
def test_the_largest_body_is_the_smaller_of_two_bounds(
    verify: str, more: str, largest: tuple[int, str], tmp_path: Path
) -> None:
    compiled = source(tmp_path, verify, more)
    assert compiled.largest == largest
    assert compiled.carries_proof is (verify == MAILGUN)
    assert compiled.rules.max_body == compiled.settings.max_body or 300 << 10


def test_what_a_source_does_not_say_the_bridge_does(tmp_path: Path) -> None:
    callers = source(tmp_path, GITHUB).callers
    assert (callers.proxies, callers.allowed) == ((ip_network("10.0.0.0/8"),), (ip_network("192.0.2.0/24"),))


def test_what_a_source_says_goes_before_the_bridges_word(tmp_path: Path) -> None:
    callers = source(tmp_path, GITHUB, "trusted_proxies: []\naddresses: [198.51.100.0/24]\n").callers
    assert (callers.proxies, callers.allowed) == ((), (ip_network("198.51.100.0/24"),))


def test_what_neither_says_is_the_senders(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    trello = "{scheme: hubspot, secrets: [a-secret-of-the-tests]}"
    url = "public_url: https://hooks.example.com/webhooks/shop\n"
    as_its_sender = source(tmp_path / "one", trello, url)
    assert as_its_sender.settings.methods == ("POST", "GET")
    assert as_its_sender.settings.respond.accepted == 200
    otherwise = source(tmp_path / "two", trello, f"{url}methods: [POST]\nrespond: {{accepted: 201}}\n")
    assert otherwise.settings.methods == ("POST",)
    assert otherwise.settings.respond.accepted == 201
