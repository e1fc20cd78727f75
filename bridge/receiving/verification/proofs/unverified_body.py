"""Parses bodies that contain their own signature, before verification: only the fields of the proof.

All else is passed over, which takes some milliseconds for a MiB, however it is made. What is read here serves the proof
alone; nothing of it is stored or logged. Rules read the whole body anew, and must find the same fields: so where it
could be read in two ways, it is not proven.
"""

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import Field

from bridge import content_codings
from bridge.content_codings import GZIP_MARK
from bridge.errors import NotVerified, Unreadable
from bridge.media_types import BYTE_ORDER_MARK, MediaType, media_type
from bridge.model import Request
from bridge.receiving.content import forms, json_text
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders

S = TypeVar("S", bound=msgspec.Struct)

_UTF8 = ("", "utf-8")
MOST_PARTS = 200
MOST_FIELDS = 2_000
MOST_ESCAPES = 10_000  # of JSON in which half a pair of surrogates is looked for

MaxFields = Annotated[
    int | None,
    Field(
        ge=1,
        le=forms.MAX_FIELDS,
        description=f"how many fields its forms may have; {MOST_FIELDS:,}, or {MOST_PARTS} parts, if left out",
    ),
]


def members(request: Request, headers: RequestHeaders, kind: type[S]) -> S:
    """What a JSON body says of a Struct's fields; the last counts where one stands there twice, as for the rules.

    Raises:
        NotVerified: it is none in UTF-8, or compressed: a stranger's bytes are not blown up.
    """
    body = _plain(request, headers)
    if content_type(headers).charset not in _UTF8:
        raise NotVerified(Reason.BODY_MALFORMED)
    try:
        body.decode()  # text that is passed over is not looked at, and could be read in another charset
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError:
            raise
        except ValueError:
            if body.count(b"\\") > MOST_ESCAPES:
                raise
            return msgspec.json.decode(json_text.without_halves(body), type=kind)
    except (ValueError, RecursionError):
        raise NotVerified(Reason.BODY_MALFORMED) from None


def fields(
    request: Request, headers: RequestHeaders, names: Collection[str], most: int | None = None
) -> dict[str, Any]:
    """The fields of these names in a form: text, or a list where a name is repeated, or what is told of a file.

    Raises:
        NotVerified: it is none, is compressed, or has more fields than `most` (MOST_FIELDS or MOST_PARTS for None).
    """
    media, body = content_type(headers), _plain(request, headers)
    most = most or (MOST_PARTS if media.type == forms.MULTIPART else MOST_FIELDS)
    return _read(lambda: forms.only(names, media, body, most))


def all_fields(request: Request, headers: RequestHeaders, most: int | None = None) -> dict[str, Any]:
    """All fields of a URL-encoded form, where all are signed.

    Raises:
        NotVerified: as `fields`.
    """
    media, body = content_type(headers), _plain(request, headers)
    return _read(lambda: forms.url_encoded(media, body, most or MOST_FIELDS))


def _read(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except forms.TooManyFields:
        raise NotVerified(Reason.TOO_MANY_FIELDS) from None
    except Unreadable:
        raise NotVerified(Reason.BODY_MALFORMED) from None


def _plain(request: Request, headers: RequestHeaders) -> bytes:
    """The body, as rules read it where it is not compressed; also not where it doesn't say so."""
    if not content_codings.is_none(headers.get(b"content-encoding")) or request.body.startswith(GZIP_MARK):
        raise NotVerified(Reason.BODY_MALFORMED)
    return request.body.removeprefix(BYTE_ORDER_MARK)


def content_type(headers: RequestHeaders) -> MediaType:
    """What a body says that it is.

    Raises:
        NotVerified: it says so at too great length.
    """
    try:
        return media_type(headers.get(b"content-type").decode("latin-1"))
    except Unreadable:
        raise NotVerified(Reason.BODY_MALFORMED) from None


def text(value: Any, missing: Reason = Reason.BODY_MALFORMED) -> str:
    """A field that is text, and not empty.

    Raises:
        NotVerified: it is not there (for the reason `missing`), or something else.
    """
    if value is None or value == "":
        raise NotVerified(missing)
    if not isinstance(value, str):
        raise NotVerified(Reason.BODY_MALFORMED)
    return value
