"""The `sandbox` and `demo` commands: a local SuperOffice, and a demonstration of the whole flow."""

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.output import fail, print_text

app = typer.Typer()


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any free one.")] = 8090,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What to answer first, such as '503*2 retry-after=1' or 'hang tenant=crm'; may be repeated."),
    ] = None,
    version: Annotated[
        str, typer.Option(help="The version of SuperOffice to play, which says which event types there are.")
    ] = "12.4",
) -> None:
    """Play a SuperOffice on this machine: it takes SendEvent, lists what it got, and fails when told to."""
    from bridge.sandbox import faults, superoffice, versions

    try:
        versions.known_to(version)
    except ValueError as error:
        fail(str(error))
    try:
        superoffice.run(host, port, fault or [], lambda url: print_text(f"the sandbox listens on {url}"), version)
    except ValueError as error:
        fail(f"{error}; the faults are {', '.join(faults.FAULTS)}")
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}, free the port or choose another")


@app.command()
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option(help="Leave everything running, and print what to try.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the demo's store and log go; a temporary directory by default.")
    ] = None,
) -> None:
    """Show the main job on the example configuration: signed webhooks in, recorded results out."""
    from bridge.sandbox import demo as demonstration

    try:
        shown = demonstration.run(context.obj, directory, keep=keep)
    except demonstration.DidNotStart as error:
        fail(f"{error}:", *error.log.split("\n"))
    if not shown:
        raise typer.Exit(1)
