"""Commands that look at the record, beside a running bridge or without one."""

from typing import Annotated

import typer

from bridge.cli.asking import ask, looking
from bridge.cli.printing import print_note, print_one, print_rows, print_text, print_why
from bridge.cli.selecting import AsJson, Limit, Rule, Since, Source, Target, filter_of
from bridge.model import EventState, WebhookState

EVENT_COLUMNS = ("id", "state", "source", "rule", "target", "type", "attempts", "created_at", "reason")
WEBHOOK_COLUMNS = ("id", "state", "source", "received_at", "size", "dedupe_key", "events", "error")

EventId = Annotated[str, typer.Argument(metavar="ID", help="The event's id, ev_...")]
WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, wh_...")]


def add_to(app: typer.Typer, events: typer.Typer, webhooks: typer.Typer) -> None:
    """Add these commands."""
    events.command("list")(list_events)
    events.command("show")(show_event)
    webhooks.command("list")(list_webhooks)
    webhooks.command("show")(show_webhook)
    app.command()(explain)


def list_events(
    context: typer.Context,
    state: Annotated[EventState | None, typer.Option(help="Only events in this state.")] = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List events, newest first."""
    wanted = filter_of(state, source, rule, target, since, limit)
    print_rows(looking(context).list_events(wanted), EVENT_COLUMNS, as_json=as_json)


def show_event(context: typer.Context, event_id: EventId, as_json: AsJson = False) -> None:
    """Show one event with all its attempts."""
    print_one(looking(context).event(event_id), as_json=as_json)


def list_webhooks(
    context: typer.Context,
    state: Annotated[WebhookState | None, typer.Option(help="Only webhooks in this state.")] = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List webhooks, newest first."""
    wanted = filter_of(state, source, rule, target, since, limit)
    print_rows(looking(context).list_webhooks(wanted), WEBHOOK_COLUMNS, as_json=as_json)


def show_webhook(context: typer.Context, webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Show one webhook: what came in, what the rules made of it, and why not more."""
    webhook = ask(context, f"webhooks/{webhook_id}")
    if as_json:
        print_one(webhook, as_json=True)
        return
    why, note = webhook.pop("why"), webhook.pop("note")
    print_one(webhook, as_json=False)
    print_why(why)
    print_note(note)


def explain(
    context: typer.Context,
    record_id: Annotated[str, typer.Argument(metavar="ID", help="A webhook's id, wh_..., or an event's, ev_...")],
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of a webhook or an event: what came in, why each rule did or did not fire, what was sent."""
    story = ask(context, f"explain/{record_id}")
    if as_json:
        print_one(story, as_json=True)
        return
    print_one(story["webhook"], as_json=False)
    print_text("", "Today's rules:" + (f" {story['error']}" if story["error"] else ""))
    print_why(story["why"])
    print_note(story["note"])
    for event in story["events"]:
        print_text()
        print_one(event, as_json=False)
