"""The audit line of an operator's change: who asked for it and why, what was chosen, and how much was changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from bridge.errors import StoreError
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.store.actions import Selection

_LISTED = 20  # ids in a line of the log


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a change, as far as they say, and their reason."""

    name: str | None = None
    note: str | None = None


NOBODY = Asker()


@dataclass(slots=True)
class ActionProgress:
    """How much of a change is done; `ids` are the first of it."""

    count: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, ids: Sequence[str]) -> None:
        """Count what was done."""
        self.count += len(ids)
        self.ids += ids[: _LISTED - len(self.ids)]


def audit(action: str, asker: Asker, **what: object) -> None:
    """Write the line about a change that is made at once."""
    log.warning(logs.OPERATOR_CHANGED, action=action, by=asker.name, note=asker.note, **what)


@contextmanager
def audited(
    action: str, asker: Asker, selection: Selection, counted: Literal["events", "webhooks"]
) -> Iterator[ActionProgress]:
    """Write the line about a change that goes on for a while, when it ends: as it should, or because it broke off.

    Raises:
        StoreError: the store's, which says how much was done before.
    """
    chosen = selection.filter.chosen
    what = {"filter": chosen} if chosen else {}
    done = ActionProgress()
    try:
        yield done
    except BaseException as error:
        audit(action, asker, **what, ids=done.ids, **{counted: done.count}, broke_off=type(error).__name__)
        if isinstance(error, StoreError):
            raise type(error)(f"it broke off after {done.count} {counted} were done: {error}") from error
        raise
    audit(action, asker, **what, ids=done.ids, **{counted: done.count})
