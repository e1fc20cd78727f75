"""A body is read strictly and exactly, or it is unreadable; nothing else ever happens."""

import base64
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
from bridge.receiving.content import body

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda children: st.lists(children) | st.dictionaries(text, children),
    max_leaves=30,
)


def value_of(*arguments: Any) -> Any:
    return body.read(*arguments).value


def unreadable(raw: bytes, content: Content = Content.JSON, headers: Mapping[str, str] | None = None) -> str:
    with pytest.raises(Unreadable) as raised:
        value_of(headers or {}, raw, content)
    return str(raised.value)


def of_type(content_type: str) -> dict[str, str]:
    return {"content-type": content_type}


FORM = of_type("application/x-www-form-urlencoded")


@given(st.binary() | text.map(str.encode) | st.from_regex(rb'[\[\]{}",:0-9eE.+\-tfn ]{0,60}', fullmatch=True))
def test_any_bytes_are_a_value_or_unreadable(content: bytes) -> None:
    try:
        value = value_of({}, content)
    except Unreadable:
        return
    assert value == json.loads(content)


@given(values, st.booleans())
def test_every_json_value_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    read = value_of({}, json.dumps(value, ensure_ascii=ascii_only).encode())
    assert read == value
    assert repr(read) == repr(json.loads(json.dumps(value)))


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64) - 1, 820982911946154508, 10**300 + 7, 10**4000])
def test_whole_numbers_are_exact_at_any_length(number: int) -> None:
    read = value_of({}, b'{"id": %d, "again": [%d]}' % (number, number))
    assert read == {"id": number, "again": [number]}
    assert type(read["id"]) is int


@pytest.mark.parametrize(
    "content",
    [
        *(b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1" * 5000),
        *(b"\xef\xbb\xbf", b"\xff\xfe{\x00}\x00", b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud8"', b"\\ud800"),
        *(b"{", b"[1,]", b"{'a': 1}", b"01", b"+1", b".5", b"{} {}", b"// no\n{}", b"\x00", b" ", b'"\n"', b"tru"),
    ],
)
def test_what_json_does_not_allow_is_unreadable(content: bytes) -> None:
    assert unreadable(content).startswith("the body is not JSON: ")


def test_the_last_of_duplicate_keys_counts_however_long_its_number() -> None:
    assert value_of({}, b'{"a": 1, "a": 2}') == {"a": 2}
    assert value_of({}, b'{"a": 1, "a": 12345678901234567890123}') == {"a": 12345678901234567890123}


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_a_body_may_be_as_deep_as_the_limit_and_no_deeper(opening: bytes, closing: bytes) -> None:
    levels = 2 if opening.startswith(b"[{") else 1
    fits = body.MAX_DEPTH // levels
    value_of({}, opening * fits + b"1" + closing * fits)
    assert "deeper than 100 levels" in unreadable(b"[" + opening * fits + b"1" + closing * fits + b"]")


def test_many_shallow_lists_are_not_deep() -> None:
    assert len(value_of({}, b"[" + b"[[]]," * 5000 + b"[]]")) == 5001


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
    assert value_of({"content-encoding": encoding}, b"{}") == {}


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
    assert value_of(of_type(content_type), ' {"name": "Åse"}'.encode()) == {"name": "Åse"}


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "utf-16le", "UTF-8", "us-ascii"])
def test_json_is_in_the_charset_that_is_named(charset: str) -> None:
    raw = json.dumps({"name": "Åse"}, ensure_ascii=charset == "us-ascii").encode(charset)
    assert value_of(of_type(f"application/json; charset={charset}"), raw) == {"name": "Åse"}


def test_json_in_a_charset_that_is_not_known_or_not_its_own_is_unreadable() -> None:
    assert "not known" in unreadable(b'"\xff"', headers=of_type("application/json; charset=klingon"))
    assert "not in the charset" in unreadable(b'"\xff"', headers=of_type("application/json; charset=ascii"))


@given(values)
def test_the_payload_of_a_form_is_the_json_of_a_source_that_expects_json(value: Any) -> None:
    raw = f"token=x&payload={quote(json.dumps(value))}".encode()
    assert value_of(FORM, raw) == value


