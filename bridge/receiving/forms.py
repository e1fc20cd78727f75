"""Forms as objects: a field is its text, a field that stands there more than once the list of its texts.

An uploaded file is `{"name", "type", "size", "text"}`: its text only where it is text in UTF-8 and short, else null.
"""

import re
from base64 import b64decode
from binascii import a2b_qp
from itertools import islice
from typing import Any
from urllib.parse import unquote

from bridge.errors import Unreadable
from bridge.media_types import MediaType, media_type

MAX_FIELDS = 10_000
MAX_FILE_TEXT = 64 * 1024  # bytes of a file whose text expressions see
_MOST_PARAMETERS = 20  # of a part's Content-Disposition; more are not looked at
_MAX_HEAD = 8 * 1024  # bytes of a part's headers

URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")  # a percent sign that stands for itself
_PART_OF_ANOTHER = re.compile(rb"\r\ncontent-disposition\s*:", re.IGNORECASE)
_PARAMETER = re.compile(r""";\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\["\\]|\\(?!["\\]))*)"|([^;"\s]*))""", re.ASCII)


def url_encoded(media: MediaType, raw: bytes) -> dict[str, Any]:
    """Read `a=1&b=2`.

    Raises:
        Unreadable: it is not in its charset (UTF-8 where none is named), or has too many fields.
    """
    if raw.count(b"&") >= MAX_FIELDS:
        raise _too_many()
    raw, stray = _STRAY.subn(b"%25", raw, MAX_FIELDS + 1)
    if stray > MAX_FIELDS:
        raise Unreadable("the form has too many percent signs that are no escapes")
    pairs = (pair.partition(b"=") for pair in raw.split(b"&") if pair)
    return _gathered([(media.decode(_unquoted(name)), media.decode(_unquoted(value))) for name, _, value in pairs])


def _unquoted(raw: bytes) -> bytes:
    """As urllib's, whose way takes 80 times the memory of what it reads; a pattern's takes ten times the time.

    Forms may have to be read before anything is proven. Quoted-printable is the same but for its sign.
    """
    return a2b_qp(raw.replace(b"+", b" ").replace(b"=", b"=3D").replace(b"%", b"="))


def multipart(media: MediaType, raw: bytes) -> dict[str, Any]:
    """Read multipart/form-data (RFC 7578).

    Raises:
        Unreadable: it is not one, is cut off, or has too many fields.
    """
    if not media.boundary:
        raise Unreadable("the Content-Type names no boundary of the multipart body")
    delimiter = b"\r\n--" + media.boundary.encode("latin-1", "replace")
    pieces = (b"\r\n" + raw).split(delimiter, MAX_FIELDS + 1)
    end = next((number for number, piece in enumerate(pieces) if number and piece.startswith(b"--")), None)
    if end is None:
        raise _too_many() if len(pieces) > MAX_FIELDS + 1 else Unreadable("the multipart body has no end")
    if _PART_OF_ANOTHER.search(pieces[0]) or (end == 1 and pieces[0].strip()):
        raise Unreadable("the parts of the multipart body have another boundary than its Content-Type names")
    return _gathered([_part(piece, media) for piece in pieces[1:end]])


def _part(piece: bytes, around: MediaType) -> tuple[str, Any]:
    piece = piece.lstrip(b" \t")  # may follow a delimiter
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not piece.startswith(b"\r\n") or not separator or len(head) > _MAX_HEAD:
        raise Unreadable("a part of the multipart body has no headers, or too many")
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    disposition = headers.get("content-disposition", "")
    parameters = _parameters(disposition)
    if "name" not in parameters:
        raise Unreadable("a part of the multipart body has no name")
    name = parameters["name"]
    media = media_type(headers.get("content-type", ""))
    content = _transferred(headers.get("content-transfer-encoding", ""), content)
    file_name = parameters.get("filename")
    if file_name is None:
        return name, (media if media.charset != "" else around).decode(content)
    return name, {"name": file_name, "type": media.type, "size": len(content), "text": _file_text(media, content)}


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
        value = re.sub(r'\\(["\\])', r"\1", quoted) if quoted else plain
        if name.endswith("*"):
            charset, _, rest = value.partition("'")
            encoded = rest.partition("'")[2]
            if charset.lower() == "utf-8":
                found[name[:-1].lower()] = unquote(encoded, errors="replace")
        else:
            found.setdefault(name.lower(), value)
    return found


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


def _too_many() -> Unreadable:
    return Unreadable(f"the form has more than {MAX_FIELDS:,} fields")
