"""The public port: the webhook endpoint, /healthz and /readyz.

The endpoint is raw ASGI, since everything a sender waits for passes here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge import jsontext
from bridge.errors import BridgeError, Refused
from bridge.model import Receipt, Request, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.handshakes.handshake import Reply
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.addresses import Callers
from bridge.receiving.limits.request_limits import Limits
from bridge.receiving.sources import CompiledSource
from bridge.settings.source_schema import RespondSettings
from bridge.times import now
from bridge.web.bodies import BodyReader
from bridge.web.problems import (
    RawAnswer,
    failed,
    for_error,
    for_handshake,
    not_allowed,
    not_served,
    problem,
    response,
    unavailable,
)
from bridge.web.protocol.connections import Connections
from bridge.web.protocol.fast_path import answer_at_once
from bridge.web.protocol.request_reader import FIELDS

_AS_IT_SAYS = (b"x-content-type-options", b"nosniff")  # echoed text is never looked at for HTML
_LIMITS = Limits()
_PATH_SHOWN = 200  # characters of a path in a log line
_WEBHOOKS = "/webhooks/"
_MAPPED: Final = WebhookState.MAPPED  # as an attribute of its class, each look at it costs more than a call
_ANY = Callers()


class _Unread(Exception):
    """A request is answered before its body is read."""

    def __init__(self, answer: RawAnswer) -> None:
        super().__init__()
        self.answer = answer


class Webhooks:
    """The ASGI application at `/webhooks/{source}`. `closing` set: it asks senders to come again.

    `sources` gives those of the configuration that is in force; `callers` tells clients where none of them is called;
    `connections` are those to serve it on.
    """

    def __init__(
        self,
        intake: Intake,
        reporter: IntakeReporter,
        sources: Callable[[], Mapping[str, CompiledSource]],
        clock: Callable[[], int] = now,
        limits: Limits = _LIMITS,
        callers: Callers = _ANY,
    ) -> None:
        self._intake = intake
        self._reporter = reporter
        self._clock = clock
        self._sources = sources
        self._callers = callers
        self.bodies = BodyReader(limits)
        self.connections = Connections(limits, lambda reason, client: reporter.refused(None, reason, client, 0))
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _Unread as unread:
            await self.bodies.leave(unread.answer, receive, send)
            return
        if not answer_at_once(receive, answer):
            status, headers, body = answer
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> RawAnswer:
        """The answer to a request that was read.

        Raises:
            _Unread: it is refused before that.
        """
        if self.closing:
            return unavailable("the bridge is stopping, please send it again")
        source = scope["path"][len(_WEBHOOKS) :]
        headers = tuple(scope["headers"])
        compiled = self._sources().get(source)
        client = (compiled.callers if compiled else self._callers).client(_peer(scope), headers)
        if compiled is None or not compiled.settings.enabled:
            known = source if compiled else None
            self._reporter.refused(known, "source_disabled" if compiled else "unknown_source", client, 0, _path(scope))
            raise _Unread(problem(404, "there is no such source"))
        handshake = compiled.handshake
        sends = scope["method"] in compiled.settings.methods
        if not sends and (handshake is None or scope["method"] not in handshake.methods):
            raise _Unread(self._no_such_method(compiled, scope, client))
        try:
            self._intake.admit(compiled, client, scope[FIELDS])
            most_headers = compiled.settings.max_headers
            body = await self.bodies.read(scope, headers, receive, client, compiled.largest, most_headers)
        except Refused as error:
            self._reporter.refused(source, error.reason, client, 0)
            raise _Unread(for_error(error, compiled.verifier.challenge)) from None
        request = Request(
            source=source,
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"],
            headers=headers,
            body=body,
            received_at=self._clock(),
            client=client,
        )
        try:
            if handshake is not None and (reply := await self._intake.shake(compiled, request)):
                answer = _replied(reply)
            elif sends:
                answer = _accepted(await self._intake.receive(compiled, request), compiled.settings.respond)
            else:
                answer = self._no_such_method(compiled, scope, client)
        except BridgeError as error:
            answer = for_error(error, compiled.verifier.challenge)
        except Exception as error:
            log.error(logs.WEBHOOK_UNSTORED, source=source, client=client, **logs.where(error))
            answer = unavailable("the bridge itself failed, please send it again")
        return _bodiless(answer) if compiled.is_answered_empty else answer

    def not_served(self, request: HTTPConnection, error: Exception) -> Response:
        """Answer and tell of a request for what the port does not have: mostly a URL that was mistyped at a sender."""
        assert isinstance(error, HTTPException)  # noqa: S101 - it is a handler of those
        scope = request.scope
        client = self._callers.client(_peer(scope), scope["headers"])
        self._reporter.refused(None, "method" if error.status_code == 405 else "unknown_path", client, 0, _path(scope))
        return response(not_served(error))

    def _no_such_method(self, source: CompiledSource, scope: Scope, client: str) -> RawAnswer:
        self._reporter.refused(source.name, "method", client, 0, _path(scope))
        return not_allowed(", ".join(source.settings.methods))


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _path(scope: Scope) -> str:
    """The path as it was sent, so its odd characters are escaped; its query may hold secrets and is left out."""
    return str(scope["raw_path"][:_PATH_SHOWN], "latin-1")


def _replied(reply: Reply) -> RawAnswer:
    if reply.refused:
        return for_handshake(reply.refused)
    if reply.is_nothing:
        return 204, [*reply.headers], b""
    length = (b"content-length", str(len(reply.body)).encode())
    return 200, [*reply.headers, length, _AS_IT_SAYS], reply.body


def _bodiless(answer: RawAnswer) -> RawAnswer:
    status, headers, _ = answer
    kept = [(name, value) for name, value in headers if name not in (b"content-type", b"content-length")]
    return status, kept if status in (204, 205) else [*kept, (b"content-length", b"0")], b""


def _accepted(receipt: Receipt, respond: RespondSettings) -> RawAnswer:
    own = None if receipt.state is _MAPPED else getattr(respond, receipt.state)
    status = (receipt.duplicate and respond.duplicate) or own or respond.accepted
    shown = (b"x-webhook-id", receipt.webhook_id.encode())
    if status in (204, 205):  # these have no body
        return status, [shown], b""
    body = jsontext.encode({"id": receipt.webhook_id, "events": receipt.event_ids, "duplicate": receipt.duplicate})
    length = (b"content-length", str(len(body)).encode())
    return status, [(b"content-type", b"application/json"), length, shown], body


def application(webhooks: Webhooks, ready: Callable[[], Awaitable[bool]]) -> ASGIApp:
    """The public port's application: webhooks, and whether the process lives and is ready."""

    async def healthz(_: object) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: object) -> Response:
        return PlainTextResponse("ready\n") if await ready() else PlainTextResponse("not ready\n", 503)

    served = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={HTTPException: webhooks.not_served, Exception: failed},
    )
    served.router.redirect_slashes = False  # where to is the sender's own Host header, and few senders follow

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        # In front of Starlette, whose layers take a webhook as long as proving it.
        path = scope["path"]
        if path.startswith(_WEBHOOKS) and "/" not in path[len(_WEBHOOKS) :] and path != _WEBHOOKS:
            await webhooks(scope, receive, send)
        else:
            await served(scope, receive, send)

    return application
