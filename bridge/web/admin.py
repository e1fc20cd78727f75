"""The admin port, for operators and their monitoring; every request shows the bearer token."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.observing.metrics import Metrics
from bridge.settings.secrets import Secret
from bridge.web.problems import problem


class _Bearer:
    """Lets a request pass that shows the token."""

    def __init__(self, app: ASGIApp, token: Secret) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shown = next((value for name, value in scope.get("headers", ()) if name == b"authorization"), b"")
        if scope["type"] == "http" and not hmac.compare_digest(shown, b"Bearer " + self._token.reveal().encode()):
            status, headers, body = problem(
                401, "send Authorization: Bearer and the admin token", (b"www-authenticate", b"Bearer")
            )
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)


def application(token: Secret, metrics: Metrics, reasons: Callable[[], Awaitable[list[str]]]) -> Starlette:
    """The admin port's application. `reasons` says why the bridge is not ready; nothing to say means it is."""

    async def readyz(_: Request) -> Response:
        unready = await reasons()
        return JSONResponse({"ready": not unready, "reasons": unready}, 503 if unready else 200)

    async def show_metrics(_: Request) -> Response:
        text = await asyncio.to_thread(metrics.render)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/readyz", readyz), Route("/metrics", show_metrics)],
        middleware=[Middleware(_Bearer, token=token)],
    )
