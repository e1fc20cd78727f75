"""Forms come out as they were filled in; whatever else comes in is unreadable, in bounded time."""

import time
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Unreadable
from bridge.media_types import media_type
from bridge.receiving.content import forms

FORM = media_type(forms.URL_ENCODED)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=20)


def sent_by_httpx(**form: Any) -> httpx.Request:
    """A request with a form; a file makes it multipart."""
    return httpx.Request("POST", "http://127.0.0.1/", **form)


def read(request: httpx.Request) -> dict[str, Any]:
    return forms.multipart(media_type(request.headers["content-type"]), request.read())


def gathered(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: many[0] if len(many) == 1 else many for name, many in values.items()}


@given(st.lists(st.tuples(text, text), max_size=10))
def test_a_url_encoded_form_comes_out_as_it_went_in(pairs: list[tuple[str, str]]) -> None:
    assert forms.url_encoded(FORM, urlencode(pairs).encode()) == gathered(pairs)


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", {}),
        (b"a", {"a": ""}),
        (b"a=1&b=&=c", {"a": "1", "b": "", "": "c"}),
        (b"a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
        (b"a=x+y%20z%2B&&", {"a": "x y z+"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a[b]=1&a[]=2", {"a[b]": "1", "a[]": "2"}),
        ("å=ö".encode(), {"å": "ö"}),
        (b"a=%", {"a": "%"}),
        (b"%=%4&%zz=%%41%3D=%\n", {"%": "%4", "%zz": "%A==%\n"}),
    ],
)
def test_what_a_url_encoded_form_says(raw: bytes, fields: dict[str, Any]) -> None:
    assert forms.url_encoded(FORM, raw) == fields


def test_a_url_encoded_form_is_in_its_charset() -> None:
    media = media_type(f"{forms.URL_ENCODED}; charset=iso-8859-1")
    assert forms.url_encoded(media, b"a=%E5\xe4") == {"a": "åä"}


@pytest.mark.parametrize("raw", [b"a=\xff", b"a=%ff", b"%ff=a"])
def test_a_field_that_is_not_in_the_charset_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="charset"):
        forms.url_encoded(FORM, raw)


@pytest.mark.parametrize("more", [0, 1])
def test_a_form_has_as_many_fields_as_the_limit_and_no_more(more: int) -> None:
    pairs = [(str(number), "x") for number in range(forms.MAX_FIELDS + more)]
    plain = urlencode(pairs).encode()
    boundary = media_type("multipart/form-data; boundary=b")
    parts = b"".join(b'--b\r\ncontent-disposition: form-data; name="%d"\r\n\r\nx\r\n' % n for n in range(len(pairs)))
    if more:
        with pytest.raises(Unreadable, match="more than 10,000 fields"):
            forms.url_encoded(FORM, plain)
        with pytest.raises(Unreadable, match="more than 10,000 fields"):
            forms.multipart(boundary, parts + b"--b--")
    else:
        assert forms.url_encoded(FORM, plain) == forms.multipart(boundary, parts + b"--b--") == dict(pairs)


@given(st.dictionaries(names, st.text(max_size=30) | st.lists(text, min_size=2, max_size=3), max_size=5))
def test_a_multipart_form_comes_out_as_httpx_wrote_it(fields: dict[str, Any]) -> None:
    # A file forces httpx to write multipart; WHATWG's escapes of names are left as they are.
    found = read(sent_by_httpx(data=fields, files={"upload": b"x"}))
    upload = found.pop("upload") if "upload" not in fields else None
    if upload is not None:
        assert upload["size"] == 1
        assert found == fields


@given(st.binary(max_size=300))
def test_a_file_is_its_name_type_size_and_text_where_it_is_text(content: bytes) -> None:
    found = read(sent_by_httpx(files={"f": ("a b.txt", content, "text/plain")}))
    try:
        expected: str | None = content.decode()
    except ValueError:
        expected = None
    assert found == {"f": {"name": "a b.txt", "type": "text/plain", "size": len(content), "text": expected}}


@pytest.mark.parametrize("more", [0, 1])
def test_the_text_of_a_long_file_is_left_out(more: int) -> None:
    size = forms.MAX_FILE_TEXT + more
    found = read(sent_by_httpx(files={"f": ("x", b"x" * size, "text/plain")}))["f"]
    assert (found["size"], found["text"] is None) == (size, bool(more))


