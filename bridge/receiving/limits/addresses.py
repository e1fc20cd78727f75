"""The address of a client, also behind proxies, and the addresses that a source allows.

Proxies are believed only where the configuration names them. What they say is read from the right, since everything to
the left of what a trusted proxy wrote may be the client's own: the client is the first address that is no trusted
proxy's. What is malformed is not believed, and so is one header that contradicts the other: a proxy that writes one of
them passes on what the client wrote into the other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Pairs = Sequence[tuple[bytes, bytes]]

_LONGEST_HEADER = 4096  # characters of a Forwarded header: read from the left, whoever sent the beginning
_MOST_HOPS = 20
_LONGEST_ADDRESS = 60  # characters of an address with a port
_PORT = re.compile(r":[0-9]{1,5}")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_BETWEEN = re.compile(r"[ \t]*([;,])[ \t]*")
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")', re.ASCII)  # RFC 7239, 4


@dataclass(frozen=True, slots=True)
class Callers:
    """Whom a source knows: the proxies it believes, and the networks it takes requests from (None: any)."""

    proxies: tuple[Network, ...] = ()
    allowed: tuple[Network, ...] | None = None

    def client(self, peer: str, headers: Pairs) -> str:
        """The address of who sent a request that came from `peer`."""
        if not self.proxies or not _is_in(peer, self.proxies):
            return peer
        told = (_x_forwarded_for(headers), _forwarded(headers))
        clients = {self._first_unknown(peer, hops) for hops in told if hops is not None}
        return clients.pop() if len(clients) == 1 else peer

    def allows(self, client: str) -> bool:
        """Whether requests of this client are taken."""
        return self.allowed is None or _is_in(client, self.allowed)

    def _first_unknown(self, peer: str, hops: Sequence[str]) -> str:
        """`hops` are texts, the nearest last; one that is no address ends the chain at the proxy that told it."""
        client = peer
        for hop in reversed(hops[-_MOST_HOPS:]):
            address = _address(hop)
            if address is None:
                break
            client = str(address)
            if not _is_in(client, self.proxies):
                break
        return client


def of_one_holder(client: str, prefix: int = 64) -> str:
    """What one holder of addresses has: the IPv4 address itself, the network of an IPv6 address.

    A host has a /64, a customer of a provider mostly a /56.
    """
    address = _parsed(client)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 128 - prefix << 128 - prefix))
    return client if address is None else str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    return _read(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=1024)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    """An address; an IPv4 address in IPv6's clothes (::ffff:192.0.2.1) is the IPv4 address."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(text: str, networks: tuple[Network, ...]) -> bool:
    address = _parsed(text)
    return address is not None and any(address in network for network in networks)


def _address(hop: str) -> IPv4Address | IPv6Address | None:
    """The address of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    if hop.startswith("["):
        inner, bracket, port = hop[1:].partition("]")
        well_formed = bracket and (not port or _PORT.fullmatch(port))
        return _parsed(inner) if well_formed and ":" in inner else None
    if hop.count(":") == 1:
        host, colon, port = hop.partition(":")
        return _parsed(host) if _PORT.fullmatch(colon + port) else None
    return _parsed(hop)


def _x_forwarded_for(headers: Pairs) -> list[str] | None:
    value = _joined(headers, b"x-forwarded-for")
    return None if value is None else [hop.strip() for hop in value.rsplit(",", _MOST_HOPS)]


def _forwarded(headers: Pairs) -> list[str] | None:
    """The `for` of each hop. A header that is not whole is worth nothing: a quote left open shifts what follows."""
    value = _joined(headers, b"forwarded")
    if value is None:
        return None
    if len(value) > _LONGEST_HEADER:
        return [""]
    hops = [""]
    position = 0
    while pair := _PAIR.match(value, position):
        if pair[1].lower() == "for":
            if hops[-1]:
                break
            hops[-1] = pair[2] or re.sub(r"\\(.)", r"\1", pair[3])
        if pair.end() == len(value):
            return hops
        if not (between := _BETWEEN.match(value, pair.end())):
            break
        if between[1] == ",":
            hops.append("")
        position = between.end()
    return [""]


def _joined(headers: Pairs, name: bytes) -> str | None:
    values = [value.decode("latin-1").strip() for given, value in headers if given == name]
    return ",".join(values) if values else None
