"""The `secrets` command: shows the secrets that a source's sender has registered."""

from typing import Annotated

import typer

from bridge.cli.actions import By, Note
from bridge.cli.filters import AsJson
from bridge.cli.output import fail, print_json, print_text
from bridge.cli.record import ask, configuration

app = typer.Typer()


@app.command()
def secrets(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The name of its file in sources/.")],
    by: By = "",
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Show the secrets that a sender handed over while its source says `registering: true`. They are shown once."""
    from bridge.operations.naming import unknown

    sources = configuration(context)[0].sources
    if source not in sources:
        fail(unknown("source", source, sources))
    handed_over = ask(context, f"secrets/{source}", {"note": note}, by)
    if as_json:
        print_json(handed_over)
        return
    for one in handed_over:
        print_text(f"from {one['client']} at {one['received_at']}:", one["secret"])
    print_text("The bridge keeps this no longer. Put it under secrets of the source, and remove registering.")
