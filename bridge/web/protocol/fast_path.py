"""Fast path past ASGI: a complete body is taken at once, a response goes out in one write.

ASGI takes an answer as two messages, each of which uvicorn writes for itself: one system call more for every webhook.
Elsewhere than on uvicorn's HTTP/1.1 connections, and wherever it is not that simple, there is nothing to be had here,
and ASGI's own ways are left.
"""

from starlette.types import Receive
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from bridge.web.problems import RawAnswer


def whole_body(receive: Receive) -> bytes | None:
    """The body of the request that `receive` belongs to, if all of it has come; it is taken by that."""
    cycle = _cycle(receive)
    if cycle is None or cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected:
        return None
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


def answer_at_once(receive: Receive, answer: RawAnswer) -> bool:
    """Answer the request that `receive` belongs to; False where that is left to do by ASGI.

    The answer has a Content-Length, and leaves it to uvicorn whether the connection stays.
    """
    cycle = _cycle(receive)
    status, headers, body = answer
    if cycle is None or not body or cycle.scope["method"] == "HEAD" or cycle.disconnected or cycle.response_started:
        return False
    if HEADER_VALUE_RE.search(b"".join([value for _, value in headers])):
        return False  # uvicorn says what is wrong with it
    fields = b"\r\n".join(map(b": ".join, (*cycle.default_headers, *headers)))
    end = b"\r\n\r\n" if cycle.keep_alive else b"\r\nconnection: close\r\n\r\n"
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join((STATUS_LINE[status], fields, end, body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _cycle(receive: Receive) -> RequestResponseCycle | None:
    cycle = getattr(receive, "__self__", None)  # kept in the request's scope, it would be a loop for the collector
    return cycle if isinstance(cycle, RequestResponseCycle) else None
