"""The public port: bytes in, status out. A raw ASGI endpoint, since everything a sender waits for passes here."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge import jsontext
from bridge.errors import BridgeError, Refused
from bridge.model import Receipt, Request, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.intake import Intake
from bridge.receiving.limits import Limits
from bridge.settings.source_schema import RespondSettings
from bridge.times import Clock, now
from bridge.web.bodies import Bodies
from bridge.web.connections import Connections
from bridge.web.problems import Answer, for_error, problem, unavailable

_CLOSE = (b"connection", b"close")
_LIMITS = Limits()
_WEBHOOKS = "/webhooks/"


class Webhooks:
    """The ASGI application at `/webhooks/{source}`. `closing` set: it asks senders to come again.

    `max_body` is the most bytes of one body; `connections` are those to serve it on.
    """

    def __init__(self, intake: Intake, max_body: int, clock: Clock = now, limits: Limits = _LIMITS) -> None:
        self._intake = intake
        self._clock = clock
        self._bodies = Bodies(limits, max_body)
        self.connections = Connections(limits, lambda reason, client: intake.refused(None, reason, client, 0))
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = await self._answer(scope, receive)
        unread = _CLOSE in headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            await self._bodies.skip(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if self.closing:
            return unavailable("the bridge is stopping, please send it again")
        client = scope["client"][0] if scope.get("client") else ""
        source = scope["path"][len(_WEBHOOKS) :]
        compiled = self._intake.sources.get(source)
        if compiled is None or not compiled.settings.enabled:
            self._intake.refused(
                source if compiled else None, "source_disabled" if compiled else "unknown_source", client, 0
            )
            return problem(404, "there is no such source", _CLOSE)
        if scope["method"] not in compiled.settings.methods:
            allowed = ", ".join(compiled.settings.methods)
            self._intake.refused(source, "method", client, 0)
            return problem(405, f"send by {allowed}", (b"allow", allowed.encode()), _CLOSE)
        headers = tuple(scope["headers"])
        try:
            body = await self._bodies.read(scope, headers, receive)
        except Refused as error:
            self._intake.refused(source, error.reason, client, 0)
            return for_error(error)
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
            return _accepted(await self._intake.receive(request), compiled.settings.respond)
        except BridgeError as error:
            return for_error(error)
        except Exception as error:
            log.error(logs.WEBHOOK_UNSTORED, source=source, client=client, **logs.where(error))
            return unavailable("the bridge itself failed, please send it again")


def _accepted(receipt: Receipt, respond: RespondSettings) -> Answer:
    by_state = {
        WebhookState.MAPPED: respond.accepted,
        WebhookState.IGNORED: respond.ignored,
        WebhookState.FAILED: respond.failed,
        WebhookState.UNREADABLE: respond.unreadable,
    }
    status = (receipt.duplicate and respond.duplicate) or by_state[receipt.state] or respond.accepted
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
        exception_handlers={HTTPException: _not_served},
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


def _not_served(_: object, error: Exception) -> Response:
    """404 and 405 for what is none of these paths."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    _, headers, body = problem(status)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
