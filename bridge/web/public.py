"""The public port: bytes in, status out. A raw ASGI endpoint, since everything a sender waits for passes here."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from bridge import jsontext
from bridge.errors import BridgeError, Refused
from bridge.model import Receipt, Request, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.intake import Intake
from bridge.receiving.limits import Limits
from bridge.settings.source_schema import RespondSettings
from bridge.times import Clock, now
from bridge.web.connections import Connections
from bridge.web.problems import Answer, for_error, problem, unavailable

_CLOSE = (b"connection", b"close")
_LIMITS = Limits()


class Webhooks:
    """The ASGI application at `/webhooks/{source}`. `closing` set: it asks senders to come again.

    `max_body` is the most bytes of one body; `connections` are those to serve it on.
    """

    def __init__(self, intake: Intake, max_body: int, clock: Clock = now, limits: Limits = _LIMITS) -> None:
        self._intake = intake
        self._max_body = max_body
        self._clock = clock
        self._limits = limits
        self._bodies = max(limits.bodies, max_body)
        self._held = 0  # bytes of bodies of which more is to come
        self.connections = Connections(limits, lambda reason, client: intake.refused(None, reason, client, 0))
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = await self._answer(scope, receive)
        unread = _CLOSE in headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            await self._linger(receive)
            await send({"type": "http.response.body", "body": b""})

    async def _linger(self, receive: Receive) -> None:
        """Throw away the rest of a refused request: a socket closed over unread bytes would take the answer along."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.linger):
                while (await receive()).get("more_body", False):
                    pass

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if self.closing:
            return unavailable("the bridge is stopping, please send it again")
        client = scope["client"][0] if scope.get("client") else ""
        source = scope["path_params"]["source"]
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
        headers = tuple(scope["headers"])  # the server adds to the list what stands after a chunked body: no headers
        try:
            self._check_head(scope, headers)
            body = await self._body(receive)
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

    def _check_head(self, scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> None:
        size = len(scope["raw_path"]) + len(scope["query_string"])
        size += sum([len(name) + len(value) for name, value in headers])
        if size > self._limits.head or len(headers) > self._limits.headers:
            raise Refused(431, "headers_too_large", "the headers are too large")
        for name, value in headers:
            if name == b"content-length" and int(value) > self._max_body:
                raise self._too_large()

    async def _body(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_within):
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    return self._whole(message["body"])
                return await self._pieces(message, receive)
        except TimeoutError:
            detail = f"the body did not arrive within {self._limits.body_within:g} s"
            raise Refused(408, "body_too_slow", detail) from None

    def _whole(self, body: bytes) -> bytes:
        if len(body) > self._max_body:
            raise self._too_large()
        return body

    async def _pieces(self, message: Message, receive: Receive) -> bytes:
        body = bytearray()
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise Refused(400, "body_cut_off", "the body was cut off")
                piece = message.get("body", b"")
                body += piece
                self._held += len(piece)
                if len(body) > self._max_body:
                    raise self._too_large()
                if not message.get("more_body", False):
                    return bytes(body)
                if self._held > self._bodies:
                    raise Refused(503, "too_many_bodies", "too many bodies are on their way, please send it again")
                message = await receive()
        finally:
            self._held -= len(body)

    def _too_large(self) -> Refused:
        return Refused(413, "body_too_large", f"the body is larger than {self._max_body} bytes")


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


def application(webhooks: Webhooks, ready: Callable[[], Awaitable[bool]]) -> Starlette:
    """The public port's application: webhooks, and whether the process lives and is ready."""

    async def healthz(_: object) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: object) -> Response:
        return PlainTextResponse("ready\n") if await ready() else PlainTextResponse("not ready\n", 503)

    served = Starlette(
        routes=[
            Route("/webhooks/{source}", endpoint=webhooks),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={HTTPException: _not_served},
    )
    served.router.redirect_slashes = False  # where to is the sender's own Host header, and few senders follow
    return served


def _not_served(_: object, error: Exception) -> Response:
    """404 and 405 for what is none of these paths."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    _, headers, body = problem(status)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
