"""Commands for events: look at them, and send them again, discard or release them."""

from typing import Annotated

import typer

from bridge.cli.actions import By, Ids, Note, Yes, act
from bridge.cli.filters import AsJson, Limit, Rule, Since, Source, Target, filter_of
from bridge.cli.output import print_one, print_rows
from bridge.cli.record import queries
from bridge.model import EventState

app = typer.Typer(no_args_is_help=True, help="Look at events, and send them again, discard or release them.")

COLUMNS = ("id", "state", "source", "rule", "target", "type", "attempts", "created_at", "reason")

State = Annotated[EventState | None, typer.Option(help="Only events in this state.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The event's id, ev_...")]


@app.command("list")
def list_events(
    context: typer.Context,
    state: State = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List events, newest first."""
    wanted = filter_of(state, source, rule, target, since)
    print_rows(queries(context).list_events(wanted, limit), COLUMNS, as_json=as_json)


@app.command("show")
def show_event(context: typer.Context, event_id: Id, as_json: AsJson = False) -> None:
    """Show one event with all its attempts."""
    print_one(queries(context).event(event_id), as_json=as_json)


@app.command()
def replay(
    context: typer.Context,
    ids: Ids = None,
    state: State = None,
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
    act(context, "events/replay", ids, which, yes=yes, by=by, note=note, as_json=as_json)


@app.command()
def discard(
    context: typer.Context,
    ids: Ids = None,
    state: State = None,
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
    act(context, "events/discard", ids, which, yes=yes, by=by, note=note, as_json=as_json)


@app.command()
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
    act(context, "events/release", ids, which, yes=yes, by=by, note=note, as_json=as_json)
