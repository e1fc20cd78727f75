"""Checks a request head's HTTP version and Host header (RFC 9112, 2.3 and 3.2)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address

from bridge.errors import Refused

VERSION_NOT_SUPPORTED = "version_not_supported"  # a reason that others look for
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_LONGEST_HOST = 255 + len(":65535")  # bytes: a longer one no DNS knows
_HOST = re.compile(
    rb"(?:\[([^\]]+)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?"  # RFC 3986, 3.2.2
)


def request_line(head: bytes) -> bytes:
    """The first line of a head, as much of it as is there; empty lines before it do no harm."""
    begun = head.lstrip(b"\r\n")
    end = begun.find(b"\r\n")
    return begun if end < 0 else begun[: end + 2]


def is_latest(head: bytes) -> bool:
    """Whether a head is one of HTTP/1.1, and not of 1.0.

    Raises:
        Refused: its first line names another version, or none.
    """
    end = head.find(b"\r\n")
    if head[end - 9 : end] == b" HTTP/1.1":
        return True
    version = request_line(head).removesuffix(b"\r\n").rpartition(b" ")[2]
    if version in (b"HTTP/1.1", b"HTTP/1.0"):
        return version == b"HTTP/1.1"
    if _VERSION.fullmatch(version):
        raise Refused(VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    raise Refused("bad_request", "the request line has no HTTP version")


@lru_cache(maxsize=128)
def is_host(value: bytes | None) -> bool:
    """Whether the value of a Host header names one (RFC 9112, 3.2), with or without a port. None: there is none."""
    found = _HOST.fullmatch(value.strip(b" \t")) if value and len(value) <= _LONGEST_HOST else None
    if not found or int(found[2] or 0) > 65535:
        return False
    try:
        return found[1] is None or bool(IPv6Address(found[1].decode()))
    except ValueError:
        return False


def host_invalid() -> Refused:
    """Why a request is refused whose Host is missing, repeated or none."""
    return Refused("host_invalid", "a request must have one Host header, with a name and no more than a port")