def test_a_form_without_one_payload_is_unreadable_as_json() -> None:
    for raw in (b"a=1", b"payload={}&payload={}", b"", b"payload"):
        assert unreadable(raw, headers=FORM)


def test_a_form_is_its_fields_and_a_payload_that_looks_like_json_is_read() -> None:
    assert value_of(FORM, b"a=1&a=2&b=x", Content.FORM) == {"a": ["1", "2"], "b": "x"}
    assert value_of({}, b"", Content.FORM) == {}
    assert value_of({}, b"payload=%7B%22a%22:1%7D", Content.FORM) == {"payload": {"a": 1}}
    assert value_of({}, b"payload=12", Content.FORM) == {"payload": "12"}
    assert "not JSON" in unreadable(b"payload={", Content.FORM)
    multipart = b'--b\r\ncontent-disposition: form-data; name="payload"\r\n\r\n[1]\r\n--b--'
    assert value_of(of_type("multipart/form-data; boundary=b"), multipart, Content.FORM) == {"payload": [1]}


@pytest.mark.parametrize("content_type", ["application/json", "text/xml", "multipart/mixed; boundary=b"])
def test_what_says_that_it_is_no_form_is_not_read_as_one(content_type: str) -> None:
    assert "not that of a form" in unreadable(b"a=1", Content.FORM, of_type(content_type))


def test_xml_text_and_anything() -> None:
    assert value_of({}, b"<order id='7'><line/><line/></order>", Content.XML) == {
        "order": {"@id": "7", "line": ["", ""]}
    }
    assert value_of(of_type("text/plain; charset=latin1"), b"\xe5", Content.TEXT) == "å"
    assert value_of({}, "å".encode(), Content.ANY) == "å"
    assert value_of({}, b"\xff\x00", Content.ANY) == "/wA="
    assert value_of({}, b"", Content.ANY) == ""
    assert "charset" in unreadable(b"\xe5", Content.TEXT, of_type("text/plain; charset=utf-8"))


@pytest.mark.parametrize("content", [Content.JSON, Content.XML, Content.TEXT])
def test_an_empty_body_is_unreadable_where_there_must_be_one(content: Content) -> None:
    assert "empty" in unreadable(b"", content)


def test_a_compressed_body_is_read_within_the_limit() -> None:
    raw = gzip.compress(b'{"a": "' + b"x" * 1000 + b'"}')
    assert value_of({"content-encoding": "gzip"}, raw)["a"] == "x" * 1000
    with pytest.raises(Unreadable, match="larger than 500 bytes"):
        value_of({"content-encoding": "gzip"}, raw, Content.JSON, 500)
    assert "damaged" in unreadable(b"{}", headers={"content-encoding": "gzip"})
    assert "none of gzip" in unreadable(b"{}", headers={"content-encoding": "gzip, br"})


BINARY = {"ce-specversion": "1.0", "ce-type": "order.paid", "ce-source": "/shop", "ce-id": "1"}
ATTRIBUTES = {"specversion": "1.0", "type": "order.paid", "source": "/shop", "id": "1"}


def test_a_cloud_event_is_the_same_object_in_binary_and_structured_mode() -> None:
    structured = json.dumps({**ATTRIBUTES, "datacontenttype": "application/json", "data": {"n": 1}}).encode()
    binary = value_of(BINARY | of_type("application/json"), b'{"n": 1}')
    assert binary == value_of(of_type("application/cloudevents+json"), structured)
    assert binary == value_of(BINARY | of_type("application/cloudevents+json; charset=utf-8"), structured)


def test_a_batch_of_cloud_events_is_a_list() -> None:
    batch = json.dumps([ATTRIBUTES, ATTRIBUTES]).encode()
    assert value_of(of_type("application/cloudevents-batch+json"), batch) == [ATTRIBUTES, ATTRIBUTES]
    assert value_of(of_type("application/cloudevents-batch+json"), b"[]") == []


