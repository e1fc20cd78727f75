"""Parses a verified body by the content that its source declares, into values of JSON's types.

Strict, bounded, no deeper than the rest of the bridge can carry. docs/content.md describes the values.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from bridge import content_codings
from bridge.errors import Undecodable, Unreadable
from bridge.media_types import BYTE_ORDER_MARK, MediaType, media_type
from bridge.model import Content
from bridge.receiving.content import cloud_events, forms, json_text, xml
from bridge.receiving.content.json_text import UNKNOWN, ReadBody

MAX_DEPTH = 100
_MANY = MAX_DEPTH + 1  # brackets: more need not be counted
_NESTING = (dict, list)
_FORMS = (forms.URL_ENCODED, forms.MULTIPART)
_NEVER_GZIP = (Content.JSON, Content.FORM, Content.XML)  # none of them can begin as gzip does
LIMIT = 1 << 20  # bytes of a decompressed body, where nobody says otherwise

USUAL_TYPES: Mapping[Content, str] = {
    Content.JSON: "application/json",
    Content.FORM: forms.URL_ENCODED,
    Content.XML: "application/xml",
    Content.TEXT: "text/plain; charset=utf-8",
    Content.ANY: "application/octet-stream",
}
"""The Content-Type that a sender of each content gives."""


def read(
    headers: Mapping[str, str], raw: bytes, content: Content = Content.JSON, limit: int = LIMIT, depth: int = MAX_DEPTH
) -> ReadBody:
    """Parse a body as it was received; `headers` have lower-case names, `limit` is in bytes after decompression.

    `depth`, of at most MAX_DEPTH, is how many levels it may have. Repaired is what was compressed without saying so, or
    is in another charset than it should be, and JSON with half a pair of surrogates.

    Raises:
        Unreadable: it is not what `content` says, too large or too deep; the text never quotes the body.
    """
    body = raw
    if "content-encoding" in headers:
        body = content_codings.decompress(headers["content-encoding"], raw, limit)
    unpacked = body is raw and raw.startswith(content_codings.GZIP_MARK) and content in _NEVER_GZIP
    if unpacked:
        body = content_codings.decompress("gzip", raw, limit)
    media = media_type(headers.get("content-type", ""))
    if cloud_events.is_binary(headers):
        data, repaired = _READERS[content](media, body) if body else (None, False)
        value: Any = _shallow(cloud_events.event(headers, {"data": data} if body else {}), depth)
    else:
        value, repaired = _READERS[content](media, body)
        if depth < MAX_DEPTH:
            _shallow(value, depth)
    return ReadBody(value, repaired or unpacked)


def json(raw: bytes) -> Any:
    """The JSON that a body is, as a source of JSON reads it where nothing is known of its Content-Type.

    Raises:
        Unreadable: it is none.
    """
    return _parsed(UNKNOWN, raw).value


def _json(media: MediaType, body: bytes) -> ReadBody:
    if media.type in _FORMS and body.lstrip()[:1] not in (b"{", b"["):  # curl -d calls JSON so
        fields, repaired = _fields(media, body)
        payload = fields.get("payload")
        if not isinstance(payload, str):
            raise Unreadable("the body is a form without a payload, and the source's content is json")
        value, mended = _parsed(UNKNOWN, payload.encode())
        return ReadBody(value, repaired or mended)
    return _parsed(media, body)


def _parsed(media: MediaType, text: bytes) -> ReadBody:
    if not text:
        raise Unreadable("the body is empty, and the source's content is json")
    read = json_text.read(text, media)
    # Every level costs a bracket, so few brackets need no walk. Taking some out is how bytes are counted fastest.
    brackets = 2 * len(text) - len(text.replace(b"[", b"", _MANY)) - len(text.replace(b"{", b"", _MANY))
    if brackets > MAX_DEPTH:
        _shallow(read.value)
    return read


def _form(media: MediaType, body: bytes) -> ReadBody:
    if media.type not in ("", *_FORMS):
        raise Unreadable("the Content-Type is not that of a form, and the source's content is form")
    fields, repaired = _fields(media, body)
    payload = fields.get("payload")
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        fields["payload"], mended = _parsed(UNKNOWN, payload.encode())
        repaired = repaired or mended
    return ReadBody(_shallow(fields), repaired)


def _fields(media: MediaType, body: bytes) -> ReadBody:
    read = forms.multipart if media.type == forms.MULTIPART else forms.url_encoded
    return _in_its_charset(media, lambda media: read(media, body.removeprefix(BYTE_ORDER_MARK)))


def _xml(media: MediaType, body: bytes) -> ReadBody:
    if not body:
        raise Unreadable("the body is empty, and the source's content is xml")
    return ReadBody(_shallow(xml.read(media, body, MAX_DEPTH)))


def _text(media: MediaType, body: bytes) -> ReadBody:
    if not body:
        raise Unreadable("the body is empty, and the source's content is text")
    return _in_its_charset(media, lambda media: media.decode(body.removeprefix(BYTE_ORDER_MARK)).removeprefix("\ufeff"))


def _in_its_charset(media: MediaType, read: Callable[[MediaType], Any]) -> ReadBody:
    """What is read in the charset that is named; where none is, in UTF-8, or else as browsers do."""
    try:
        return ReadBody(read(media))
    except Undecodable:
        if media.charset != "":
            raise
        return ReadBody(read(media.as_browsers_would()), repaired=True)


def _any(_media: MediaType, body: bytes) -> ReadBody:
    try:
        return ReadBody(body.decode())
    except ValueError:
        return ReadBody(b64encode(body).decode())


_READERS: Mapping[Content, Callable[[MediaType, bytes], ReadBody]] = {
    Content.JSON: _json,
    Content.FORM: _form,
    Content.XML: _xml,
    Content.TEXT: _text,
    Content.ANY: _any,
}


def _shallow(value: Any, depth: int = MAX_DEPTH) -> Any:
    level = [value] if isinstance(value, _NESTING) else []
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, _NESTING)
        ]
        if not level:
            return value
    raise Unreadable(f"the body is nested deeper than {depth} levels")
