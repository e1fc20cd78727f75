"""A body that its own proof stands in: read before it is proven, just as strictly and as bounded as proven ones are.

What is read here serves the proof alone; nothing of it is stored or logged.
"""

from typing import Any

from bridge import content_codings
from bridge.errors import NotVerified, Unreadable
from bridge.media_types import MediaType, media_type
from bridge.model import Content, Request
from bridge.receiving import body, forms
from bridge.receiving.verification.headers import Headers
from bridge.receiving.verification.reasons import Reason

MOST_BRACKETS = 50_000  # of JSON: each costs a hundred times what a byte of text does, and 300 may come at once


def read(request: Request, headers: Headers, content: Content) -> dict[str, Any]:
    """The object that a body is; a form's fields are text, or a list where a name is repeated.

    Raises:
        NotVerified: it is none, has more brackets than any sender's, or is compressed: a stranger's bytes are not blown
            up.
    """
    if content is Content.JSON and request.body.count(b"[") + request.body.count(b"{") > MOST_BRACKETS:
        raise NotVerified(Reason.BODY_MALFORMED)
    if not content_codings.is_none(headers.get(b"content-encoding")):
        raise NotVerified(Reason.BODY_MALFORMED)
    try:
        value = body.read({"content-type": _content_type(headers)}, request.body, content).value
    except Unreadable:
        raise NotVerified(Reason.BODY_MALFORMED) from None
    if not isinstance(value, dict):
        raise NotVerified(Reason.BODY_MALFORMED)
    return value


def content_type(headers: Headers) -> MediaType:
    """What a body says that it is.

    Raises:
        NotVerified: it says so at too great length.
    """
    try:
        return media_type(_content_type(headers))
    except Unreadable:
        raise NotVerified(Reason.BODY_MALFORMED) from None


def fields(request: Request, headers: Headers) -> dict[str, Any]:
    """The fields of a URL-encoded form as they were sent, text or lists of texts.

    Raises:
        NotVerified: it is none.
    """
    try:
        return forms.url_encoded(content_type(headers), request.body)
    except Unreadable:
        raise NotVerified(Reason.BODY_MALFORMED) from None


def text(members: dict[str, Any], name: str, missing: Reason = Reason.BODY_MALFORMED) -> str:
    """A member that is text, and not empty.

    Raises:
        NotVerified: it is not there (for the reason `missing`), or something else.
    """
    value = members.get(name)
    if value is None or value == "":
        raise NotVerified(missing)
    if not isinstance(value, str):
        raise NotVerified(Reason.BODY_MALFORMED)
    return value


def _content_type(headers: Headers) -> str:
    return headers.get(b"content-type").decode("latin-1")