def test_the_data_of_a_cloud_event_is_what_the_source_declares_and_may_be_missing() -> None:
    assert value_of(BINARY | of_type("text/xml"), b"<a>1</a>", Content.XML)["data"] == {"a": "1"}
    assert value_of(BINARY, b"") == ATTRIBUTES
    assert value_of(BINARY | {"ce-data": "forged", "ce-data_base64": "x"}, b"1") == ATTRIBUTES | {
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
        ("å", "å"),
        ('"a \\"b\\" c"', 'a "b" c'),
        ('"', '"'),
        ("100%", "100%"),
        ("", ""),
    ],
)
def test_attributes_of_cloud_events_are_decoded(written: str, read: str) -> None:
    assert value_of(BINARY | {"ce-subject": written}, b"1")["subject"] == read


@pytest.mark.parametrize("written", ["%FF", "%C3", "%ed%a0%80"])
def test_an_attribute_that_is_no_text_makes_a_cloud_event_unreadable(written: str) -> None:
    assert "UTF-8" in unreadable(b"1", headers=BINARY | {"ce-subject": written})


@pytest.mark.parametrize("content", list(Content))
def test_no_content_gives_what_is_deeper_than_the_limit(content: Content) -> None:
    deep = "[" * body.MAX_DEPTH + "]" * body.MAX_DEPTH
    xml = "<a>" * 60 + "</a>" * 60
    for raw in (f"payload={deep}", deep, f'"{deep}"', f"<r>{xml}{xml}</r>", "<a><b/>" * 60 + "<b/></a>" * 60):
        for headers in ({}, FORM, BINARY):
            with suppress(Unreadable):
                level, depth = [value_of(headers, raw.encode(), content)], 0
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
        value = value_of(headers, raw, content, 1000)
    except Unreadable:
        return
    assert json.loads(json.dumps(value)) == value


@pytest.mark.timing
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
        value_of(of_type(content_type), raw, content)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2
    assert peak < 32 << 20


# What senders get wrong


BOM = b"\xef\xbb\xbf"
HALF = '"see you \\ud83d"'


def read(raw: bytes, content: Content = Content.JSON, headers: Mapping[str, str] | None = None) -> tuple[Any, bool]:
    return tuple(body.read(headers or {}, raw, content))


@pytest.mark.parametrize(
    ("content", "raw", "value"),
    [
        (Content.JSON, b'{"name": "Ola"}', {"name": "Ola"}),
        (Content.FORM, b"name=Ola", {"name": "Ola"}),
        (Content.XML, b"<a/>", {"a": ""}),
        (Content.TEXT, b"Ola", "Ola"),
    ],
)
def test_a_byte_order_mark_is_skipped(content: Content, raw: bytes, value: Any) -> None:
    for type_ in ("", "; charset=utf-8"):
        named = of_type(body.USUAL_TYPES[content].partition(";")[0] + type_)
        assert read(BOM + raw, content, named) == (value, False)


def test_json_in_utf_8_is_read_so_whatever_charset_is_named() -> None:
    raw = '{"name": "Åse €"}'.encode()
    for charset in ("iso-8859-1", "us-ascii", "utf-16", "klingon", "windows-1252"):
        assert read(raw, headers=of_type(f"application/json; charset={charset}")) == ({"name": "Åse €"}, False)


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "utf-16le"])
def test_json_that_is_not_in_utf_8_is_read_in_the_charset_that_is_named_and_marked(charset: str) -> None:
    raw = '{"name": "Åse"}'.encode(charset)
    assert read(raw, headers=of_type(f"application/json; charset={charset}")) == ({"name": "Åse"}, True)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (HALF, "see you \ufffd"),
        ('"\\udc00\\ud800"', "\ufffd\ufffd"),
        ('"\\ud83d\\ud83d\\ude00 \\uDE00"', "\ufffd\U0001f600 \ufffd"),
        ('"\\\\ud83d \\ud83d"', "\\ud83d \ufffd"),
        ('["\\ud800", 12345678901234567890]', ["\ufffd", 12345678901234567890]),
        ('{"\\ud83d": {"\\ud83d\\u0041": 1}}', {"\ufffd": {"\ufffdA": 1}}),
    ],
)
def test_half_a_pair_of_surrogates_is_replaced_and_marked(written: str, value: Any) -> None:
    assert read(written.encode()) == (value, True)
    assert read(b"payload=" + quote(written).encode(), headers=FORM) == (value, True)


