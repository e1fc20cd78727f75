"""A Content-Type is read as senders write it, and whatever else it is, reading it is bounded and never fails oddly."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Undecodable
from bridge.media_types import LONGEST, MediaType, media_type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MediaType("", "", "")),
        ("application/json", MediaType("application/json", "", "")),
        ("Application/JSON ; Charset=UTF-8", MediaType("application/json", "utf-8", "")),
        ('text/xml;charset="iso-8859-1"', MediaType("text/xml", "iso-8859-1", "")),
        ("text/plain; charset='utf-8'", MediaType("text/plain", "utf-8", "")),
        ("text/plain; charset=utf8; charset=latin1", MediaType("text/plain", "utf-8", "")),
        ("text/plain; format=flowed; charset=windows-1252", MediaType("text/plain", "cp1252", "")),
        (r'multipart/form-data; boundary="a;\"b"', MediaType("multipart/form-data", "", 'a;"b')),
        ("multipart/form-data; boundary=----x", MediaType("multipart/form-data", "", "----x")),
        ("text/plain; charset=punycode", MediaType("text/plain", None, "")),
        ("text/plain; charset=unicode_escape", MediaType("text/plain", None, "")),
        ("text/plain; charset=utf-7", MediaType("text/plain", None, "")),
        ("text/plain; charset=zip", MediaType("text/plain", None, "")),
        ("; charset=", MediaType("", "", "")),
    ],
)
def test_what_senders_write(text: str, expected: MediaType) -> None:
    assert media_type(text) == expected


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("utf-16", "utf-16"), ("shift_jis", "shift_jis"), ("koi8-r", "koi8-r"), ("gb18030", "gb18030")],
)
def test_text_is_in_its_charset(charset: str, codec: str) -> None:
    assert media_type(f"text/plain; charset={charset}").decode("Пример 1".encode(codec)) == "Пример 1"


@pytest.mark.parametrize("charset", ["ascii", "utf-8", ""])
def test_bytes_that_are_not_in_the_charset_are_unreadable(charset: str) -> None:
    with pytest.raises(Undecodable, match="not in the charset"):
        media_type(f"text/plain; charset={charset}").decode(b"\xff")


def test_an_unknown_charset_is_unreadable_and_not_quoted() -> None:
    with pytest.raises(Undecodable) as raised:
        media_type("text/plain; charset=confidential").decode(b"")
    assert "confidential" not in str(raised.value)


def test_a_content_type_of_any_length_is_not_kept() -> None:
    media_type("a" * LONGEST)
    with pytest.raises(Undecodable, match="too long"):
        media_type("a" * (LONGEST + 1))


@given(st.text(st.characters(codec="latin-1"), max_size=LONGEST), st.binary(max_size=50))
def test_any_header_is_a_media_type(text: str, raw: bytes) -> None:
    media = media_type(text)
    assert media.type == media.type.lower()
    with suppress(Undecodable):
        media.decode(raw)
