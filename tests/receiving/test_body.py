"""A body is read strictly and exactly, or it is unreadable; nothing else ever happens."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Unreadable
from bridge.model import Content
from bridge.receiving import body

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda children: st.lists(children) | st.dictionaries(text, children),
    max_leaves=30,
)


def unreadable(raw: bytes, content: Content = Content.JSON, headers: Mapping[str, str] | None = None) -> str:
    with pytest.raises(Unreadable) as raised:
        body.read(headers or {}, raw, content)
    return str(raised.value)


def of_type(content_type: str) -> dict[str, str]:
    return {"content-type": content_type}


FORM = of_type("application/x-www-form-urlencoded")


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


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64) - 1, 820982911946154508, 10**300 + 7, 10**4000])
def test_whole_numbers_are_exact_at_any_length(number: int) -> None:
    read = body.read({}, b'{"id": %d, "again": [%d]}' % (number, number))
    assert read == {"id": number, "again": [number]}
    assert type(read["id"]) is int


@pytest.mark.parametrize(
    "content",
    [
        *(b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" * 5000),
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


@pytest.mark.parametrize("encoding", ["identity", " Identity ", ""])
def test_no_encoding_by_whatever_name_is_fine(encoding: str) -> None:
    assert body.read({"content-encoding": encoding}, b"{}") == {}


@pytest.mark.parametrize(
    "content", [b'{"confidential": x}', b"confidential", b'["confidential"', b'"confidential\xff"']
)
def test_what_is_said_never_quotes_the_body(content: bytes) -> None:
    assert "confid" not in unreadable(content)


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "application/json", "application/json; charset=utf-8", "application/vnd.api+json", "text/plain"),
        *("application/cloudevents+json; charset=UTF-8", "application/x-www-form-urlencoded", "nonsense;;=\xff"),
    ],
)
def test_json_is_json_whatever_it_is_called(content_type: str) -> None:
    assert body.read(of_type(content_type), ' {"name": "Åse"}'.encode()) == {"name": "Åse"}


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "utf-16le", "UTF-8", "us-ascii"])
def test_json_is_in_the_charset_that_is_named(charset: str) -> None:
    raw = json.dumps({"name": "Åse"}, ensure_ascii=charset == "us-ascii").encode(charset)
    assert body.read(of_type(f"application/json; charset={charset}"), raw) == {"name": "Åse"}


def test_json_in_a_charset_that_is_not_known_or_not_its_own_is_unreadable() -> None:
    assert "not known" in unreadable(b"{}", headers=of_type("application/json; charset=klingon"))
    assert "not in the charset" in unreadable(b'"\xff"', headers=of_type("application/json; charset=ascii"))


@given(values)
def test_the_payload_of_a_form_is_the_json_of_a_source_that_expects_json(value: Any) -> None:
    raw = f"token=x&payload={quote(json.dumps(value))}".encode()
    assert body.read(FORM, raw) == value


def test_a_form_without_one_payload_is_unreadable_as_json() -> None:
    for raw in (b"a=1", b"payload={}&payload={}", b"", b"payload"):
        assert unreadable(raw, headers=FORM)


def test_a_form_is_its_fields_and_a_payload_that_looks_like_json_is_read() -> None:
    assert body.read(FORM, b"a=1&a=2&b=x", Content.FORM) == {"a": ["1", "2"], "b": "x"}
    assert body.read({}, b"", Content.FORM) == {}
    assert body.read({}, b"payload=%7B%22a%22:1%7D", Content.FORM) == {"payload": {"a": 1}}
    assert body.read({}, b"payload=12", Content.FORM) == {"payload": "12"}
    assert "not JSON" in unreadable(b"payload={", Content.FORM)
    multipart = b'--b\r\ncontent-disposition: form-data; name="payload"\r\n\r\n[1]\r\n--b--'
    assert body.read(of_type("multipart/form-data; boundary=b"), multipart, Content.FORM) == {"payload": [1]}


@pytest.mark.parametrize("content_type", ["application/json", "text/xml", "multipart/mixed; boundary=b"])
def test_what_says_that_it_is_no_form_is_not_read_as_one(content_type: str) -> None:
    assert "not that of a form" in unreadable(b"a=1", Content.FORM, of_type(content_type))


def test_xml_text_and_anything() -> None:
    assert body.read({}, b"<order id='7'><line/><line/></order>", Content.XML) == {
        "order": {"@id": "7", "line": ["", ""]}
    }
    assert body.read(of_type("text/plain; charset=latin1"), b"\xe5", Content.TEXT) == "å"
    assert body.read({}, "å".encode(), Content.ANY) == "å"
    assert body.read({}, b"\xff\x00", Content.ANY) == "/wA="
    assert body.read({}, b"", Content.ANY) == ""
    assert "charset" in unreadable(b"\xe5", Content.TEXT)


@pytest.mark.parametrize("content", [Content.JSON, Content.XML, Content.TEXT])
def test_an_empty_body_is_unreadable_where_there_must_be_one(content: Content) -> None:
    assert "empty" in unreadable(b"", content)


def test_a_compressed_body_is_read_within_the_limit() -> None:
    raw = gzip.compress(b'{"a": "' + b"x" * 1000 + b'"}')
    assert body.read({"content-encoding": "gzip"}, raw)["a"] == "x" * 1000
    with pytest.raises(Unreadable, match="larger than 500 bytes"):
        body.read({"content-encoding": "gzip"}, raw, Content.JSON, 500)
    assert "damaged" in unreadable(b"{}", headers={"content-encoding": "gzip"})
    assert "none of gzip" in unreadable(b"{}", headers={"content-encoding": "gzip, br"})


BINARY = {"ce-specversion": "1.0", "ce-type": "order.paid", "ce-source": "/shop", "ce-id": "1"}
ATTRIBUTES = {"specversion": "1.0", "type": "order.paid", "source": "/shop", "id": "1"}


def test_a_cloud_event_is_the_same_object_in_binary_and_structured_mode() -> None:
    structured = json.dumps({**ATTRIBUTES, "datacontenttype": "application/json", "data": {"n": 1}}).encode()
    binary = body.read(BINARY | of_type("application/json"), b'{"n": 1}')
    assert binary == body.read(of_type("application/cloudevents+json"), structured)
    assert binary == body.read(BINARY | of_type("application/cloudevents+json; charset=utf-8"), structured)


def test_a_batch_of_cloud_events_is_a_list() -> None:
    batch = json.dumps([ATTRIBUTES, ATTRIBUTES]).encode()
    assert body.read(of_type("application/cloudevents-batch+json"), batch) == [ATTRIBUTES, ATTRIBUTES]
    assert body.read(of_type("application/cloudevents-batch+json"), b"[]") == []


def test_the_data_of_a_cloud_event_is_what_the_source_declares_and_may_be_missing() -> None:
    assert body.read(BINARY | of_type("text/xml"), b"<a>1</a>", Content.XML)["data"] == {"a": "1"}
    assert body.read(BINARY, b"") == ATTRIBUTES
    assert body.read(BINARY | {"ce-data": "forged", "ce-data_base64": "x"}, b"1") == ATTRIBUTES | {
        "data": 1,
        "data_base64": "x",
    }
    assert unreadable(b"{", headers=BINARY)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Euro %E2%82%AC %F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%C3%A5", "å"),
        ("å".encode().decode("latin-1"), "å"),
        ('"a \\"b\\" c"', 'a "b" c'),
        ('"', '"'),
        ("100%", "100%"),
        ("", ""),
    ],
)
def test_attributes_of_cloud_events_are_decoded(written: str, read: str) -> None:
    assert body.read(BINARY | {"ce-subject": written}, b"1")["subject"] == read


@pytest.mark.parametrize("written", ["%FF", "%C3", "\xff", "%ed%a0%80"])
def test_an_attribute_that_is_no_text_makes_a_cloud_event_unreadable(written: str) -> None:
    assert "UTF-8" in unreadable(b"1", headers=BINARY | {"ce-subject": written})


@pytest.mark.parametrize("content", list(Content))
def test_no_content_gives_what_is_deeper_than_the_limit(content: Content) -> None:
    deep = "[" * body.MAX_DEPTH + "]" * body.MAX_DEPTH
    xml = "<a>" * 60 + "</a>" * 60
    for raw in (f"payload={deep}", deep, f'"{deep}"', f"<r>{xml}{xml}</r>", "<a><b/>" * 60 + "<b/></a>" * 60):
        for headers in ({}, FORM, BINARY):
            with suppress(Unreadable):
                level, depth = [body.read(headers, raw.encode(), content)], 0
                while level := [
                    child
                    for node in level
                    if isinstance(node, dict | list)
                    for child in (node.values() if isinstance(node, dict) else node)
                ]:
                    depth += 1
                assert depth <= body.MAX_DEPTH


_TYPES = st.sampled_from(
    [
        *("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/xml"),
        *(
            "application/cloudevents+json",
            "text/plain; charset=utf-16",
            "text/plain; charset=iso-2022-jp",
            "; boundary=",
        ),
    ]
)
_NAMES = st.sampled_from(["content-type", "content-encoding", "ce-specversion", "ce-type", "ce-\xe5", "x"])
_VALUES = _TYPES | st.sampled_from(["gzip", "br", "zstd", "deflate", "1.0"]) | st.text(st.characters(codec="latin-1"))
_BODIES = st.binary(max_size=200) | st.sampled_from(
    [b"{}", b"<a/>", b"payload={}", b"--b\r\n\r\n--b--", gzip.compress(b"{}"), "[1]".encode("utf-16")]
)


@given(st.dictionaries(_NAMES, _VALUES, max_size=4), _BODIES, st.sampled_from(list(Content)))
def test_any_bytes_with_any_headers_are_a_value_of_json_or_unreadable(
    headers: dict[str, str], raw: bytes, content: Content
) -> None:
    try:
        value = body.read(headers, raw, content, 1000)
    except Unreadable:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("content", list(Content))
@pytest.mark.parametrize(
    "piece", [b"[", b"{},", b'"a":', b"&a=1", b"%5B", b"<a>", b"<a/>", b"--b\r\n\r\n", b"\xff", b"\r\n", b"9"]
)
@pytest.mark.parametrize("content_type", ["", FORM["content-type"], "multipart/form-data; boundary=b"])
def test_a_mebibyte_of_anything_takes_bounded_time_and_memory(
    content: Content, piece: bytes, content_type: str
) -> None:
    raw = piece * ((1 << 20) // len(piece))
    tracemalloc.start()
    started = time.process_time()
    with suppress(Unreadable):
        body.read(of_type(content_type), raw, content)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2
    assert peak < 32 << 20
