"""An operator's request, as the admin API takes it and the commands send it: what is read, shown first, or done."""

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bridge.errors import BridgeError, StoreError
from bridge.operations.actions.operator import Asker, Operator
from bridge.operations.queries import Queries
from bridge.store.actions import Action, Selection
from bridge.store.reader import Filter

LATEST = 1 << 62  # milliseconds since 1970: what a database can hold
NAME_LENGTH = 64  # of whoever asks for a change
NOTE_LENGTH = 200  # of their reason

M = TypeVar("M", bound=BaseModel)


class InvalidRequest(BridgeError):
    """The request is not one that can be performed; says what is wrong with it."""


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: str | None = None
    source: str | None = None
    rule: str | None = None
    target: str | None = None
    since: int | None = Field(None, ge=0, lt=LATEST)


class _Reasoned(BaseModel):
    note: str | None = Field(None, max_length=NOTE_LENGTH)

    @field_validator("note")
    @classmethod
    def _is_printable(cls, note: str | None) -> str | None:
        if note is not None and not note.isprintable():
            raise ValueError("must be printable characters only")
        return note or None


class _Request(_Reasoned):
    model_config = ConfigDict(extra="forbid")

    ids: tuple[str, ...] | None = Field(None, max_length=10_000)
    filter: _Filter = _Filter()
    yes: bool = False
    again: bool = False


def asker_name(name: str) -> str | None:
    """The name that somebody gives who asks for a change; None where it is empty.

    Raises:
        InvalidRequest: it is none that a line of the log can hold.
    """
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"a name has at most {NAME_LENGTH} printable characters")
    return name.strip() or None


def read(queries: Queries, path: str) -> Any:
    """`targets[/NAME]`, `events/ID`, `webhooks/ID` or `explain/ID`.

    Raises:
        StoreError: there is no such thing.
    """
    match path.split("/"):
        case ["targets"]:
            return queries.targets()
        case ["targets", name]:
            return queries.target(name)
        case ["events", id_]:
            return queries.event(id_)
        case ["webhooks", id_]:
            return queries.webhook(id_)
        case ["explain", id_]:
            return queries.explain(id_)
    raise StoreError(f"there is no {path[:100]}, only events, webhooks, targets and explain")


def preview(queries: Queries, path: str, payload: Any) -> Any:
    """What a change would do, which only reads; None where the request is to do it.

    Raises:
        InvalidRequest, UnknownName, StoreError: as `perform`.
    """
    match path.split("/"):
        case ["events", ("replay" | "discard" | "release") as action]:
            request, selection = _read(payload)
            return None if request.yes else queries.events(Action(action), selection)
        case ["webhooks", "remap"]:
            request, selection = _read(payload)
            return None if request.yes else queries.remap(selection, again=request.again)
        case ["webhooks", "erase"]:
            request, selection = _read(payload)
            return None if request.yes else queries.webhooks(selection) | {"being_sent": []}
    return None


async def perform(operator: Operator, path: str, payload: Any, name: str | None = None) -> Any:
    """Perform `events/replay|discard|release`, `webhooks/remap|erase`, `targets[/NAME[/pause|resume]]`, `secrets/NAME`.

    `name`: who asks for it.

    Raises:
        InvalidRequest: there is no such thing to do.
        UnknownName: a filter is by what there is none of.
        StoreError: an id or name is not there, or the store fails.
    """
    seen = await asyncio.to_thread(preview, operator.queries, path, payload)
    if seen is not None:
        return seen
    match path.split("/"):
        case ["events", ("replay" | "discard" | "release") as action]:
            request, selection = _read(payload)
            return await operator.events(Action(action), selection, yes=True, asker=Asker(name, request.note))
        case ["webhooks", "remap"]:
            request, selection = _read(payload)
            asker = Asker(name, request.note)
            return await operator.remap(selection, yes=True, again=request.again, asker=asker)
        case ["webhooks", "erase"]:
            request, selection = _read(payload)
            return await operator.erase(selection, yes=True, asker=Asker(name, request.note))
        case ["targets"] | ["targets", _]:
            return await asyncio.to_thread(read, operator.queries, path)
        case ["targets", target, "pause"]:
            return await operator.pause(target, Asker(name, _note(payload)))
        case ["targets", target, "resume"]:
            return await operator.resume(target, Asker(name, _note(payload)))
        case ["secrets", source]:
            return await operator.secrets(source, Asker(name, _note(payload)))
    raise InvalidRequest(f"there is nothing to do by the name of {path[:100]}")


def _read(payload: Any) -> tuple[_Request, Selection]:
    request = _valid(_Request, payload)
    if request.ids is None and request.filter == _Filter():
        raise InvalidRequest("name ids, or a filter such as state or source, to say which ones")
    return request, Selection(ids=request.ids, filter=Filter(**request.filter.model_dump()))


def _note(payload: Any) -> str | None:
    return _valid(_Reasoned, payload).note


def _valid(model: type[M], payload: Any) -> M:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise InvalidRequest(told) from None
