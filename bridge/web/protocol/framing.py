"""Body framing (RFC 9112, 6 and 7): by Content-Length or in chunks.

It is read by us, since what parsers make of chunks differs.

Both kinds take what comes next by `read(data)`. It answers what of that belongs to the body, and what comes after the
body's end, or None where the end is still to come. `left_unread`: there was more than should be read at once; the next
`read` goes on with it.
"""

import re

from bridge.errors import Refused

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_LINE = re.compile(rb"(?=[0-9A-Fa-f])0{0,16}([0-9A-Fa-f]{0,16})((?:%b)*)" % _EXTENSION)
_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)
_CHUNKS_AT_ONCE = 250  # a fraction of a millisecond's work
_LARGEST_CHUNK = 1 << 31  # bytes: a body is held in memory, so none of that size is taken


def is_chunked(transfer_encoding: bytes) -> bool:
    """Whether a Transfer-Encoding ends in chunks: else nobody could tell where the body ends."""
    return transfer_encoding.lower().rpartition(b",")[2].strip(b" \t") == b"chunked"


class FixedLength:
    """A body of as many bytes as its Content-Length says."""

    __slots__ = ("_left",)
    left_unread = False

    def __init__(self, length: int) -> None:
        self._left = length

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """As the module says."""
        left = self._left
        if len(data) < left:
            self._left -= len(data)
            return data, None
        return data[:left], data[left:]


class Chunked:
    """A body in chunks. Extensions and trailers are ignored, and may have `most_around` bytes in all."""

    __slots__ = ("_after_chunk", "_around", "_begun", "_in_trailers", "_left", "left_unread")

    def __init__(self, most_around: int) -> None:
        self._around = most_around
        self._left = 0  # bytes of the chunk that is being read
        self._after_chunk = False  # only its line end is left
        self._in_trailers = False
        self._begun = b""  # a line, of which the end is still to come, or what is left unread
        self.left_unread = False

    def read(self, data: bytes) -> tuple[bytes, bytes | None]:
        """As the module says.

        Raises:
            Refused: these are no chunks, or what stands around them is too large.
        """
        data = self._begun + data
        self.left_unread = False
        pieces: list[bytes] = []
        at = 0
        while len(pieces) < _CHUNKS_AT_ONCE:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
            if self._left or (end := data.find(b"\r\n", at)) < 0:
                break
            line, at = data[at:end], end + 2
            if self._in_trailers and not line:
                return b"".join(pieces), data[at:]
            self._take(line)
        else:
            self._begun, self.left_unread = data[at:], True
            return b"".join(pieces), None
        self._begun = data[at:]
        if self._after_chunk and self._begun not in (b"", b"\r"):
            raise _malformed()
        if len(self._begun) > self._around:
            raise _too_large()
        return b"".join(pieces), None

    def _take(self, line: bytes) -> None:
        if self._after_chunk:
            if line:
                raise _malformed()
            self._after_chunk = False
        elif self._in_trailers:
            if not _TRAILER.fullmatch(line):
                raise _malformed()
            self._ignore(len(line))
        else:
            found = _SIZE_LINE.fullmatch(line)
            if not found or (size := int(found[1] or b"0", 16)) > _LARGEST_CHUNK:
                raise _malformed()
            self._ignore(len(found[2]))
            self._left, self._after_chunk, self._in_trailers = size, size > 0, size == 0

    def _ignore(self, size: int) -> None:
        self._around -= size
        if self._around < 0:
            raise _too_large()


def _malformed() -> Refused:
    return Refused("bad_request", "the body's chunks could not be read safely")


def _too_large() -> Refused:
    return Refused("headers_too_large", "what stands around the body's chunks is too large")
