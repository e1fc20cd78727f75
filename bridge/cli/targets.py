"""The `targets` commands: list, show, pause, resume."""

from typing import Annotated

import typer

from bridge.cli.actions import By, Note
from bridge.cli.filters import AsJson
from bridge.cli.output import print_one, print_rows
from bridge.cli.record import ask

app = typer.Typer(no_args_is_help=True, help="Look at targets, pause and resume them.")

COLUMNS = (
    *("name", "state", "reason", "pending", "oldest", "held", "paused_at", "next_probe_at", "tenant_state"),
    "url",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The target's name in bridge.yaml.")]


@app.command("list")
def list_targets(context: typer.Context, as_json: AsJson = False) -> None:
    """List targets: which are paused, and how much waits for each."""
    print_rows(ask(context, "targets"), COLUMNS, as_json=as_json)


@app.command("show")
def show_target(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one target: whether and why it is paused, and what waits. The exit code is 1 where events are stuck."""
    target = ask(context, f"targets/{name}")
    print_one(target, as_json=as_json)
    if target["stuck"]:
        raise typer.Exit(1)


@app.command()
def pause(context: typer.Context, name: Name, by: By = "", note: Note = None, as_json: AsJson = False) -> None:
    """Stop sending to a target until it is resumed. Its events wait, and do not grow too old meanwhile."""
    print_one(ask(context, f"targets/{name}/pause", {"note": note}, by), as_json=as_json)


@app.command()
def resume(context: typer.Context, name: Name, by: By = "", note: Note = None, as_json: AsJson = False) -> None:
    """Send to a target again."""
    print_one(ask(context, f"targets/{name}/resume", {"note": note}, by), as_json=as_json)
