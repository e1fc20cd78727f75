"""Escapes text from strangers, so that it can be shown on a terminal."""

import re

# Control characters, C1 among them; those that turn or break lines (Unicode's Bidi_Control, U+2028, U+2029), and their
# deprecated kin; halves of surrogate pairs, which nothing can write.
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """Text without a character that acts: each is written as JSON would escape it, so that JSON stays what it is."""
    return _ACTING.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text)
