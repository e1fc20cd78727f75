"""An answer says the same in whatever coding and charset it came; whatever else came is text, in bounded time."""

import codecs
import gzip
import zlib
from collections.abc import Callable

import brotli
import httpx
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bridge.superoffice.decoding import ANSWER_LIMIT, body_of, read
from bridge.superoffice.http.tls import system_trust
from bridge.superoffice.http.transport import Transport

from .support import Call, playing

RESULT = {"EventType": "SaleSold", "Attributes": "ræk=1"}
TEXT = '{"EventType":"SaleSold","Attributes":"ræk=1"}'
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("charset", ["", "iso-8859-1", "utf-16"])
def test_what_was_compressed_is_read(coding: str, charset: str) -> None:
    body = CODINGS[coding](TEXT.encode(charset or "utf-8"))
    said = read({"content-encoding": coding.upper(), "content-type": f"application/json; charset={charset}"}, body)
    assert (said.value, said.is_json, said.text) == (RESULT, True, TEXT.encode())


@pytest.mark.parametrize(
    "charset",
    [
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
        *("iso-8859-1", "cp1252"),
    ],
)
@pytest.mark.parametrize("named", ["", "application/json", "text/json; charset=utf-8", "json; charset=klingon"])
def test_a_charset_that_nobody_names_is_found(charset: str, named: str) -> None:
    assert read({"content-type": named}, TEXT.encode(charset)).value == RESULT


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("koi8-r", '{"EventType": "да"}'.encode("koi8-r")),
        ("utf-16le", codecs.BOM_UTF16_LE + '{"EventType": "да"}'.encode("utf-16-le")),
        ("shift_jis", '{"EventType": "да"}'.encode("shift_jis")),
    ],
)
def test_a_charset_that_is_named_is_read(charset: str, body: bytes) -> None:
    said = read({"content-type": f"application/json; charset={charset}"}, body)
    assert said.value == {"EventType": "да"}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-encoding": "gzip, br"},
        {"content-encoding": "aws-chunked"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "x" * 1000},
    ],
)
def test_json_in_utf_8_is_read_whatever_the_headers_say(headers: dict[str, str]) -> None:
    assert read(headers, TEXT.encode()).value == RESULT
    assert read(headers, codecs.BOM_UTF8 + TEXT.encode()).value == RESULT


def test_a_bomb_is_text() -> None:
    body = gzip.compress(b" " * (1 << 21) + b"{}")
    said = read({"content-encoding": "gzip"}, body)
    assert (said.value, said.is_json) == (None, False)
    assert len(said.text) < 2 * len(body)


@pytest.mark.parametrize(
    ("content_type", "body", "is_page"),
    [
        ("text/html", b"<!DOCTYPE html><title>Log in</title>", True),
        ("text/html; charset=iso-8859-1", b"\r\n<!-- \xe6 -->\n<HTML>", True),
        ("application/xhtml+xml", b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', True),
        ("", b"  <html lang=en>", True),
        ("application/json", b"<!doctype HTML>", True),
        ("text/html", "<html>æ".encode("utf-16"), True),
        ("text/html", b"", False),
        ("text/html", b"ok", False),
        ("text/html", b'{"EventType": ', False),
        ("text/plain", b"<WorkflowEventResult>", False),
        ("application/xml", b"<htmlish/>", False),
        ("text/html", TEXT.encode(), False),
    ],
)
def test_a_page_is_told_from_everything_else(content_type: str, body: bytes, is_page: bool) -> None:
    assert read({"content-type": content_type}, body).is_page is is_page
    compressed = read({"content-type": content_type, "content-encoding": "gzip"}, gzip.compress(body))
    assert compressed.is_page is is_page


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content-type": st.text(st.characters(codec="latin-1")) | st.just("text/html; charset=utf-16"),
            "content-encoding": st.text(st.characters(codec="latin-1")) | st.sampled_from([*CODINGS]),
        },
    ),
    st.binary(max_size=300) | st.text(max_size=50).map(lambda text: orjson.dumps({"EventType": text})),
)
def test_any_answer_is_json_or_text(headers: dict[str, str], body: bytes) -> None:
    said = read(headers, body)
    said.text.decode()
    assert said.is_json or said.value is None
    assert not (said.is_json and said.is_page)


@pytest.mark.anyio
@pytest.mark.timing
async def test_of_a_long_body_only_the_start_is_read_and_its_connection_ends() -> None:
    async def endless(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await call.send(b"x" * 100_000)

    async with playing(endless) as server:
        transport = Transport(1, system_trust)
        for _ in range(2):
            response = await transport.handle_async_request(httpx.Request("GET", server.url))
            assert ANSWER_LIMIT < len(await body_of(response)) < 2 * ANSWER_LIMIT
        await transport.aclose()
    assert [call.connection for call in server.calls] == [1, 2]
