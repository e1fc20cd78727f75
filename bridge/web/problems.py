"""Errors as HTTP responses (RFC 9457, application/problem+json): the only place that maps errors to statuses.

What RFC 9110 wants beside a status is added here: WWW-Authenticate (401), Allow (405), Accept-Encoding (415).
"""

from http import HTTPStatus
from math import ceil

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bridge import jsontext
from bridge.content_codings import ACCEPTED
from bridge.errors import BridgeError, KeyUnavailable, NotVerified, Refused, StoreUnavailable
from bridge.receiving.handshakes.handshake import HandshakeRefusal

RawAnswer = tuple[int, list[tuple[bytes, bytes]], bytes]

RETRY_AFTER = 5  # seconds
REFUSALS = {  # the status of each reason for which a request is `Refused`
    "bad_request": 400,
    "body_cut_off": 400,
    "host_invalid": 400,
    "address_not_allowed": 403,
    "body_too_slow": 408,
    "head_too_slow": 408,
    "body_too_large": 413,
    "unverified_body_too_large": 413,
    "target_too_long": 414,
    "content_encoding": 415,
    "too_many_failures": 429,
    "too_many_webhooks": 429,
    "headers_too_large": 431,
    "source_busy": 503,
    "too_many_bodies": 503,
    "version_not_supported": 505,
}
HANDSHAKE_REFUSALS = {  # and of each for which a handshake is refused; of all others 403
    HandshakeRefusal.MALFORMED: 400,
    HandshakeRefusal.CONFIRMATION_FAILED: 503,
    HandshakeRefusal.STORE_UNAVAILABLE: 503,
}


def problem(status: int, detail: str, *headers: tuple[bytes, bytes]) -> RawAnswer:
    """An answer that says what is wrong, without quoting the request."""
    title = HTTPStatus(status).phrase
    body = jsontext.encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    length = str(len(body)).encode()
    return (
        status,
        [(b"content-type", b"application/problem+json"), (b"content-length", length), *headers],
        body,
    )


def unavailable(detail: str) -> RawAnswer:
    """503 with Retry-After: the sender is asked to come again."""
    return problem(503, detail, (b"retry-after", str(RETRY_AFTER).encode()))


def for_handshake(refusal: HandshakeRefusal) -> RawAnswer:
    """The answer to a handshake that is refused."""
    status = HANDSHAKE_REFUSALS.get(refusal, 403)
    detail = "the handshake is refused"
    return unavailable(detail) if status == 503 else problem(status, detail)


def unauthorized(detail: str, challenge: str) -> RawAnswer:
    """401; `challenge` says by which authentication scheme a request is proven."""
    return problem(401, detail, (b"www-authenticate", challenge.encode()))


def not_allowed(methods: str) -> RawAnswer:
    """405, with the methods that may be used."""
    return problem(405, f"send by {methods}", (b"allow", methods.encode()))


def for_error(error: BridgeError, challenge: str) -> RawAnswer:
    """The answer to a request that ended in this error; `challenge` is what proves one to its source."""
    match error:
        case KeyUnavailable():
            return unavailable("the request could not be verified now, please send it again")
        case NotVerified():  # the reason stays in the log: a forger learns nothing from it
            return unauthorized("the request could not be verified", challenge)
        case Refused():
            status = REFUSALS[error.reason]
            wait = RETRY_AFTER if error.retry_after is None and status == 503 else error.retry_after
            beside = [] if wait is None else [(b"retry-after", str(max(1, ceil(wait))).encode())]
            if status == 415:
                beside.append((b"accept-encoding", ", ".join(ACCEPTED).encode()))
            return problem(status, error.detail, *beside)
        case StoreUnavailable():
            return unavailable("the webhook could not be stored, please send it again")
    return unavailable("the bridge itself failed, please send it again")


def not_served(error: HTTPException) -> RawAnswer:
    """The answer to a request that no route of a port takes."""
    if error.status_code == 405 and error.headers:
        return not_allowed(", ".join(sorted(error.headers["Allow"].split(", "))))  # Starlette's come in any order
    return problem(error.status_code, "there is nothing at this path" if error.status_code == 404 else error.detail)


def failed(*_: object) -> Response:
    """The answer where the bridge itself failed: whoever serves the port logs where."""
    return response(problem(500, "the bridge itself failed, its log says where"))


def response(answer: RawAnswer) -> Response:
    """An answer as Starlette's routes give it."""
    status, headers, body = answer
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
