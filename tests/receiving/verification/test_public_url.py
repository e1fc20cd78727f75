from hypothesis import given
from hypothesis import strategies as st

from bridge.receiving.verification.public_url import PublicUrl

from .support import request

URL = "https://hooks.example.com/webhooks/shop"


def called(url: str, query: bytes) -> bytes:
    return PublicUrl(url).called(request(b"", {}, query))


@given(st.binary(max_size=40))
def test_a_url_without_a_query_gets_that_of_the_request(query: bytes) -> None:
    assert called(URL, query) == URL.encode() + (b"?" + query if query else b"")


@given(st.binary(max_size=40))
def test_a_url_with_a_query_stands_as_it_is(query: bytes) -> None:
    assert called(URL + "?a=1", query) == URL.encode() + b"?a=1"
    assert called(URL + "?", query) == URL.encode() + b"?"


def test_a_source_without_one_has_none() -> None:
    assert called("", b"a=1") == b""