@given(st.lists(st.sampled_from(["\\ud83d", "\\ude00", "\\\\", '\\"', "\\u00e5", "x", "ud83d", "\\n"])))
def test_of_any_surrogates_only_the_halves_are_replaced(pieces: list[str]) -> None:
    written = '"' + "".join(pieces) + '"'
    expected = json.loads(written)
    halves = any("\ud800" <= letter <= "\udfff" for letter in expected)
    mended = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in expected)
    assert read(written.encode()) == (mended, halves)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"a": "\xe5"}', "it is not UTF-8 (byte 7)"),
        (b'{"a": 1', "it ends too early"),
        (b'{"a": 1e400}', "a number is out of range"),
        (b'{"a": 1,}', "trailing comma in object (byte 8)"),
        (BOM + b'{"a": NaN}', "invalid character (byte 6)"),
        (b'{"a": "\\ud83d", "b": }', "invalid character"),
    ],
)
def test_what_is_wrong_with_json_is_told_with_its_place(raw: bytes, told: str) -> None:
    assert unreadable(raw).startswith(f"the body is not JSON: {told}")


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded"])
def test_a_form_that_names_no_charset_is_read_as_browsers_do_where_it_is_no_utf_8(content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert read(b"name=%E5se&euro=%80&open=%81", Content.FORM, headers) == (
        {"name": "åse", "euro": "€", "open": "\x81"},
        True,
    )
    assert read(b"name=%C3%A5se", Content.FORM, headers) == ({"name": "åse"}, False)


def test_a_form_that_names_its_charset_is_in_that_or_unreadable() -> None:
    assert "charset" in unreadable(b"a=%E5", Content.FORM, {"content-type": f"{FORM['content-type']}; charset=utf-8"})


def test_a_part_of_a_multipart_form_is_read_so_too() -> None:
    headers = of_type("multipart/form-data; boundary=b")
    raw = b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\n\xe5se\r\n--b--'
    assert read(raw, Content.FORM, headers) == ({"name": "åse"}, True)


def test_text_that_names_no_charset_is_read_as_browsers_do_where_it_is_no_utf_8() -> None:
    assert read(b"\xe5 \x80", Content.TEXT) == ("å €", True)
    assert read(b"\xc3\xa5", Content.TEXT) == ("å", False)


@pytest.mark.parametrize(
    ("content", "raw", "value"),
    [
        (Content.JSON, b'{"a": 1}', {"a": 1}),
        (Content.FORM, b"a=1", {"a": "1"}),
        (Content.XML, b"<a>1</a>", {"a": "1"}),
    ],
)
def test_what_is_compressed_without_saying_so_is_unpacked_and_marked(content: Content, raw: bytes, value: Any) -> None:
    assert read(gzip.compress(raw), content) == (value, True)
    assert read(gzip.compress(raw), content, {"content-encoding": "gzip"}) == (value, False)
    assert "larger than" in unreadable(gzip.compress(b" " * (body.LIMIT + 1)), content)


def test_text_and_anything_may_begin_as_gzip_does() -> None:
    raw = gzip.compress(b"{}")
    assert read(raw, Content.ANY) == (base64.b64encode(raw).decode(), False)


@pytest.mark.parametrize("encoding", ["", "UTF-8", "none", "identity", " utf8 ", "8bit"])
def test_what_is_no_content_coding_is_none(encoding: str) -> None:
    assert read(b'{"a": 1}', headers={"content-encoding": encoding}) == ({"a": 1}, False)
    assert read(gzip.compress(b'{"a": 1}'), headers={"content-encoding": encoding}) == ({"a": 1}, True)


@pytest.mark.parametrize("field", [b"payload", b"other=1&payload"])
def test_json_may_stand_in_the_payload_of_a_form_of_either_kind(field: bytes) -> None:
    assert value_of(FORM, field + b"=%7B%22a%22:1%7D") == {"a": 1}
    raw = b'--b\r\ncontent-disposition: form-data; name="payload"\r\n\r\n{"a": 1}\r\n--b--'
    assert value_of(of_type("multipart/form-data; boundary=b"), raw) == {"a": 1}
