"""Commands that start something: the bridge, its sandbox, the demo; and the store's migrations."""

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.printing import fail, print_text


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (serve, migrate, sandbox, demo):
        app.command()(command)


def serve(context: typer.Context) -> None:
    """Receive, verify, map, store, forward and record, until SIGTERM or Ctrl-C; a second one ends at once."""
    from bridge.service import running

    running.serve(context.obj)


def migrate(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit code 1 where there is something to do.")
    ] = False,
) -> None:
    """Bring the store's schema up to date. `serve` does so by itself when it starts."""
    from bridge.service.building import store_url
    from bridge.settings.loading import load_store
    from bridge.store import reading
    from bridge.store.store import owned

    url = store_url(context.obj, load_store(context.obj))
    with reading.reading(url) if check else owned(url):
        print_text("the store is up to date")


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
