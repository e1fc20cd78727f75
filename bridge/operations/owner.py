"""Changes by command: asked of the running bridge on its admin port, or done here where none runs."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from bridge.errors import BridgeError, StoreError, StoreLocked
from bridge.mapping.rules import Rules
from bridge.operations.looking import Looking
from bridge.operations.operator import Operator
from bridge.operations.requests import look, perform
from bridge.operations.sending import reachable
from bridge.settings.schema import AdminSettings
from bridge.store.store import Store, owned

_WITHIN = 600.0  # seconds: a change of a million events takes a while


def ask(
    path: str,
    payload: dict[str, Any],
    *,
    store_url: str,
    admin: Callable[[], AdminSettings | None],
    rules: Callable[[], Mapping[str, Rules]],
    targets: Mapping[str, str | None],
) -> Any:
    """Perform `path` (below /api, such as `events/replay`) with a JSON payload, wherever the store's owner is.

    What only reads is read here, beside a running bridge or without one.

    Raises:
        BridgeError: it was refused, and why.
    """
    its_rules = rules() if path == "webhooks/remap" else {}
    looking = Looking(store_url=store_url, rules=its_rules, target_urls=targets)
    if (seen := look(looking, path, payload)) is not None:
        return seen
    try:
        return _here(path, payload, store_url, its_rules, targets)
    except StoreLocked:
        settings = admin()
        if settings is None:
            hint = "add admin to bridge.yaml and restart it, or stop it first"
            raise BridgeError(f"the store belongs to a running bridge that has no admin port, {hint}") from None
        return _there(path, payload, settings)


def _here(
    path: str,
    payload: dict[str, Any],
    store_url: str,
    rules: Mapping[str, Rules],
    targets: Mapping[str, str | None],
) -> Any:
    async def run(store: Store) -> Any:
        await store.start()
        try:
            operator = Operator(store=store, store_url=store_url, rules=rules, target_urls=targets, wake=lambda _: None)
            return await perform(operator, path, payload)
        finally:
            await asyncio.to_thread(store.close)

    with owned(store_url) as engine:
        return asyncio.run(run(Store(engine)))


def _there(path: str, payload: dict[str, Any], settings: AdminSettings) -> Any:
    url = f"http://{reachable(settings.host)}:{settings.port}/api/{path}"
    headers = {"Authorization": f"Bearer {settings.token.reveal()}"}
    try:
        answer = httpx.post(url, json=payload, headers=headers, timeout=_WITHIN, trust_env=False)
    except httpx.TransportError as error:
        raise BridgeError(f"the running bridge does not answer at {url} ({type(error).__name__})") from None
    if answer.status_code == 401:
        raise BridgeError("the running bridge refuses the admin token, give this command the same one")
    try:
        content = answer.json()
    except ValueError:
        raise BridgeError(f"what answers at {url} is no bridge's admin port, correct admin in bridge.yaml") from None
    if answer.status_code != 200:
        detail = content.get("detail") if isinstance(content, dict) else None
        raise StoreError(str(detail or f"the running bridge answered {answer.status_code}"))
    return content
