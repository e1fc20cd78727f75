"""The `explain` command: the full history of a webhook or an event."""

from typing import Annotated

import typer

from bridge.cli.filters import AsJson
from bridge.cli.output import print_note, print_one, print_text, print_why
from bridge.cli.record import ask

app = typer.Typer()


@app.command()
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
