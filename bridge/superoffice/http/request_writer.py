"""Serializes httpx requests for HTTP/1.1: the head, and how the body is framed."""

from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

import httpx

_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})
_LENGTHS = frozenset(map(len, _FRAMING))
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # these say so where their body is empty

Header = tuple[bytes, bytes]


class SerializedRequest(NamedTuple):
    """A request's head, with its body where that is one piece; else `length` says how long the body will be.

    `length` None: it is sent in chunks.
    """

    data: bytes
    is_whole: bool
    length: int | None


def serialize(request: httpx.Request, target: bytes, more: Iterable[Header] = ()) -> SerializedRequest:
    """Serialize a request for this `target` of its first line, with `more` headers.

    Raises:
        httpx.LocalProtocolError: a header holds the end of a line, or its Content-Length is no number.
    """
    headers = request.headers.raw
    given = {name.lower(): value for name, value in headers if len(name) in _LENGTHS and name.lower() in _FRAMING}
    if given:
        headers = [header for header in headers if header[0].lower() not in given]
    headers.append((b"Host", given.get(b"host", request.url.netloc)))
    stream = request.stream
    whole = b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
    length = None
    if b"transfer-encoding" in given:
        headers.append((b"Transfer-Encoding", given[b"transfer-encoding"]))
        if whole is not None:
            whole = chunk(whole) + LAST_CHUNK
    elif whole is not None:
        if whole or b"content-length" in given or request.method in _WITH_BODY:
            headers.append((b"Content-Length", b"%d" % len(whole)))
    elif b"content-length" in given:
        length = _number(given[b"content-length"])
        headers.append((b"Content-Length", b"%d" % length))
    else:
        headers.append((b"Transfer-Encoding", b"chunked"))
    head = serialize_head(request.method.encode(), target, [*headers, *more])
    return SerializedRequest(head if whole is None else head + whole, whole is not None, length)


def serialize_head(method: bytes, target: bytes, headers: list[Header]) -> bytes:
    """The head of a request.

    Raises:
        httpx.LocalProtocolError: a part of it holds the end of a line.
    """
    lines = [b"%s %s HTTP/1.1\r\n" % (method, target), *[b"%s: %s\r\n" % header for header in headers], b"\r\n"]
    head = b"".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines):
        raise httpx.LocalProtocolError("a header holds the end of a line")  # what follows would be read as another one
    return head


async def framed(stream: httpx.AsyncByteStream, length: int | None) -> AsyncGenerator[bytes, None]:
    """The pieces of a body as they go over the wire; `length` as in SerializedRequest.

    Raises:
        httpx.LocalProtocolError: they are not as long as the Content-Length says.
        Whatever the stream raises.
    """
    left = length
    async for piece in stream:
        if left is not None:
            left -= len(piece)
            if left < 0:
                raise httpx.LocalProtocolError("the body is longer than its Content-Length")
        if piece:  # an empty chunk would be the last one
            yield piece if left is not None else chunk(piece)
    if left:
        raise httpx.LocalProtocolError("the body is shorter than its Content-Length")
    if left is None:
        yield LAST_CHUNK


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A chunk of a body; nothing for no data."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def _number(length: bytes) -> int:
    if not length.isdigit():
        raise httpx.LocalProtocolError("the Content-Length is no number")
    return int(length)
