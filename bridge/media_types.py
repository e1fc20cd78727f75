"""Parses a Content-Type header: media type, charset, multipart boundary."""

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from bridge.errors import Undecodable

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST = 500  # characters of a Content-Type; RFC 2046 allows a boundary 70

_PARAMETER = re.compile(r""";\s*([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))""", re.ASCII)

# By name, since Python knows codecs that no sender means (such as punycode, whose time is quadratic), and remembers
# every name that it was asked for.
_CHARSETS = {
    "": "",
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii", "ansi_x3.4-1968"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1"), "iso-8859-1"),
    **{f"iso-8859-{part}": f"iso-8859-{part}" for part in (*range(2, 12), *range(13, 17))},
    **{f"windows-{page}": f"cp{page}" for page in (874, *range(1250, 1259))},
    **{f"cp{page}": f"cp{page}" for page in (437, 850, 866, 932, 936, 949, 950, *range(1250, 1259))},
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be")},
    **{name: name for name in ("koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "euc-kr", "euc-jp")},
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis"), "shift_jis"),
    "iso-2022-jp": "iso2022_jp",
    "macintosh": "mac_roman",
    "tis-620": "tis_620",
}


# What browsers read where nothing is named: bytes that the code page leaves open are control characters.
_WINDOWS_1252 = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(256)
)


class MediaType(NamedTuple):
    """A Content-Type in parts: `type` such as `application/json`, in lower case.

    `charset` is a codec's name, empty where none is named (which means UTF-8), None where it is unknown.
    """

    type: str
    charset: str | None
    boundary: str

    def decode(self, raw: bytes) -> str:
        """Text in the charset.

        Raises:
            Undecodable: the charset is unknown, or the bytes are not in it.
        """
        if self.charset is None:
            raise Undecodable("the Content-Type names a charset that is not known")
        try:
            return raw.decode(self.charset or "utf-8") if self.charset != "cp1252" else _windows_1252(raw)
        except ValueError:
            raise Undecodable(f"the body is not in the charset {self.charset or 'utf-8'}") from None

    def as_browsers_would(self) -> "MediaType":
        """The same in windows-1252, where no charset is named: for text that is not in UTF-8.

        Source: the WHATWG Encoding Standard, 4.2, and its default for the western world.
        """
        return self._replace(charset="cp1252")


def _windows_1252(raw: bytes) -> str:
    return codecs.charmap_decode(raw, "strict", _WINDOWS_1252)[0]


@lru_cache(maxsize=64)
def _parsed(text: str) -> MediaType:
    parameters: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(text):
        parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or plain)
    charset = parameters.get("charset", "").strip("'").lower()
    type_ = text.partition(";")[0].strip().lower()
    return MediaType(type_, _CHARSETS.get(charset), parameters.get("boundary", ""))


def media_type(text: str) -> MediaType:
    """Read a Content-Type, empty text for none.

    Raises:
        Undecodable: it is longer than any sender's.
    """
    if len(text) > LONGEST:
        raise Undecodable("the Content-Type is too long")
    return _parsed(text)
