"""Errors as HTTP answers: one place that knows which error is which status (RFC 9457, application/problem+json)."""

from http import HTTPStatus
from math import ceil

from bridge import jsontext
from bridge.errors import BridgeError, KeyUnavailable, NotVerified, Refused, StoreUnavailable

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

RETRY_AFTER = 5  # seconds


def problem(status: int, detail: str = "", *headers: tuple[bytes, bytes]) -> Answer:
    """An answer that says what is wrong, without quoting the request."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        content["detail"] = detail
    body = jsontext.encode(content)
    length = str(len(body)).encode()
    return (
        status,
        [(b"content-type", b"application/problem+json"), (b"content-length", length), *headers],
        body,
    )


def unavailable(detail: str) -> Answer:
    """503 with Retry-After: the sender is asked to come again."""
    return problem(503, detail, (b"retry-after", str(RETRY_AFTER).encode()))


def for_error(error: BridgeError) -> Answer:
    """The answer to a request that ended in this error."""
    match error:
        case KeyUnavailable():
            return unavailable("the request could not be verified now, please send it again")
        case NotVerified():  # the reason stays in the log: a forger learns nothing from it
            return problem(401, "the request could not be verified")
        case Refused():
            wait = RETRY_AFTER if error.retry_after is None and error.status == 503 else error.retry_after
            again = [] if wait is None else [(b"retry-after", str(max(1, ceil(wait))).encode())]
            return problem(error.status, error.detail, *again)
        case StoreUnavailable():
            return unavailable("the webhook could not be stored, please send it again")
    return unavailable("the bridge itself failed, please send it again")
