"""Which heads are those of HTTP/1.1 and 1.0, and which values of Host name one."""

import pytest

from bridge.errors import Refused
from bridge.web.problems import REFUSALS
from bridge.web.protocol.heads import is_host, is_latest, request_line


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"a",
            b"hooks.example.com",
            b"HOOKS.example.com:443",
            b"192.0.2.1:8080",
            b"under_score.example",
            b"a:",
            b"a.",
        ),
        *(b"[::1]", b"[2001:db8::1]:8080", b"[::ffff:192.0.2.1]", b"xn--bcher-kva.example", b"%61.example", b" a\t"),
    ],
)
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(value: bytes) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b" ",
            b":80",
            b"a b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"u@a",
            b"http://a",
            b"a:b",
            b"a:80:80",
            b"a:-1",
            b"a:65536",
        ),
        *(b"[::1", b"::1", b"[]", b"[a]", b"[1.2.3.4]", b"[::1]x", b"b\xc3\xbccher.example", b"a%2", b"a, a", b"a\x00"),
        b"a" * 262,
        None,
    ],
)
def test_what_is_no_host_is_told(value: bytes | None) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n"]
)
def test_the_version_is_that_of_the_first_line_that_is_not_empty(head: bytes) -> None:
    assert is_latest(head)
    assert not is_latest(head.replace(b"/1.1", b"/1.0"))
    for version, status in ((b"/1.2", 505), (b"/0.9", 505), (b"/2.0", 505), (b"/3", 400), (b"", 400), (b"/1.1 ", 400)):
        with pytest.raises(Refused) as told:
            is_latest(head.replace(b"/1.1", version))
        assert REFUSALS[told.value.reason] == status


def test_a_line_is_kept_as_far_as_it_has_come() -> None:
    assert request_line(b"\r\n\r\nGET / HT") == b"GET / HT"
    assert request_line(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b"GET / HTTP/1.1\r\n"
    assert request_line(b"\r\n") == b""
