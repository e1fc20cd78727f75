"""Parses JSON as senders write it: UTF-8 whatever its Content-Type says (RFC 8259, 8.1), common mistakes repaired.

What is right costs nothing: only where the plain reading fails is anything else tried.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge import jsontext
from bridge.errors import Unreadable
from bridge.media_types import BYTE_ORDER_MARK, MediaType

UNKNOWN = MediaType("", "", "")

# An escape: a whole pair of surrogates, half of one (the group), or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F])..|.)", re.DOTALL
)


class ReadBody(NamedTuple):
    """A value, and whether what the sender wrote had to be put right for it."""

    value: Any
    repaired: bool = False


def read(text: bytes, media: MediaType = UNKNOWN) -> ReadBody:
    """Parse a document. A byte order mark is skipped, half a pair of surrogates becomes U+FFFD.

    The charset of its Content-Type is tried where it is none in UTF-8.

    Raises:
        Unreadable: it is none either way; the text says where, and never quotes it.
    """
    try:
        return ReadBody(jsontext.decode(text))
    except ValueError as error:
        wrong = str(error)
    plain = text.removeprefix(BYTE_ORDER_MARK)
    for other in _others(plain, media):
        try:
            return ReadBody(jsontext.decode(other), repaired=other != plain)
        except ValueError as error:
            if len(other) == len(plain):  # else what it says is of another text
                wrong = str(error)
    raise Unreadable(f"the body is not JSON: {wrong[:120]}")


def _others(text: bytes, media: MediaType) -> Iterator[bytes]:
    """What the document may have been meant as, the likeliest first."""
    yield text
    yield without_halves(text)
    if media.charset not in ("", "utf-8"):
        named = media.decode(text).removeprefix("\ufeff").encode()
        yield named
        yield without_halves(named)


def without_halves(text: bytes) -> bytes:
    """A document with U+FFFD for each half of a pair of surrogates."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)
