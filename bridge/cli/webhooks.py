"""The `webhooks` commands: list, show, remap, erase."""

from typing import Annotated, Any

import typer

from bridge.cli.actions import add_action
from bridge.cli.filters import AsJson, Limit, choosing, filter_of, with_options
from bridge.cli.output import print_note, print_one, print_rows, print_why
from bridge.cli.record import ask, queries
from bridge.model import WebhookState

app = typer.Typer(no_args_is_help=True, help="Look at webhooks, map them again, or erase them.")

COLUMNS = ("id", "state", "source", "received_at", "size", "dedupe_key", "events", "error")

State = Annotated[WebhookState | None, typer.Option(help="Only webhooks in this state.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, wh_...")]


def list_webhooks(context: typer.Context, *, limit: int, as_json: bool, **chosen: Any) -> None:
    """List webhooks, newest first."""
    print_rows(queries(context).list_webhooks(filter_of(**chosen), limit), COLUMNS, as_json=as_json)


app.command("list")(with_options(list_webhooks, {**choosing(State), "limit": (Limit, 100), "as_json": (AsJson, False)}))


@app.command("show")
def show_webhook(context: typer.Context, webhook_id: Id, as_json: AsJson = False) -> None:
    """Show one webhook: what came in, what the rules made of it, and why not more."""
    webhook = ask(context, f"webhooks/{webhook_id}")
    if as_json:
        print_one(webhook, as_json=True)
        return
    why, note = webhook.pop("why"), webhook.pop("note")
    print_one(webhook, as_json=False)
    print_why(why)
    print_note(note)


add_action(
    app,
    "webhooks/remap",
    "Run today's rules over stored webhooks. What is delivered or being sent stays; pending and dead are replaced.",
    state=State,
    again=Annotated[bool, typer.Option(help="Also in place of events that are held.")],
)
add_action(app, "webhooks/erase", "Delete webhooks with their events and attempts, for good.", state=State)
