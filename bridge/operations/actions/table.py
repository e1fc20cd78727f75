"""The operator's actions: one table of what may be done, with what arguments, how it is shown first, and the deed.

The commands and the admin API call it, each action by its path below /api; the deed writes the audit line.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bridge.operations.actions import remapping
from bridge.operations.actions.audit import Asker
from bridge.operations.actions.operator import Operator
from bridge.operations.actions.requests import Arguments, InvalidRequest, Selecting, parse
from bridge.operations.queries import Queries
from bridge.store.actions import Action

A = TypeVar("A", bound=Arguments)
Preview = Callable[[Queries, A], Any]
Deed = Callable[[Operator, str, A, Asker], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAction(Generic[A]):
    """One action. Its deed takes the name that the path ends with, where there is one in place of `NAME`."""

    path: str
    arguments: type[A]
    preview: Preview[A] | None = None
    deed: Deed[A]
    by_rules: bool = False  # whether it depends on today's rules


def _of_events(action: Action) -> OperatorAction[Selecting]:
    return OperatorAction(
        path=f"events/{action}",
        arguments=Selecting,
        preview=lambda queries, asked: queries.events(action, asked.selection),
        deed=lambda operator, _, asked, asker: operator.events(action, asked.selection, asker),
    )


ACTIONS: tuple[OperatorAction[Any], ...] = (
    *map(_of_events, Action),
    OperatorAction(
        path="webhooks/remap",
        arguments=Selecting,
        preview=lambda queries, asked: remapping.preview(queries, asked.selection, again=asked.again),
        deed=lambda operator, _, asked, asker: operator.remap(asked.selection, asker, again=asked.again),
        by_rules=True,
    ),
    OperatorAction(
        path="webhooks/erase",
        arguments=Selecting,
        preview=lambda queries, asked: queries.webhooks(asked.selection) | {"being_sent": []},
        deed=lambda operator, _, asked, asker: operator.erase(asked.selection, asker),
    ),
    OperatorAction(
        path="targets",
        arguments=Arguments,
        deed=lambda operator, *_: asyncio.to_thread(operator.queries.targets),
    ),
    OperatorAction(
        path="targets/NAME",
        arguments=Arguments,
        deed=lambda operator, name, *_: asyncio.to_thread(operator.queries.target, name),
    ),
    OperatorAction(
        path="targets/NAME/pause",
        arguments=Arguments,
        deed=lambda operator, name, _, asker: operator.pause(name, asker),
    ),
    OperatorAction(
        path="targets/NAME/resume",
        arguments=Arguments,
        deed=lambda operator, name, _, asker: operator.resume(name, asker),
    ),
    OperatorAction(
        path="secrets/NAME",
        arguments=Arguments,
        deed=lambda operator, name, _, asker: operator.secrets(name, asker),
    ),
)


def find(path: str) -> tuple[OperatorAction[Any], str]:
    """The action at a path, and the name in it.

    Raises:
        InvalidRequest: there is none.
    """
    parts = path.split("/")
    for action in ACTIONS:
        wanted = action.path.split("/")
        if len(wanted) == len(parts) and all(want in (part, "NAME") for want, part in zip(wanted, parts, strict=True)):
            return action, next((part for want, part in zip(wanted, parts, strict=True) if want == "NAME"), "")
    raise InvalidRequest(f"there is nothing to do by the name of {path[:100]}")


def preview(queries: Queries, path: str, payload: Any) -> Any:
    """What an action would do, which only reads; None where it is to be done.

    Raises:
        InvalidRequest: there is no such action, or its arguments are wrong.
        UnknownName: a filter is by what there is none of.
        StoreError: an id is not there, or the store fails.
    """
    action, _ = find(path)
    asked = parse(action.arguments, payload)
    return action.preview(queries, asked) if action.preview and asked.previewed else None


async def perform(operator: Operator, path: str, payload: Any, name: str | None = None) -> Any:
    """Do what is asked for, or show what it would do. `name`: who asks for it.

    Raises:
        InvalidRequest, UnknownName, StoreError: as `preview`.
    """
    action, subject = find(path)
    asked = parse(action.arguments, payload)
    if action.preview and asked.previewed:
        return await asyncio.to_thread(action.preview, operator.queries, asked)
    return await action.deed(operator, subject, asked, Asker(name, asked.note))
