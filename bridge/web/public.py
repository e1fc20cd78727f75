"""The public port: bytes in, status out. A raw ASGI endpoint, since everything a sender waits for passes here."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bridge import jsontext
from bridge.errors import BridgeError, Refused
from bridge.model import Receipt, Request, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.intake import Intake
from bridge.settings.source_schema import RespondSettings
from bridge.times import Clock, now
from bridge.web.problems import Answer, for_error, problem, unavailable

_BODY_WITHIN = 30.0  # seconds from the first byte to the last
_HEADERS_LIMIT = 64 * 1024  # bytes of all names and values


class Webhooks:
    """The ASGI application at `/webhooks/{source}`. `closing` set: it asks senders to come again."""

    def __init__(self, intake: Intake, max_body: int, clock: Clock = now, body_within: float = _BODY_WITHIN) -> None:
        self._intake = intake
        self._max_body = max_body
        self._clock = clock
        self._body_within = body_within
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, headers, body = await self._answer(scope, receive)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

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
            return problem(404, "there is no such source", (b"connection", b"close"))
        if scope["method"] not in compiled.settings.methods:
            allowed = ", ".join(compiled.settings.methods)
            self._intake.refused(source, "method", client, 0)
            return problem(405, f"send by {allowed}", (b"allow", allowed.encode()), (b"connection", b"close"))
        try:
            body = await self._body(scope, receive)
        except Refused as error:
            self._intake.refused(source, error.reason, client, 0)
            return for_error(error)
        request = Request(
            source=source,
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"],
            headers=tuple(scope["headers"]),
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

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADERS_LIMIT:
            raise Refused(431, "headers_too_large", "the headers are too large")
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_body:
                raise self._too_large()
        try:
            async with asyncio.timeout(self._body_within):
                return await self._read(receive)
        except TimeoutError:
            raise Refused(408, "body_too_slow", f"the body did not arrive within {self._body_within:g} s") from None

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "body_cut_off", "the body was cut off")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

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

    return Starlette(
        routes=[
            Route("/webhooks/{source}", endpoint=webhooks),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )
