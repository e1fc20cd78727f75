"""The `bridge` command: its groups, what all commands share, and how errors end it."""

from pathlib import Path
from typing import Annotated

import typer

from bridge import __version__
from bridge.cli import changing, doctor, records, rules, schemes, starting
from bridge.cli.printing import fail, print_problems, print_text
from bridge.errors import BridgeError, ConfigError
from bridge.observing import logs

app = typer.Typer(
    name="bridge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Takes webhooks, proves that they are genuine, turns them into SuperOffice WorkflowEvents by YAML rules, "
    "and delivers each to SendEvent, with retries and a record of every result.",
)
starting.add_to(app)
rules.add_to(app)
schemes.add_to(app)
doctor.add_to(app)
events = typer.Typer(no_args_is_help=True, help="Look at events, and send them again, discard or release them.")
webhooks = typer.Typer(no_args_is_help=True, help="Look at webhooks, map them again, or erase them.")
targets = typer.Typer(no_args_is_help=True, help="Look at targets, pause and resume them.")
records.add_to(app, events, webhooks)
changing.add_to(app, events, webhooks, targets)
app.add_typer(events, name="events")
app.add_typer(webhooks, name="webhooks")
app.add_typer(targets, name="targets")


def _print_version(wanted: bool) -> None:
    if wanted:  # before the command is looked for: there need not be one
        print_text(__version__)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", metavar="DIR", help="The configuration's directory.")] = Path(
        "config"
    ),
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """What every command shares."""
    context.obj = config
    logs.configure_command()


def main() -> None:
    """Run a command; whatever the bridge itself has to say against it is told in a line, with exit code 1."""
    try:
        app(prog_name="bridge")
    except ConfigError as error:
        print_problems(error.problems)
        raise SystemExit(1) from None
    except BridgeError as error:
        fail(str(error))
