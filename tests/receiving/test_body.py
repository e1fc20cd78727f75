"""A body is read strictly and exactly, or it is unreadable; nothing else ever happens."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Unreadable
from bridge.receiving import body

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda children: st.lists(children) | st.dictionaries(text, children),
    max_leaves=30,
)


def unreadable(content: bytes, **headers: str) -> str:
    with pytest.raises(Unreadable) as raised:
        body.read(headers, content)
    return str(raised.value)


@given(st.binary() | text.map(str.encode) | st.from_regex(rb'[\[\]{}",:0-9eE.+\-tfn ]{0,60}', fullmatch=True))
def test_any_bytes_are_a_value_or_unreadable(content: bytes) -> None:
    try:
        value = body.read({}, content)
    except Unreadable:
        return
    assert value == json.loads(content)


@given(values, st.booleans())
def test_every_json_value_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    read = body.read({}, json.dumps(value, ensure_ascii=ascii_only).encode())
    assert read == value
    assert repr(read) == repr(json.loads(json.dumps(value)))


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64) - 1, 820982911946154508, 10**300 + 7])
def test_whole_numbers_are_exact_at_any_length(number: int) -> None:
    read = body.read({}, b'{"id": %d, "again": [%d]}' % (number, number))
    assert read == {"id": number, "again": [number]}
    assert type(read["id"]) is int


@pytest.mark.parametrize(
    "content",
    [
        *(b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" + b"0" * 400, b"1" * 5000),
        *(b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"'),
        *(b"{", b"[1,]", b"{'a': 1}", b"01", b"+1", b".5", b"{} {}", b"// no\n{}", b"\x00", b" ", b'"\n"', b"tru"),
        b'["\\ud800", 12345678901234567890]',
    ],
)
def test_what_json_does_not_allow_is_unreadable(content: bytes) -> None:
    assert unreadable(content).startswith("the body is not JSON in UTF-8: ")


def test_the_last_of_duplicate_keys_counts_however_long_its_number() -> None:
    assert body.read({}, b'{"a": 1, "a": 2}') == {"a": 2}
    assert body.read({}, b'{"a": 1, "a": 12345678901234567890123}') == {"a": 12345678901234567890123}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_a_body_may_be_as_deep_as_the_limit_and_no_deeper(opening: bytes, closing: bytes) -> None:
    levels = 2 if opening.startswith(b"[{") else 1
    fits = body.MAX_DEPTH // levels
    body.read({}, opening * fits + b"1" + closing * fits)
    assert "deeper than 100 levels" in unreadable(b"[" + opening * fits + b"1" + closing * fits + b"]")


def test_many_shallow_lists_are_not_deep() -> None:
    assert len(body.read({}, b"[" + b"[[]]," * 5000 + b"[]]")) == 5001


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 50_000])
def test_a_body_of_nothing_but_depth_is_unreadable(content: bytes) -> None:
    assert unreadable(content)


def test_depth_and_a_long_number_together_are_unreadable() -> None:
    deep = b"[" * 900 + b"12345678901234567890" + b"]" * 900
    assert unreadable(deep)


def test_an_empty_body_says_so() -> None:
    assert "empty" in unreadable(b"")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_a_content_encoding_is_refused(encoding: str) -> None:
    assert "content encoding" in unreadable(b"{}", **{"content-encoding": encoding})


@pytest.mark.parametrize("encoding", ["identity", " Identity ", ""])
def test_no_encoding_by_whatever_name_is_fine(encoding: str) -> None:
    assert body.read({"content-encoding": encoding}, b"{}") == {}


@pytest.mark.parametrize(
    "content", [b'{"confidential": x}', b"confidential", b'["confidential"', b'"confidential\xff"']
)
def test_what_is_said_never_quotes_the_body(content: bytes) -> None:
    assert "confid" not in unreadable(content)
