"""The admin port's routes; `guard` stands before them and asks for the token."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge import jsontext
from bridge.errors import StoreError, StoreUnavailable
from bridge.observing.metrics import Metrics
from bridge.operations.actions.operator import Operator
from bridge.operations.actions.requests import InvalidRequest, asker_name, read
from bridge.operations.actions.table import perform
from bridge.operations.naming import UnknownName
from bridge.operations.queries import Queries
from bridge.settings.secrets import Secret
from bridge.store.reader import LATEST, LIMIT, Filter
from bridge.web.guard import Guard
from bridge.web.problems import failed, not_served, problem, response

_NUMBERS = {"since": (0, LATEST - 1), "limit": (1, 100_000)}


def application(
    token: Secret,
    metrics: Metrics,
    reasons: Callable[[], Awaitable[list[str]]],
    operator: Callable[[], Operator],
    failing: Callable[[], list[str]] = list,
) -> Guard:
    """The admin port's application. `reasons` says why the bridge is not ready; nothing to say means it is.

    `operator` gives who acts by the configuration that is in force, `failing` the long-running tasks that fail.
    """

    async def readyz(_: Request) -> Response:
        unready = await reasons()
        tasks = {"failing_tasks": failing()} if failing() else {}
        return JSONResponse({"ready": not unready, "reasons": unready, **tasks}, 503 if unready else 200)

    async def show_metrics(_: Request) -> Response:
        text = await asyncio.to_thread(metrics.render)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def records(request: Request) -> Response:
        """`GET /api/events|webhooks[/ID]` with the commands' filters, `/api/targets[/NAME]`, `/api/explain/ID`."""
        return JSONResponse(await asyncio.to_thread(_records, operator().queries, request))

    async def change(request: Request) -> Response:
        """`POST /api/events/replay` and the like: what the commands ask for."""
        body = await request.body()
        payload = jsontext.decode(body) if body else {}
        name = asker_name(_text(request, b"x-operator"))
        return JSONResponse(await perform(operator(), request.path_params["path"], payload, name))

    served = Starlette(
        routes=[
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
            Route("/api/{kind:str}", records, methods=["GET"]),
            Route("/api/{kind:str}/{id:str}", records, methods=["GET"]),
            Route("/api/{path:path}", change, methods=["POST"]),
        ],
        exception_handlers={
            InvalidRequest: _refused(400),
            UnknownName: _refused(400),
            ValueError: _refused(400),
            StoreUnavailable: _refused(503),
            StoreError: _refused(404),
            HTTPException: lambda _, error: response(not_served(error)),
            Exception: failed,
        },
    )
    served.router.redirect_slashes = False
    return Guard(served, token, metrics)


def _records(queries: Queries, request: Request) -> Any:
    kind, id_ = request.path_params["kind"], request.path_params.get("id")
    if not id_ and kind == "events":
        return queries.list_events(*_filter_and_limit(request))
    if not id_ and kind == "webhooks":
        return queries.list_webhooks(*_filter_and_limit(request))
    return read(queries, f"{kind}/{id_}" if id_ else kind)


def _filter_and_limit(request: Request) -> tuple[Filter, int]:
    given = dict(request.query_params)
    numbers = {name: _number(name, given.pop(name), *span) for name, span in _NUMBERS.items() if name in given}
    limit = numbers.pop("limit", LIMIT)
    if unknown := set(given) - {field.name for field in fields(Filter)}:
        raise InvalidRequest(f"unknown filter {', '.join(sorted(unknown))[:100]}")
    return Filter(**given, **numbers), limit  # type: ignore[arg-type]


def _number(name: str, text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and lowest <= int(text) <= highest):
        raise InvalidRequest(f"{name} must be a number from {lowest} to {highest}")
    return int(text)


def _text(request: Request, name: bytes) -> str:
    """A header's text: UTF-8 where it is that, else Latin-1, as with the headers of webhooks."""
    value = next((value for header, value in request.headers.raw if header == name), b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _refused(status: int) -> Callable[[Request, Exception], Response]:
    return lambda _, error: response(problem(status, str(error)))
