"""What a verified body says, by the content that its source declares: a value of JSON's types, whatever came.

Strict, bounded, no deeper than the rest of the bridge can carry. docs/content.md describes the values.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from bridge import content_codings, jsontext
from bridge.errors import Unreadable
from bridge.media_types import MediaType, media_type
from bridge.model import Content
from bridge.receiving import cloud_events, forms, markup

MAX_DEPTH = 100
_MANY = MAX_DEPTH + 1  # brackets: more need not be counted
_NESTING = (dict, list)
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
) -> Any:
    """Parse a body as it was received; `headers` have lower-case names, `limit` is in bytes after decompression.

    `depth`, of at most MAX_DEPTH, is how many levels it may have.

    Raises:
        Unreadable: it is not what `content` says, too large or too deep; the text never quotes the body.
    """
    body = content_codings.decompress(headers["content-encoding"], raw, limit) if "content-encoding" in headers else raw
    media = media_type(headers.get("content-type", ""))
    if cloud_events.is_binary(headers):
        event = cloud_events.event(headers, {"data": _READERS[content](media, body)} if body else {})
        return _shallow(event, depth)
    value = _READERS[content](media, body)
    return value if depth >= MAX_DEPTH else _shallow(value, depth)


def _json(media: MediaType, body: bytes) -> Any:
    if media.type == forms.URL_ENCODED and body.lstrip()[:1] not in (b"{", b"["):  # curl -d calls JSON so
        payload = forms.url_encoded(media, body).get("payload")
        if not isinstance(payload, str):
            raise Unreadable("the body is a form without a payload, and the source's content is json")
        return _parsed(payload.encode())
    return _parsed(body if media.charset in ("", "utf-8") else media.decode(body).encode())


def _parsed(text: bytes) -> Any:
    if not text:
        raise Unreadable("the body is empty, and the source's content is json")
    try:
        value = jsontext.decode(text)
    except ValueError as error:
        raise Unreadable(f"the body is not JSON in UTF-8: {str(error)[:120]}") from None
    # Every level costs a bracket, so few brackets need no walk. Taking some out is how bytes are counted fastest.
    brackets = 2 * len(text) - len(text.replace(b"[", b"", _MANY)) - len(text.replace(b"{", b"", _MANY))
    return _shallow(value) if brackets > MAX_DEPTH else value


def _form(media: MediaType, body: bytes) -> Any:
    if media.type == forms.MULTIPART:
        fields = forms.multipart(media, body)
    elif media.type in ("", forms.URL_ENCODED):
        fields = forms.url_encoded(media, body)
    else:
        raise Unreadable("the Content-Type is not that of a form, and the source's content is form")
    payload = fields.get("payload")
    if isinstance(payload, str) and payload.lstrip()[:1] in ("{", "["):
        fields["payload"] = _parsed(payload.encode())
    return _shallow(fields)


def _xml(media: MediaType, body: bytes) -> Any:
    if not body:
        raise Unreadable("the body is empty, and the source's content is xml")
    return _shallow(markup.read(media, body, MAX_DEPTH))


def _text(media: MediaType, body: bytes) -> str:
    if not body:
        raise Unreadable("the body is empty, and the source's content is text")
    return media.decode(body)


def _any(_media: MediaType, body: bytes) -> str:
    try:
        return body.decode()
    except ValueError:
        return b64encode(body).decode()


_READERS: Mapping[Content, Callable[[MediaType, bytes], Any]] = {
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
