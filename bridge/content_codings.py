"""Bounded Content-Encoding decompression (RFC 9110, 8.4.1), in memory.

The limit holds for what comes out, while it comes out: a bomb ends where it grows too large. One coding, of as many
members (RFC 1952, 2.2) or frames (RFC 8878, 3.1) as its format takes: several codings on top of each other, or data
behind the end, are no sender's.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import zstandard

from bridge.errors import Undecodable

_WINDOW = 1 << 23  # bytes: what RFC 9659 allows on the web
_ZSTD_STEP = 64  # bytes at a time, which become 2 MiB at most: four are a block, and a block is 128 KiB
_GZIP_STEP = 1024  # bytes at a time, which become 1 MiB at most
_MOST_PARTS = 1000  # members or frames, which cost time however little comes out of them

ACCEPTED = ("gzip", "deflate", "br", "zstd")
GZIP_MARK = b"\x1f\x8b\x08"  # RFC 1952, 2.3.1: the two bytes of its id, and the only method that there is
_NONE = frozenset(["", "identity", "none", "utf-8", "utf8", "us-ascii", "iso-8859-1", "7bit", "8bit", "binary"])
"""No coding, and what senders write there by mistake: charsets, and the encodings of mail."""
SUPPORTED = _NONE | {"x-gzip", *ACCEPTED}


def is_supported(content_encoding: bytes) -> bool:
    """Whether a body with this Content-Encoding can be read."""
    return content_encoding.decode("latin-1").strip().lower() in SUPPORTED


def is_none(content_encoding: bytes) -> bool:
    """Whether a body with this Content-Encoding is as it stands."""
    return content_encoding.decode("latin-1").strip().lower() in _NONE


def decompress(content_encoding: str, raw: bytes, limit: int) -> bytes:
    """The body as the sender meant it; no bytes stay no bytes.

    Raises:
        Undecodable: the coding is none of `SUPPORTED`, the data is damaged, or it has more than `limit` bytes.
    """
    name = content_encoding.strip().lower()
    if name not in SUPPORTED:
        raise Undecodable(f"the Content-Encoding is none of {', '.join(ACCEPTED)}")
    if name in _NONE or not raw:
        return raw
    try:
        body = _DECOMPRESSORS[name](raw, limit)
    except (zlib.error, brotli.error, zstandard.ZstdError, _Damaged):
        raise Undecodable(f"the body's {name} data is damaged, or not {name}") from None
    if body is None or len(body) > limit:
        raise Undecodable(f"the body is larger than {limit} bytes when it is decompressed")
    return body


class _Damaged(Exception):
    """The data ends too early, or goes on after its end."""


def _gzip(raw: bytes, limit: int) -> bytes | None:
    return _part_by_part(raw, limit, _GZIP_STEP, lambda: zlib.decompressobj(zlib.MAX_WBITS | 16))


def _deflate(raw: bytes, limit: int) -> bytes | None:
    """The zlib format, as the RFC means it, or bare deflate, as some senders do."""
    wrapped = len(raw) >= 2 and raw[0] & 0x0F == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
    stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    body = stream.decompress(raw, limit + 1)
    if len(body) > limit:
        return None
    if not stream.eof or stream.unused_data:
        raise _Damaged
    return body


def _brotli(raw: bytes, limit: int) -> bytes | None:
    stream = brotli.Decompressor()
    body: bytes = stream.process(raw, output_buffer_limit=limit + 1)  # may exceed it by one more growth of its buffer
    if len(body) > limit:
        return None
    if not stream.is_finished():
        raise _Damaged
    return body


def _zstd(raw: bytes, limit: int) -> bytes | None:
    decompressor = zstandard.ZstdDecompressor(max_window_size=max(_WINDOW, limit))
    return _part_by_part(raw, limit, _ZSTD_STEP, decompressor.decompressobj)


class _Stream(Protocol):
    """One member or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _part_by_part(raw: bytes, limit: int, step: int, opened: Callable[[], _Stream]) -> bytes | None:
    """What all the parts come to, `step` bytes at a time; None where that is more than `limit`."""
    pieces: list[bytes] = []
    room, start, parts = limit, 0, 1
    stream = opened()
    while start < len(raw):
        if stream.eof:
            if not raw[start] and not raw[start:].strip(b"\0"):  # padding, which gzip's own tools leave out too
                break
            parts += 1
            stream = opened()
        piece = raw[start : start + step]
        pieces.append(stream.decompress(piece))
        room -= len(pieces[-1])
        if room < 0:
            return None
        if parts > _MOST_PARTS:
            raise _Damaged
        start += len(piece) - len(stream.unused_data)
    if not stream.eof:
        raise _Damaged
    return b"".join(pieces)


_DECOMPRESSORS: dict[str, Callable[[bytes, int], bytes | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
