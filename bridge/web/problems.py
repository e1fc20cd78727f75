"""Errors as HTTP answers: one place that knows which error is which status (RFC 9457, application/problem+json)."""

from http import HTTPStatus

from bridge import jsontext
from bridge.errors import BridgeError, NotVerified, Refused, StoreUnavailable

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
        case NotVerified():  # the reason stays in the log: a forger learns nothing from it
            return problem(401, "the request could not be verified")
        case Refused():
            # The rest of the body is not read, so the connection cannot carry another request.
            again = [(b"retry-after", str(RETRY_AFTER).encode())] if error.status == 503 else []
            return problem(error.status, error.detail, (b"connection", b"close"), *again)
        case StoreUnavailable():
            return unavailable("the webhook could not be stored, please send it again")
    return unavailable("the bridge itself failed, please send it again")
