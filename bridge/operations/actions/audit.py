"""The audit line of an operator's change: who asked for it and why, what was chosen, and how much was changed."""

from collections.abc import Iterator, Mapping, Sequence
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


@contextmanager
def audited(
    action: str, asker: Asker, selection: Selection, counted: Literal["events", "webhooks"]
) -> Iterator[ActionProgress]:
    """Write the line about a change that goes on for a while, when it ends: as it should, or because it broke off.

    Raises:
        StoreError: the store's, which says how much was done before.
    """
    chosen = selection.filter.chosen
    done = ActionProgress()
    try:
        yield done
    except BaseException as error:
        audit(action, asker, chosen=chosen, ids=done.ids, counted={counted: done.count}, broke_off=type(error).__name__)
        if isinstance(error, StoreError):
            raise type(error)(f"it broke off after {done.count} {counted} were done: {error}") from error
        raise
    audit(action, asker, chosen=chosen, ids=done.ids, counted={counted: done.count})


def audit(
    action: str,
    asker: Asker,
    *,
    chosen: dict[str, str | int] | None = None,
    ids: Sequence[str] | None = None,
    counted: Mapping[str, int] | None = None,
    source: str | None = None,
    target: str | None = None,
    broke_off: str | None = None,
) -> None:
    """Write the line about a change. `counted`: how many events, webhooks or secrets it was of."""
    counts = counted or {}
    what = {
        name: value
        for name, value in {
            "filter": chosen or None,
            "ids": ids,
            "events": counts.get("events"),
            "webhooks": counts.get("webhooks"),
            "secrets": counts.get("secrets"),
            "source": source,
            "target": target,
            "broke_off": broke_off,
        }.items()
        if value is not None
    }
    log.warning(logs.OPERATOR_CHANGED, action=action, by=asker.name, note=asker.note, **what)
