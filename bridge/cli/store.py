"""The `migrate` command: updates the store's schema."""

from typing import Annotated

import typer

from bridge.cli.output import print_text

app = typer.Typer()


@app.command()
def migrate(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell; exit code 1 where there is something to do.")
    ] = False,
) -> None:
    """Bring the store's schema up to date. `serve` does so by itself when it starts."""
    from bridge.settings.loading import load_store
    from bridge.store import database, reader
    from bridge.store.store import owned

    url = database.located(load_store(context.obj).url, context.obj)
    with reader.reading(url) if check else owned(url):
        print_text("the store is up to date")
