"""Command-line options that filter events and webhooks."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any

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


Options = Mapping[str, tuple[Any, Any]]
"""Of a command: what typer is told of each, and its default, by the name of the parameter."""


def choosing(state: Any = None) -> Options:
    """The options that choose events or webhooks. `state` is that of the states, where one may be chosen."""
    states = {"state": (state, None)} if state else {}
    return {
        **states,
        "source": (Source, None),
        "rule": (Rule, None),
        "target": (Target, None),
        "since": (Since, None),
    }


def with_options(command: Callable[..., None], options: Options) -> Callable[..., None]:
    """The same function, as typer sees it: with a parameter for each option, beside the context."""
    parameters = [Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in options.items()
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def filter_of(
    *,
    state: StrEnum | None = None,
    source: str | None = None,
    rule: str | None = None,
    target: str | None = None,
    since: str | None = None,
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