HEAD = b'--b\r\nContent-Disposition: form-data; name="a"\r\n'
MULTIPART = media_type("multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (HEAD + b"\r\n1\r\n--b--", {"a": "1"}),
        (b"preamble\r\n" + HEAD + b"\r\n1\r\n--b--\r\nepilogue", {"a": "1"}),
        (HEAD + b"\r\n\r\n--b--", {"a": ""}),
        (HEAD + b"\r\n\r\n\r\n\r\n--b--", {"a": "\r\n\r\n"}),
        (HEAD + b"\r\n--c\r\n--b--", {"a": "--c"}),
        (HEAD.replace(b"--b", b"--b \t") + b"\r\n1\r\n--b--", {"a": "1"}),
        (HEAD + b"Content-Type: text/plain; charset=latin1\r\n\r\n\xe5\r\n--b--", {"a": "å"}),
        (HEAD + b"\r\n1\r\n" + HEAD + b"\r\n2\r\n--b--", {"a": ["1", "2"]}),
        (b"--b--", {}),
        (
            HEAD.replace(b'"a"', b"f; filename*=utf-8''na%C3%AFve.txt; filename=naive.txt") + b"\r\nx\r\n--b--",
            {"f": {"name": "naïve.txt", "type": "", "size": 1, "text": "x"}},
        ),
        (
            HEAD.replace(b'"a"', rb'"a\"b"; filename="C:\x\"y"') + b"\r\n\xff\r\n--b--",
            {'a"b': {"name": 'C:\\x"y', "type": "", "size": 1, "text": None}},
        ),
    ],
)
def test_what_a_multipart_form_says(raw: bytes, fields: dict[str, Any]) -> None:
    assert forms.multipart(MULTIPART, raw) == fields


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "the boundary that the Content-Type names is not in"),
        (HEAD + b"\r\n1", "no end"),
        (HEAD + b"\r\n1\r\n--b", "no end"),
        (b"--b\r\nX: 1\r\n\r\n1\r\n--b--", "no name"),
        (b"--b\r\n\r\n1\r\n--b--", "no name"),
        (b"--b1\r\n--b--", "no headers"),
        (b"--bc" + HEAD[3:] + b"\r\n1\r\n--b--", "no headers"),
        (HEAD + b"X: " + b"x" * 9000 + b"\r\n\r\n1\r\n--b--", "too many"),
        (HEAD + b"\r\n\xff\r\n--b--", "charset"),
    ],
)
def test_what_is_no_multipart_form(raw: bytes, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        forms.multipart(MULTIPART, raw)


def test_without_a_boundary_nothing_can_be_read() -> None:
    with pytest.raises(Unreadable, match="no boundary"):
        forms.multipart(media_type("multipart/form-data"), HEAD)


_PIECES = st.sampled_from([b"\r\n", b"--b", b"--", b"--b--", HEAD, b'"', b"\\", b";", b"=", b"filename", b"\xff", b"a"])


@given(st.lists(_PIECES, max_size=40).map(b"".join), st.sampled_from(["b", "", "\xff", "--", " "]))
def test_any_bytes_are_a_form_or_unreadable(raw: bytes, boundary: str) -> None:
    media = media_type(f'multipart/form-data; boundary="{boundary}"')
    for read_one in (forms.multipart, forms.url_encoded):
        with suppress(Unreadable):
            assert isinstance(read_one(media, raw), dict)


@pytest.mark.timing
@pytest.mark.parametrize("noise", [b'; a="', b';a="\\', b";" + b" " * 50, b'; name="x"', b"\r\nx:", b"'", b'\\"'])
def test_headers_of_parts_made_to_be_slow_are_not(noise: bytes) -> None:
    head = b"--b\r\nContent-Disposition: form-data" + noise * (8000 // len(noise))
    raw = (head + b"\r\n\r\n\r\n") * (1_000_000 // len(head)) + b"--b--"
    started = time.process_time()
    with suppress(Unreadable):
        forms.multipart(MULTIPART, raw)
    assert time.process_time() - started < 2


@given(st.lists(st.sampled_from([b"%", b"=", b"0", b"a", b"F", b"z", b"+", b" ", b"\t", b"\r", b"\n", b"_", b"\xff"])))
def test_escapes_are_those_of_urllib(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    expected = unquote_to_bytes(raw.partition(b"=")[2].replace(b"+", b" ")).decode("latin-1")
    assert list(forms.url_encoded(media_type("x/y; charset=iso-8859-1"), raw).values()) == ([expected] if raw else [])


@pytest.mark.timing
@pytest.mark.parametrize(
    "raw", [b"a=" + b"%41" * 349_000, b"&".join(b"%41=%42" for _ in range(9_999)), b"%" * 1_000_000, b"%z" * 500_000]
)
def test_no_form_of_a_megabyte_takes_long(raw: bytes) -> None:
    """Twilio's and Mailgun's are read before anything is proven, and 300 of one address at once."""
    started = time.process_time()
    with suppress(Unreadable):
        forms.url_encoded(FORM, raw)
    assert time.process_time() - started < 0.08


def test_a_form_full_of_stray_percent_signs_is_unreadable() -> None:
    assert len(forms.url_encoded(FORM, b"a=" + b"%" * forms.MAX_FIELDS)["a"]) == forms.MAX_FIELDS
    with pytest.raises(Unreadable, match="percent signs"):
        forms.url_encoded(FORM, b"a=" + b"%" * (forms.MAX_FIELDS + 1))


OTHER = (
    b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n--b--",
    b"--x\r\nContent-Disposition: x; name=a\r\n\r\n1\r\n--b\r\ncontent-disposition: x; name=c\r\n\r\n1\r\n--b--",
    b"something\r\n--b--",
)


@pytest.mark.parametrize("raw", OTHER)
def test_parts_with_another_boundary_than_the_header_names_are_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable, match="another boundary"):
        forms.multipart(MULTIPART, raw)


def test_a_multipart_form_without_parts_is_empty() -> None:
    assert forms.multipart(MULTIPART, b"--b--\r\n") == {}


@pytest.mark.parametrize(
    ("encoding", "content", "value"),
    [
        ("base64", b"w6VzZQ==", "åse"),
        ("BASE64", b"w6Vz\r\nZQ==", "åse"),
        ("quoted-printable", b"=C3=A5se =3D =\r\nend", "åse = end"),
        ("8bit", "å=C3".encode(), "å=C3"),
        ("binary", b"w6VzZQ==", "w6VzZQ=="),
    ],
)
def test_a_part_in_an_encoding_of_mail_is_decoded(encoding: str, content: bytes, value: str) -> None:
    head = f"content-disposition: form-data; name=a{{}}\r\ncontent-transfer-encoding: {encoding}\r\n\r\n"
    field = head.format("").encode() + content
    file = head.format("; filename=f").encode() + content
    assert forms.multipart(MULTIPART, b"--b\r\n" + field + b"\r\n--b--") == {"a": value}
    found = forms.multipart(MULTIPART, b"--b\r\n" + file + b"\r\n--b--")["a"]
    assert (found["text"], found["size"]) == (value, len(value.encode()))


def test_a_part_that_is_no_base64_as_it_says_is_unreadable() -> None:
    part = b"content-disposition: form-data; name=a\r\ncontent-transfer-encoding: base64\r\n\r\nw6V!"
    with pytest.raises(Unreadable, match="base64"):
        forms.multipart(MULTIPART, b"--b\r\n" + part + b"\r\n--b--")


@given(st.integers(0, 5), st.lists(st.sampled_from([b"%41", b"%", b"+", b"a", b"%4", b"%zz", b"\xe5", b"%e5"])))
def test_a_long_field_is_read_in_pieces_as_if_it_were_whole(shift: int, around_the_cut: list[bytes]) -> None:
    value = b"x" * ((64 << 10) - shift) + b"".join(around_the_cut) + b"end"
    latin_1 = media_type(f"{forms.URL_ENCODED}; charset=latin-1")
    expected = unquote_to_bytes(value.replace(b"+", b" ")).decode("latin-1")
    assert forms.url_encoded(latin_1, b"a=" + value) == {"a": expected}


@pytest.mark.parametrize("first", [b"--b\r\nContent-Disposition: form-data; name=a", b"--b\r\ncontent-disposition :x"])
def test_a_multipart_body_is_no_other_form_whatever_its_content_type_says(first: bytes) -> None:
    raw = first + b"\r\n\r\nx&payload={}&\r\n--b--\r\n"
    with pytest.raises(Unreadable, match="the body is multipart"):
        forms.url_encoded(FORM, raw)
    with pytest.raises(Unreadable, match="the body is multipart"):
        forms.only(["payload"], FORM, raw, 100)
