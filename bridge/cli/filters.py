"""The options by which commands choose events and webhooks."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.settings.parsing import duration
from bridge.times import now

if TYPE_CHECKING:
    from bridge.store.reader import Filter

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Source = Annotated[str | None, typer.Option(help="Only this source.")]
Rule = Annotated[str | None, typer.Option(help="Only where this rule made an event.")]
Target = Annotated[str | None, typer.Option(help="Only events for this target.")]
Since = Annotated[str | None, typer.Option(help="Only newer ones: 15m, 48h, 7d, or a time such as 2026-11-24T08:00Z.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")]


def filter_of(
    state: StrEnum | None,
    source: str | None,
    rule: str | None,
    target: str | None,
    since: str | None,
) -> "Filter":
    """The options as a filter."""
    from bridge.store.reader import Filter

    wanted = state.value if state else None
    return Filter(state=wanted, source=source, rule=rule, target=target, since=_moment(since))


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{1,9}(ms|s|m|h|d)", text):
            return max(0, now() - duration(text))
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 15m, 48h, 7d, or a time such as 2026-11-24T08:00Z"
        raise typer.BadParameter(hint, param_hint="--since") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
