"""The sandbox's HTTP server: takes SendEvent on a real port, records it, and shows faults on request.

`{anything}/api/v1/Agents/Workflow/SendEvent` is SuperOffice, `/api/state/{tenant}` tells of a tenant of SuperOffice
Online, `/sandbox/...` is what people and tests steer it by.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Scope
from uvicorn import Config
from uvicorn.loops.auto import auto_loop_factory
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bridge.sandbox import logins
from bridge.sandbox.answers import HttpAnswer, page
from bridge.sandbox.creators import CREATORS
from bridge.sandbox.endpoint import MAX_BODY, FaultyEndpoint
from bridge.sandbox.faults import Fault, faults_from_json
from bridge.sandbox.state import RecordedEvent, Sandbox
from bridge.sandbox.tenants import STATE
from bridge.sandbox.versions import NEWEST

__all__ = ["RecordedEvent", "Sandbox", "application", "run", "serving"]

_AGENT = "/api/v1/Agents/Workflow/"
_SEND_EVENT = _AGENT + "SendEvent"
_MAX_SCRIPT_BODY = 1024 * 1024
_MAX_URL = 2048  # bytes of path and query
_IDLE = 120  # seconds until an unused connection is closed
_GOODBYE = 1.0  # seconds for answers under way when the sandbox closes


def application(sandbox: Sandbox) -> Starlette:
    """The sandbox as an ASGI application. Faults that lie in the manner of answering need `serving` or `run`."""

    async def get_events(request: Request) -> Response:
        return _json(sandbox.events(request.query_params.get("tenant")))

    async def delete_events(_: Request) -> Response:
        sandbox.forget_events()
        return Response(status_code=204)

    async def get_requests(_: Request) -> Response:
        return _json(sandbox.requests)

    async def get_faults(_: Request) -> Response:
        return _json(sandbox.script.as_json())

    async def post_faults(request: Request) -> Response:
        try:
            sandbox.script.add(faults_from_json(await request.body()))
        except ValueError as problem:
            return _json({"detail": str(problem)}, 400)
        return _json(sandbox.script.as_json())

    async def delete_faults(_: Request) -> Response:
        sandbox.clear_faults()
        return Response(status_code=204)

    async def get_tenants(_: Request) -> Response:
        return _json(sandbox.tenants.as_json())

    async def post_tenants(request: Request) -> Response:
        try:
            sandbox.tenants.set_from_json(await request.body())
        except ValueError as problem:
            return _json({"detail": str(problem)}, 400)
        return _json(sandbox.tenants.as_json())

    async def delete_tenants(_: Request) -> Response:
        sandbox.tenants.forget()
        return Response(status_code=204)

    async def get_logins(_: Request) -> Response:
        return _json(sandbox.log_ins.count)

    async def delete_logins(_: Request) -> Response:
        sandbox.log_ins.forget()
        return Response(status_code=204)

    async def get_private_key(request: Request) -> Response:
        shown = logins.rsa_xml if request.query_params.get("format") == "xml" else logins.pem
        return PlainTextResponse(shown(sandbox.log_ins.private_key))

    async def get_api(request: Request) -> Response:
        tenant = request.path_params.get("tenant") or "default"
        accept = request.headers.get("accept", "")
        return _response(sandbox.api(tenant, str(request.url.replace(query="")), accept))

    async def describe_send_event(request: Request) -> Response:
        tenant = request.path_params.get("tenant") or "default"
        return _response(sandbox.describe_send_event(tenant, request.headers.raw))

    async def create(request: Request) -> Response:
        tenant = request.path_params.get("tenant") or "default"
        creator = request.url.path.rpartition("/")[2]
        return _response(sandbox.create(tenant, request.headers.raw, creator, await request.body()))

    def take_event(tenant: str, scope: Scope, body: bytes) -> HttpAnswer:
        if len(body) > MAX_BODY:
            return page(413)
        if len(scope["raw_path"]) + len(scope["query_string"]) > _MAX_URL:
            return page(414)
        return sandbox.send_event(tenant, scope["headers"], scope["query_string"], body)

    def tenant_state(tenant: str, scope: Scope, _: bytes) -> HttpAnswer:
        return sandbox.tenants.state(tenant, f"http://{Headers(scope=scope).get('host', '')}")

    def log_in(answer: Callable[[bytes], HttpAnswer]) -> FaultyEndpoint:
        return FaultyEndpoint(
            sandbox, lambda _, __, body: page(413) if len(body) > MAX_BODY else answer(body), logins.CALLED
        )

    send_event = FaultyEndpoint(sandbox, take_event)
    return Starlette(
        routes=[
            Route(logins.TOKENS, log_in(sandbox.log_ins.tokens), methods=["POST"]),
            Route(logins.AUTHENTICATE, log_in(sandbox.log_ins.authenticate), methods=["POST"]),
            Route(logins.JWKS, log_in(lambda _: sandbox.log_ins.jwks())),
            Route(STATE + "{tenant}", FaultyEndpoint(sandbox, tenant_state, "state/{tenant}"), methods=["GET"]),
            Route("/sandbox/tenants", get_tenants),
            Route("/sandbox/tenants", post_tenants, methods=["POST"], max_body_size=_MAX_SCRIPT_BODY),
            Route("/sandbox/tenants", delete_tenants, methods=["DELETE"]),
            Route("/sandbox/logins", get_logins),
            Route("/sandbox/logins", delete_logins, methods=["DELETE"]),
            Route("/sandbox/private-key", get_private_key),
            Route("/{tenant:path}" + _SEND_EVENT, send_event, methods=["POST"]),
            Route(_SEND_EVENT, send_event, methods=["POST"]),
            Route("/{tenant:path}" + _SEND_EVENT, describe_send_event),
            Route(_SEND_EVENT, describe_send_event),
            *(
                Route(where + _AGENT + creator, create, methods=["POST"], max_body_size=_MAX_SCRIPT_BODY)
                for creator in CREATORS
                for where in ("/{tenant:path}", "")
            ),
            Route("/{tenant:path}/api", get_api),
            Route("/api", get_api),
            Route("/sandbox/events", get_events),
            Route("/sandbox/events", delete_events, methods=["DELETE"]),
            Route("/sandbox/requests", get_requests),
            Route("/sandbox/faults", get_faults),
            Route("/sandbox/faults", post_faults, methods=["POST"], max_body_size=_MAX_SCRIPT_BODY),
            Route("/sandbox/faults", delete_faults, methods=["DELETE"]),
        ]
    )


@asynccontextmanager
async def serving(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the sandbox from the running event loop; gives its URL, such as `http://127.0.0.1:49152`.

    uvicorn's protocol on a listener of our own rather than `uvicorn.Server`, which polls, takes the process's signals,
    and would wait for requests that hang.

    Raises:
        OSError: the address is not free.
    """
    loop = asyncio.get_running_loop()
    config = Config(
        application(sandbox),
        http=_Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
    )
    config.load()
    state = ServerState()
    # asyncio binds, not we: it sets TCP_NODELAY only on sockets that name their protocol, which socket.create_server's
    # do not. Without it every answer waits 40 ms for an acknowledgement.
    server = await loop.create_server(lambda: _Protocol(config, state, {}, loop), host, port, backlog=2048)
    address, number = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
    finally:
        server.close()
        sandbox.hang_up()
        for connection in tuple(state.connections):
            connection.shutdown()
        await _ended(state.tasks)
        for connection in tuple(state.connections):
            connection.transport.abort()
        await _ended(state.tasks)
        await server.wait_closed()
        await asyncio.sleep(0)  # transports say goodbye in the loop's next round


def run(
    host: str = "127.0.0.1",
    port: int = 8090,
    faults: Iterable[Fault | str] = (),
    on_ready: Callable[[str], None] | None = None,
    version: str = NEWEST,
) -> None:
    """Serve until SIGTERM or SIGINT. `on_ready` gets the URL once requests are taken.

    Raises:
        ValueError: a fault's text is no fault, or the version is none.
        OSError: the address is not free.
    """
    sandbox = Sandbox(faults, version=version)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with serving(sandbox, host, port) as url:
            if on_ready:
                on_ready(url)
            await stop.wait()

    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        runner.run(serve())


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, whose requests can reach the transport in order to cut the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tuple(tasks), timeout=_GOODBYE)


def _response(answer: HttpAnswer) -> Response:
    headers = {"content-type": answer.content_type.decode()}
    return Response(answer.body, answer.status, headers | {n.decode(): v.decode() for n, v in answer.headers})


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
