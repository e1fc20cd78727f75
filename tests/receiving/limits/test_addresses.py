"""The client is who a trusted proxy says, and nobody becomes another by what they write themselves."""

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.receiving.limits.addresses import Callers, of_one_holder

PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))
CALLERS = Callers(PROXIES, None)
PEER = "10.0.0.1"


def client(peer: str = PEER, **headers: str | list[str]) -> str:
    pairs = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return CALLERS.client(peer, pairs)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1, 10.0.0.3, 10.0.0.2", "192.0.2.1"),
        (["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 2001:db8:1::5", "192.0.2.1"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("garbage, 192.0.2.1", "192.0.2.1"),
        # What is malformed is not believed: the last proxy whose word could be read counts.
        ("192.0.2.1, garbage", PEER),
        ("192.0.2.1, garbage, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1,", PEER),
        ("", PEER),
        ("unknown", PEER),
        ("192.0.2.1:port", PEER),
        ("[192.0.2.1]", PEER),
        ("[2001:db8::7]x", PEER),
        ("[2001:db8::7", PEER),
        ("192.0.2.01", PEER),
        ("3221225985", PEER),
        ("192.0.2.1" + " " * 100 + "x", PEER),
    ],
)
def test_the_client_behind_proxies_that_write_x_forwarded_for(told: str, expected: str) -> None:
    assert client(x_forwarded_for=told) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
        ('by="_x";for="192.0.2.1:80"', "192.0.2.1"),
        ('for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=198.51.100.9, for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
        (["for=198.51.100.9", "for=192.0.2.1"], "192.0.2.1"),
        ('for="198.51.100.9, for=6.6.6.6", for=192.0.2.1', "192.0.2.1"),
        ("for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("for=_hidden", PEER),
        ("proto=https", PEER),
        ("", PEER),
        ("for=", PEER),
        ("for=192.0.2.1;for=192.0.2.2", PEER),
        ("for=192.0.2.1,", PEER),
        ("for=192.0.2.1 for=192.0.2.2", PEER),
        # A quote that a client leaves open would swallow what its proxy adds.
        ('for="198.51.100.9, for=192.0.2.1', PEER),
        ('for=198.51.100.9;x=", for="[2001:db8::7]"', PEER),
        ('for=198.51.100.9;x="\\, for=192.0.2.1;host="a"', PEER),
    ],
)
def test_the_client_behind_proxies_that_write_forwarded(told: str, expected: str) -> None:
    assert client(forwarded=told) == expected


def test_nobody_but_a_trusted_proxy_is_believed() -> None:
    assert client("192.0.2.9", x_forwarded_for="198.51.100.1", forwarded="for=198.51.100.1") == "192.0.2.9"
    assert Callers().client(PEER, [(b"x-forwarded-for", b"198.51.100.1")]) == PEER


def test_where_both_headers_are_there_they_must_agree() -> None:
    assert client(x_forwarded_for="192.0.2.1", forwarded="for=192.0.2.1") == "192.0.2.1"
    assert client(x_forwarded_for="192.0.2.1", forwarded="for=198.51.100.1") == PEER
    assert client(x_forwarded_for="192.0.2.1", forwarded="garbage") == PEER


def test_a_proxy_that_says_nothing_is_the_client() -> None:
    assert client() == PEER


_ANYTHING = st.text(st.characters(codec="latin-1"), max_size=60) | st.lists(
    st.sampled_from(
        ["198.51.100.1", "10.0.0.2", "for=", "198.51.100.1", '"', ",", ";", "=", " ", "\\", "[", "]:80", "::1"]
    ),
    max_size=12,
).map("".join)


@given(_ANYTHING)
def test_a_client_cannot_choose_its_address_behind_a_proxy_that_appends(written: str) -> None:
    assert client(x_forwarded_for=f"{written}, 192.0.2.1") == "192.0.2.1"
    assert client(x_forwarded_for=[written, "192.0.2.1"]) == "192.0.2.1"
    for added in ("for=192.0.2.1", 'for="192.0.2.1"', 'host="a";for="192.0.2.1:80";by="b"'):
        assert client(forwarded=f"{written}, {added}") in ("192.0.2.1", PEER)
    assert client(x_forwarded_for="192.0.2.1", forwarded=written) in ("192.0.2.1", PEER)
    assert client(x_forwarded_for=f"{written}, 192.0.2.1", forwarded=written) in ("192.0.2.1", PEER)


@given(_ANYTHING, _ANYTHING)
def test_any_headers_give_an_address(one: str, other: str) -> None:
    ip_address(client(x_forwarded_for=one, forwarded=other))


def test_long_chains_are_not_walked_for_ever() -> None:
    assert ip_address(client(x_forwarded_for=", ".join(["10.0.0.2"] * 5000))) in PROXIES[0]


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        ("192.0.2.1", True),
        ("192.0.3.1", False),
        ("::ffff:192.0.2.1", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("garbage", False),
    ],
)
def test_only_the_networks_of_a_source_are_allowed(caller: str, allowed: bool) -> None:
    callers = Callers((), (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
    assert callers.allows(caller) is allowed
    assert Callers().allows(caller)


@pytest.mark.parametrize(
    ("one", "other"),
    [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:0:0:1"), ("fe80::1%eth0", "fe80::2")],
)
def test_addresses_of_one_holder(one: str, other: str) -> None:
    assert of_one_holder(one) == of_one_holder(other)


@given(st.ip_addresses(), st.ip_addresses())
def test_holders_are_told_apart_by_all_of_ipv4_and_half_of_ipv6(one: IPv4Address, other: IPv4Address) -> None:
    def holder(address: IPv4Address) -> object:
        return address if address.version == 4 else int(address) >> 64

    mapped = [getattr(address, "ipv4_mapped", None) or address for address in (one, other)]
    same = mapped[0].version == mapped[1].version and holder(mapped[0]) == holder(mapped[1])
    assert (of_one_holder(str(one)) == of_one_holder(str(other))) == same


def test_a_forwarded_header_that_is_far_too_long_says_nothing() -> None:
    assert client(forwarded="for=192.0.2.1") == "192.0.2.1"
    assert client(forwarded=f'for="{"x" * 5000}", for=192.0.2.1') == PEER


def test_a_forwarded_header_of_a_usual_length_is_believed_and_an_endless_one_is_not() -> None:
    hop = 'for=198.51.100.7;proto=https;host=hooks.example.com;by="[2001:db8::1]:443"'
    believed = Callers((ip_network("127.0.0.1"),))
    for count, client in ((1, "198.51.100.7"), (20, "198.51.100.7"), (60, "127.0.0.1")):
        assert believed.client("127.0.0.1", [(b"forwarded", ", ".join([hop] * count).encode())]) == client
