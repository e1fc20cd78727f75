"""Decodes response bodies: JSON or text, in any content coding and charset.

Requests ask for `Accept-Encoding: identity`; what stands in front of a target may answer otherwise all the same.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from msgspec import Struct

from bridge import content_codings, jsontext
from bridge.errors import Undecodable
from bridge.media_types import MediaType, media_type

ANSWER_LIMIT = 1024 * 1024  # bytes read of an answer; a WorkflowEventResult has a few hundred
_HTML = ("text/html", "application/xhtml+xml")
_BEGINS_AS_HTML = re.compile(r"<(!doctype\s+html|html)\b", re.IGNORECASE)


class DecodedBody(Struct, frozen=True):
    """An answer's body. `value` is what it says as JSON, where `is_json`; `text` is it in UTF-8, where it is text."""

    value: Any
    is_json: bool
    text: bytes
    is_page: bool = False  # of HTML


async def body_of(response: httpx.Response, most: int = ANSWER_LIMIT) -> bytes:
    """The body of an answer as it came; of one that is longer than `most` bytes, its start.

    Raises:
        httpx.TransportError: it ends early.
    """
    stream = response.stream
    if isinstance(stream, httpx.ByteStream):  # as of nearly all answers: it came along with the head
        return b"".join(stream)
    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - it is that of a transport for asyncio
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in stream:
            pieces.append(piece)
            size += len(piece)
            if size > most:
                break
    finally:
        await stream.aclose()
    return b"".join(pieces)


def read(headers: Mapping[str, str], body: bytes) -> DecodedBody:
    """Read a body. JSON in UTF-8 is taken as such whatever the headers say: they may be what is wrong."""
    try:
        return DecodedBody(jsontext.decode(body), True, body)
    except ValueError:
        return _decoded(headers, body)


def _decoded(headers: Mapping[str, str], body: bytes) -> DecodedBody:
    try:
        body = content_codings.decompress(headers.get("content-encoding", ""), body, ANSWER_LIMIT)
        media = media_type(headers.get("content-type", ""))
    except Undecodable:
        media = MediaType("", "", "")
    texts = list(_texts(media, body))
    for text in texts:
        try:
            return DecodedBody(jsontext.decode(text.encode()), True, text.encode())
        except ValueError:
            pass
    start = texts[0].lstrip()
    is_page = start.startswith("<") if media.type in _HTML else _BEGINS_AS_HTML.match(start) is not None
    return DecodedBody(None, False, texts[0].encode(), is_page)


def _texts(media: MediaType, body: bytes) -> Iterator[str]:
    """What the bytes may mean: in the charset that is named, in the one that JSON shows by itself, in Latin-1.

    In the last of them every byte is a character, and JSON's own are where they would be in most others.
    """
    for codec in (media.charset, json.detect_encoding(body), "iso-8859-1"):
        if codec:
            try:
                yield body.decode(codec).removeprefix("\ufeff")
            except ValueError:
                continue
