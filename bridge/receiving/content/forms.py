"""Parses forms, urlencoded and multipart, into objects of texts and lists of texts.

An uploaded file is `{"name", "type", "size", "text"}`: its text only where it is text in UTF-8 and short, else null.
"""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import unquote

from bridge.errors import Unreadable
from bridge.media_types import MediaType, media_type

MAX_FIELDS = 10_000
MAX_FILE_TEXT = 64 * 1024  # bytes of a file whose text expressions see
_MOST_PARAMETERS = 20  # of a part's Content-Disposition; more are not looked at
_MAX_HEAD = 8 * 1024  # bytes of a part's headers

URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_PADDING = re.compile(rb"[ \t]*")  # may follow a delimiter
_DISPOSITION, _TYPE, _TRANSFER = (
    re.compile(rb"\r\n[ \t]*content-" + name + rb"[ \t]*:(.*?)(?=\r\n|\Z)", re.IGNORECASE | re.DOTALL)
    for name in (b"disposition", b"type", b"transfer-encoding")
)
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")  # a percent sign that stands for itself
_PERCENT = ord("%")
_PIECE = 64 << 10  # bytes
_MULTIPART_BEGINS = re.compile(rb"--[^\r\n]{1,200}\r\ncontent-disposition[ \t]*:", re.IGNORECASE)
_PART_OF_ANOTHER = re.compile(rb"\r\ncontent-disposition\s*:", re.IGNORECASE)
_PARAMETER = re.compile(r""";\s*([\w*-]++)\s*=\s*(?:"((?:[^"\\]++|\\["\\]?)*+)"|([^;"\s]*))""", re.ASCII)


def url_encoded(media: MediaType, raw: bytes, most: int = MAX_FIELDS) -> dict[str, Any]:
    """Read `a=1&b=2`.

    Raises:
        TooManyFields: it has more than `most`.
        Unreadable: it is not in its charset (UTF-8 where none is named).
    """
    pairs = _pairs(raw, most)
    return _gathered([(media.decode(_unquoted(name)), media.decode(_unquoted(value))) for name, value in pairs])


def multipart(media: MediaType, raw: bytes) -> dict[str, Any]:
    """Read multipart/form-data (RFC 7578).

    Raises:
        TooManyFields, Unreadable: it is not one, is cut off, or has too many fields.
    """
    return _gathered([(part.name, part.value(raw, media)) for part in _parts(media, raw, MAX_FIELDS)])


def only(names: Collection[str], media: MediaType, raw: bytes, most: int) -> dict[str, Any]:
    """The fields of some names in ASCII, of a form that may be anybody's: of all others, nothing but the name is read.

    Raises:
        TooManyFields: it has more than `most`.
        Unreadable: it is no form, or what was read of it is not in its charset.
    """
    if media.type == MULTIPART:
        parts = _parts(media, raw, most)
        return _gathered([(part.name, part.value(raw, media)) for part in parts if part.name in names])
    wanted = {name.encode(): name for name in names}
    pairs = ((wanted.get(_unquoted(name)), value) for name, value in _pairs(raw, most))
    return _gathered([(name, media.decode(_unquoted(value))) for name, value in pairs if name is not None])


class TooManyFields(Unreadable):
    """A form has more fields than are read."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the form has more than {most:,} fields")


def _pairs(raw: bytes, most: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and values as they stand there, escaped."""
    if raw.count(b"&") >= most:
        raise TooManyFields(most)
    if _MULTIPART_BEGINS.match(raw):
        raise Unreadable("the body is multipart, and its Content-Type says that it is not")
    raw = _with_escapes_only(raw)
    begin = 0
    while begin < len(raw):
        end = raw.find(b"&", begin)
        pair = raw[begin : end if end >= 0 else len(raw)]
        if pair:
            name, _, value = pair.partition(b"=")
            yield name, value
        begin += len(pair) + 1


def _with_escapes_only(raw: bytes) -> bytes:
    """With each percent sign that begins no escape escaped itself."""
    pieces, stray = [], 0
    for piece in _pieces(raw):
        piece, found = _STRAY.subn(b"%25", piece)
        pieces.append(piece)
        stray += found
        if stray > MAX_FIELDS:
            raise Unreadable("the form has too many percent signs that are no escapes")
    return b"".join(pieces)


def _pieces(raw: bytes) -> Iterator[bytes]:
    """In pieces that end in no escape: work on all of a long text in one call would hold up every other thread."""
    begin = 0
    while begin < len(raw):
        end = begin + _PIECE
        if end < len(raw):
            end -= next((back for back in (1, 2) if raw[end - back] == _PERCENT), 0)
        yield raw[begin:end]
        begin = end


