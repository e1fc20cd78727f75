"""What commands ask for: of the running bridge on its admin port, or of the record here where none runs.

What the rules have a say in is asked of the running bridge, since its rules are those that count: what is shown first
is then what will be done. The rest of what only reads is read here, beside a running bridge or without one.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from bridge.errors import BridgeError, ConfigError, Problem, Severity, StoreError, StoreLocked
from bridge.mapping.rules import Rules
from bridge.operations.actions.operator import Operator
from bridge.operations.actions.requests import asker_name, read
from bridge.operations.actions.table import find, perform, preview
from bridge.operations.queries import Queries
from bridge.operations.rules.send import reachable
from bridge.settings.configuration import Names
from bridge.settings.schema import AdminSettings
from bridge.store import database
from bridge.store.reader import Reader
from bridge.store.store import Store, owned

_WITHIN = 600.0  # seconds: a change of a million events takes a while, and so does its preview
_SHOWN_WITHIN = 30.0  # seconds for one record: it can be read here as well
_CONNECTED_WITHIN = 5.0


class NotAsked(BridgeError):
    """The running bridge could not be asked; says why."""


class Unanswered(BridgeError):
    """The running bridge was asked for a change, and whether it made it is not known."""


def ask(
    path: str,
    payload: dict[str, Any] | None = None,
    *,
    store_url: str,
    admin: Callable[[], AdminSettings | None],
    rules: Callable[[], Mapping[str, Rules]],
    names: Names,
    targets: Mapping[str, str | None],
    name: str = "",
) -> Any:
    """Read `path` (below /api, such as `webhooks/ID`), or ask for a change (`events/replay`) with a JSON payload.

    `name`: who asks for the change.

    Raises:
        BridgeError: it was refused, and why.
    """
    asker = asker_name(name)
    by_rules = path.startswith(("webhooks/", "explain/")) if payload is None else find(path)[0].by_rules
    note = None
    if by_rules and database.is_owned(store_url):
        try:
            return _there(path, payload, admin(), asker)
        except (ConfigError, NotAsked) as error:
            if payload is not None and payload.get("yes"):
                raise
            told = _first(error) if isinstance(error, ConfigError) else error
            note = f"{told}; so these are the rules of the files"
    try:
        todays_rules = rules() if by_rules else {}
    except ConfigError as error:
        if payload is not None:
            raise
        note, todays_rules = f"the rules of the files cannot be used: {_first(error)}", {}
    queries = Queries(
        reader=Reader(store_url),
        rules=todays_rules,
        names=names,
        target_urls=targets,
        note=lambda: note,
    )
    if payload is None:
        return read(queries, path)
    if (seen := preview(queries, path, payload)) is not None:
        return seen
    try:
        return _here(path, payload, queries, asker)
    except StoreLocked:
        return _there(path, payload, admin(), asker)


def _first(error: ConfigError) -> Problem:
    return next(problem for problem in error.problems if problem.severity is Severity.ERROR)


def _here(path: str, payload: dict[str, Any], queries: Queries, asker: str | None) -> Any:
    async def run(store: Store) -> Any:
        await store.start()
        try:
            operator = Operator(store=store, queries=queries, wake=lambda _: None, changed=lambda _: None)
            return await perform(operator, path, payload, asker)
        finally:
            await asyncio.to_thread(store.close)

    database.must_exist(queries.reader.url)  # an empty one would say that nothing is left to erase
    with owned(queries.reader.url) as engine:
        return asyncio.run(run(Store(engine)))


def _there(path: str, payload: dict[str, Any] | None, settings: AdminSettings | None, asker: str | None) -> Any:
    if settings is None:
        hint = "add admin to bridge.yaml and restart it, or stop it first"
        raise NotAsked(f"the store belongs to a running bridge that has no admin port, {hint}")
    url = f"http://{reachable(settings.host)}:{settings.port}/api/{quote(path)}"
    headers = [(b"Authorization", b"Bearer " + settings.token.reveal().encode())]
    if asker:
        headers.append((b"X-Operator", asker.encode()))
    method, within = ("GET", _SHOWN_WITHIN) if payload is None else ("POST", _WITHIN)
    timeout = httpx.Timeout(within, connect=_CONNECTED_WITHIN)
    try:
        answer = httpx.request(method, url, json=payload, headers=headers, timeout=timeout, trust_env=False)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotAsked(f"the running bridge does not answer at {url} ({type(error).__name__})") from None
    except httpx.TransportError as error:
        told = f"the running bridge took this request at {url}, and did not answer it ({type(error).__name__})"
        if payload is not None and payload.get("yes", True):
            raise Unanswered(f"{told}: it may be done all the same, operator.changed in its log says so") from None
        raise NotAsked(told) from None
    if answer.status_code == 401:
        raise NotAsked("the running bridge refuses the admin token, give this command the same one")
    try:
        content = answer.json()
    except ValueError:
        raise NotAsked(f"what answers at {url} is no bridge's admin port, correct admin in bridge.yaml") from None
    if answer.status_code != 200:
        detail = content.get("detail") if isinstance(content, dict) else None
        raise StoreError(str(detail or f"the running bridge answered {answer.status_code}"))
    return content
