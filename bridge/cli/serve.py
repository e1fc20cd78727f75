"""The `serve` command: runs the bridge."""

import typer

app = typer.Typer()


@app.command()
def serve(context: typer.Context) -> None:
    """Receive, verify, map, store, forward and record, until SIGTERM or Ctrl-C; a second one ends at once."""
    from bridge.service import lifecycle

    lifecycle.serve(context.obj)