def _unquoted(raw: bytes) -> bytes:
    """As urllib's, whose way takes 80 times the memory of what it reads; a pattern's takes ten times the time.

    Forms may have to be read before anything is proven. Quoted-printable is the same but for its sign.
    """
    if len(raw) > _PIECE:
        return b"".join(map(_unquoted, _pieces(raw)))
    return a2b_qp(raw.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


class _Part(NamedTuple):
    """A part of a multipart body: its head and what that says of it, and where its content begins and ends."""

    name: str
    file_name: str | None
    head: bytes
    begin: int
    end: int

    def value(self, raw: bytes, around: MediaType) -> Any:
        """Its text, in the charset of the body `around` where it names none, or what is told of a file."""
        media = media_type(_header(_TYPE, self.head))
        content = _transferred(_header(_TRANSFER, self.head), raw[self.begin : self.end])
        if self.file_name is None:
            return (media if media.charset != "" else around).decode(content)
        return {
            "name": self.file_name,
            "type": media.type,
            "size": len(content),
            "text": _file_text(media, content),
        }


def _parts(media: MediaType, raw: bytes, most: int) -> Iterator[_Part]:
    if not media.boundary:
        raise Unreadable("the Content-Type names no boundary of the multipart body")
    delimiter = b"\r\n--" + media.boundary.encode("latin-1", "replace")
    end = -2 if raw.startswith(delimiter[2:]) else raw.find(delimiter)
    if end == -1:
        raise Unreadable("the boundary that the Content-Type names is not in the multipart body")
    before = b"\r\n" + raw[: max(0, end)]
    for count in range(most + 1):
        begin = end + len(delimiter)
        if raw.startswith(b"--", begin):
            if _PART_OF_ANOTHER.search(before) or (not count and before.strip()):
                raise Unreadable("the parts of the multipart body have another boundary than its Content-Type names")
            return
        if count == most:
            raise TooManyFields(most)
        end = raw.find(delimiter, begin)
        if end < 0:
            raise Unreadable("the multipart body has no end")
        yield _part(raw, begin, end)


def _part(raw: bytes, begin: int, end: int) -> _Part:
    begin = _PADDING.match(raw, begin, end).end()  # type: ignore[union-attr] # nothing is padding, too
    stop = raw.find(b"\r\n\r\n", begin, min(end, begin + _MAX_HEAD + 4))
    if stop < 0 or not raw.startswith(b"\r\n", begin):
        raise Unreadable("a part of the multipart body has no headers, or too many")
    head = raw[begin:stop]
    parameters = _parameters(_header(_DISPOSITION, head))
    if "name" not in parameters:
        raise Unreadable("a part of the multipart body has no name")
    return _Part(parameters["name"], parameters.get("filename"), head, stop + 4, end)


def _header(pattern: re.Pattern[bytes], head: bytes) -> str:
    found = pattern.search(head)
    return found[1].decode("utf-8", "replace").strip() if found else ""


def _transferred(encoding: str, content: bytes) -> bytes:
    """A part's content, undone from mail's encodings: RFC 7578, 4.7 deprecates them, and some senders go on.

    Raises:
        Unreadable: it is not in the encoding that it says.
    """
    match encoding.lower():
        case "base64":
            try:
                return b64decode(b"".join(content.split()), validate=True)
            except ValueError:
                raise Unreadable("a part of the multipart body is no base64, as it says") from None
        case "quoted-printable":
            return a2b_qp(content)
    return content


def _file_text(media: MediaType, content: bytes) -> str | None:
    if len(content) > MAX_FILE_TEXT:
        return None
    try:
        return media.decode(content)
    except Unreadable:
        return None


def _parameters(disposition: str) -> dict[str, str]:
    """The parameters of a Content-Disposition, as browsers and mail programs write them (RFC 7578, RFC 8187)."""
    found: dict[str, str] = {}
    for parameter in islice(_PARAMETER.finditer(disposition), _MOST_PARAMETERS):
        name, quoted, plain = parameter.groups(default="")
        value = _unescaped(quoted) if quoted else plain
        if name.endswith("*"):
            charset, _, rest = value.partition("'")
            encoded = rest.partition("'")[2]
            if charset.lower() == "utf-8":
                found[name[:-1].lower()] = unquote(encoded, errors="replace")
        else:
            found.setdefault(name.lower(), value)
    return found


def _unescaped(quoted: str) -> str:
    """As a pattern would, in a hundredth of the time; half a pair of surrogates is in no text that was decoded."""
    return quoted.replace("\\\\", "\udc00").replace('\\"', '"').replace("\udc00", "\\")


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    repeated: dict[str, list[Any]] = {}
    for name, value in pairs:
        if name in repeated:
            repeated[name].append(value)
        elif name in fields:
            repeated[name] = fields[name] = [fields[name], value]
        else:
            fields[name] = value
    return fields
