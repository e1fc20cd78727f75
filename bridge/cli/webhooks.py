"""Commands for webhooks: look at them, map them again, or erase them."""

from typing import Annotated

import typer

from bridge.cli.actions import By, Ids, Note, Yes, act
from bridge.cli.filters import AsJson, Limit, Rule, Since, Source, Target, filter_of
from bridge.cli.output import print_note, print_one, print_rows, print_why
from bridge.cli.record import ask, queries
from bridge.model import WebhookState

app = typer.Typer(no_args_is_help=True, help="Look at webhooks, map them again, or erase them.")

COLUMNS = ("id", "state", "source", "received_at", "size", "dedupe_key", "events", "error")

State = Annotated[WebhookState | None, typer.Option(help="Only webhooks in this state.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, wh_...")]


@app.command("list")
def list_webhooks(
    context: typer.Context,
    state: State = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List webhooks, newest first."""
    wanted = filter_of(state, source, rule, target, since)
    print_rows(queries(context).list_webhooks(wanted, limit), COLUMNS, as_json=as_json)


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


@app.command()
def remap(
    context: typer.Context,
    ids: Ids = None,
    state: State = None,
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
    act(context, "webhooks/remap", ids, which, yes=yes, by=by, note=note, as_json=as_json, again=again)


@app.command()
def erase(
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
    """Delete webhooks with their events and attempts, for good."""
    which = (state, source, rule, target, since)
    act(context, "webhooks/erase", ids, which, yes=yes, by=by, note=note, as_json=as_json)
