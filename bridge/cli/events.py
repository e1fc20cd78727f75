"""The `events` commands: list, show, replay, discard, release."""

from typing import Annotated, Any

import typer

from bridge.cli.actions import add_action
from bridge.cli.filters import AsJson, Limit, choosing, filter_of, with_options
from bridge.cli.output import print_one, print_rows
from bridge.cli.record import queries
from bridge.model import EventState

app = typer.Typer(no_args_is_help=True, help="Look at events, and send them again, discard or release them.")

COLUMNS = ("id", "state", "source", "rule", "target", "type", "attempts", "created_at", "reason")

State = Annotated[EventState | None, typer.Option(help="Only events in this state.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The event's id, ev_...")]


def list_events(context: typer.Context, *, limit: int, as_json: bool, **chosen: Any) -> None:
    """List events, newest first."""
    print_rows(queries(context).list_events(filter_of(**chosen), limit), COLUMNS, as_json=as_json)


app.command("list")(with_options(list_events, {**choosing(State), "limit": (Limit, 100), "as_json": (AsJson, False)}))


@app.command("show")
def show_event(context: typer.Context, event_id: Id, as_json: AsJson = False) -> None:
    """Show one event with all its attempts."""
    print_one(queries(context).event(event_id), as_json=as_json)


add_action(
    app,
    "events/replay",
    "Send events again that are dead, held, delivered or discarded. Attempts and max_age start anew.",
    state=State,
)
add_action(app, "events/discard", "Never send events that are pending, dead or held.", state=State)
add_action(
    app, "events/release", "Send events again that are held, since nobody could tell whether SuperOffice took them."
)
