"""An operator's request as JSON, as the admin API takes it and the commands send it, into what the Operator does."""

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.errors import BridgeError
from bridge.operations.looking import Looking
from bridge.operations.operator import Operator
from bridge.store.changes import Action, Selection
from bridge.store.reading import Filter

LATEST = 1 << 62  # milliseconds since 1970: what a database can hold


class InvalidRequest(BridgeError):
    """The request is not one that can be performed; says what is wrong with it."""


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: str | None = None
    source: str | None = None
    rule: str | None = None
    target: str | None = None
    since: int | None = Field(None, ge=0, lt=LATEST)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    ids: tuple[str, ...] | None = Field(None, max_length=10_000)
    filter: _Filter = _Filter()
    yes: bool = False
    again: bool = False


async def perform(operator: Operator, path: str, payload: Any) -> Any:
    """Perform `events/replay|discard|release`, `webhooks/remap|erase`, `targets[/NAME[/pause|resume]]`, `secrets/NAME`.

    Raises:
        InvalidRequest: there is no such thing to do.
        StoreError: an id or name is not there, or the store fails.
    """
    match path.split("/"):
        case ["events", ("replay" | "discard" | "release") as action]:
            request, selection = _read(payload)
            return await operator.events(Action(action), selection, yes=request.yes)
        case ["webhooks", "remap"]:
            request, selection = _read(payload)
            return await operator.remap(selection, yes=request.yes, again=request.again)
        case ["webhooks", "erase"]:
            request, selection = _read(payload)
            return await operator.erase(selection, yes=request.yes)
        case ["targets"]:
            return await asyncio.to_thread(operator.looking.targets)
        case ["targets", name]:
            return await asyncio.to_thread(operator.looking.target, name)
        case ["targets", name, "pause"]:
            return await operator.pause(name)
        case ["targets", name, "resume"]:
            return await operator.resume(name)
        case ["secrets", source]:
            return await operator.secrets(source)
    raise InvalidRequest(f"there is nothing to do by the name of {path[:100]}")


def look(looking: Looking, path: str, payload: Any) -> Any:
    """The same for what only reads: targets, and previews. None where the request changes something.

    Raises:
        InvalidRequest, StoreError: as `perform`.
    """
    match path.split("/"):
        case ["targets"]:
            return looking.targets()
        case ["targets", name]:
            return looking.target(name)
        case ["targets" | "secrets", *_]:
            return None
    request, selection = _read(payload)
    if request.yes:
        return None
    match path.split("/"):
        case ["events", ("replay" | "discard" | "release") as action]:
            return looking.events(Action(action), selection)
        case ["webhooks", "remap"]:
            return looking.remap(selection, again=request.again)
        case ["webhooks", "erase"]:
            return looking.webhooks(selection) | {"being_sent": []}
    return None


def _read(payload: Any) -> tuple[_Request, Selection]:
    try:
        request = _Request.model_validate(payload)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise InvalidRequest(told) from None
    if request.ids is None and request.filter == _Filter():
        raise InvalidRequest("name ids, or a filter such as state or source, to say which ones")
    return request, Selection(ids=request.ids, filter=Filter(**request.filter.model_dump()))
