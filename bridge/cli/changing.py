"""Commands that change the record: asked of the running bridge, or done here where none runs."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from bridge.cli.asking import ask
from bridge.cli.printing import fail, print_json, print_note, print_one, print_rows, print_text
from bridge.cli.selecting import AsJson, By, Note, Rule, Since, Source, Target, filter_of
from bridge.model import EventState, WebhookState

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids; none to choose by the options.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only tell what would be done.")]
EventStateOption = Annotated[EventState | None, typer.Option("--state", help="Only events in this state.")]
WebhookStateOption = Annotated[WebhookState | None, typer.Option("--state", help="Only webhooks in this state.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The target's name in bridge.yaml.")]

TARGET_COLUMNS = (
    *("name", "state", "reason", "pending", "oldest", "held", "paused_at", "next_probe_at", "tenant_state"),
    "url",
)


def add_to(app: typer.Typer, events: typer.Typer, webhooks: typer.Typer, targets: typer.Typer) -> None:
    """Add these commands."""
    app.command()(secrets)
    events.command()(replay)
    events.command()(discard)
    events.command()(release)
    webhooks.command()(remap)
    webhooks.command()(erase)
    targets.command("list")(list_targets)
    targets.command("show")(show_target)
    targets.command()(pause)
    targets.command()(resume)


def replay(
    context: typer.Context,
    ids: Ids = None,
    state: EventStateOption = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    yes: Yes = False,
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Send events again that are dead, held, delivered or discarded. Attempts and max_age start anew."""
    which = (state, source, rule, target, since)
    _change(context, "events/replay", ids, which, yes=yes, by=by, note=note, as_json=as_json)


def discard(
    context: typer.Context,
    ids: Ids = None,
    state: EventStateOption = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    yes: Yes = False,
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Never send events that are pending, dead or held."""
    which = (state, source, rule, target, since)
    _change(context, "events/discard", ids, which, yes=yes, by=by, note=note, as_json=as_json)


def release(
    context: typer.Context,
    ids: Ids = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    yes: Yes = False,
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Send events again that are held, since nobody could tell whether SuperOffice took them."""
    which = (None, source, rule, target, since)
    _change(context, "events/release", ids, which, yes=yes, by=by, note=note, as_json=as_json)


def remap(
    context: typer.Context,
    ids: Ids = None,
    state: WebhookStateOption = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    again: Annotated[bool, typer.Option(help="Also in place of events that are held.")] = False,
    yes: Yes = False,
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Run today's rules over stored webhooks. What is delivered or being sent stays; pending and dead are replaced."""
    which = (state, source, rule, target, since)
    _change(context, "webhooks/remap", ids, which, yes=yes, by=by, note=note, as_json=as_json, again=again)


def erase(
    context: typer.Context,
    ids: Ids = None,
    state: WebhookStateOption = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    yes: Yes = False,
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Delete webhooks with their events and attempts, for good."""
    which = (state, source, rule, target, since)
    _change(context, "webhooks/erase", ids, which, yes=yes, by=by, note=note, as_json=as_json)


def list_targets(context: typer.Context, as_json: AsJson = False) -> None:
    """List targets: which are paused, and how much waits for each."""
    print_rows(ask(context, "targets"), TARGET_COLUMNS, as_json=as_json)


def show_target(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one target: whether and why it is paused, and what waits. The exit code is 1 where events are stuck."""
    target = ask(context, f"targets/{name}")
    print_one(target, as_json=as_json)
    if target["stuck"]:
        raise typer.Exit(1)


def pause(context: typer.Context, name: Name, by: By = "", note: Note = None, as_json: AsJson = False) -> None:
    """Stop sending to a target until it is resumed. Its events wait, and do not grow too old meanwhile."""
    print_one(ask(context, f"targets/{name}/pause", {"note": note}, by), as_json=as_json)


def resume(context: typer.Context, name: Name, by: By = "", note: Note = None, as_json: AsJson = False) -> None:
    """Send to a target again."""
    print_one(ask(context, f"targets/{name}/resume", {"note": note}, by), as_json=as_json)


def secrets(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The name of its file in sources/.")],
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Show the secrets that a sender handed over while its source says `registering: true`. They are shown once."""
    from bridge.operations.naming import unknown
    from bridge.settings.loading import load

    sources = load(context.obj, strict=False)[0].sources
    if source not in sources:
        fail(unknown("source", source, sources))
    handed_over = ask(context, f"secrets/{source}", {"note": note}, by)
    if as_json:
        print_json(handed_over)
        return
    for one in handed_over:
        print_text(f"from {one['client']} at {one['received_at']}:", one["secret"])
    print_text("The bridge keeps this no longer. Put it under secrets of the source, and remove registering.")


def _change(
    context: typer.Context,
    path: str,
    ids: list[str] | None,
    which: tuple[StrEnum | None, str | None, str | None, str | None, str | None],
    *,
    yes: bool,
    by: str,
    note: str | None,
    as_json: bool,
    **options: bool,
) -> None:
    wanted = filter_of(*which)
    chosen = {name: getattr(wanted, name) for name in ("state", "source", "rule", "target", "since")}
    if not ids and not any(value is not None for value in chosen.values()):
        raise typer.BadParameter("name ids, or choose by options such as --state or --source")
    payload: dict[str, Any] = {"filter": {name: value for name, value in chosen.items() if value is not None}}
    if ids:
        payload["ids"] = ids
    answer = ask(context, path, payload | options | {"yes": yes, "note": note}, by)
    if as_json:
        print_json(answer)
        return
    note_of_rules = answer.pop("note", None)
    print_one(answer, as_json=False)
    print_note(note_of_rules)
    if not yes and answer["count"]:
        print_text("Nothing is done yet: --yes does it.")
