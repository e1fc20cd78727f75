"""The list of all commands, each imported when it is called or explained, and their common options."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bridge import __version__

_MODULES = {  # of each command or noun, in the order of --help
    "serve": "serve",
    "check": "rules",
    "test": "rules",
    "try": "rules",
    "send": "rules",
    "schema": "rules",
    "events": "events",
    "webhooks": "webhooks",
    "targets": "targets",
    "explain": "explain",
    "doctor": "doctor",
    "secrets": "sources",
    "schemes": "senders",
    "migrate": "store",
    "sandbox": "sandbox",
    "demo": "sandbox",
}
READING = {"events", "webhooks"}  # they load what logs in `record.ask`, and not for a list


class _Commands(Mapping[str, Any]):
    """The commands by their names; a noun is the group of its own."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f"bridge.cli.{_MODULES[name]}")
        group = typer.main.get_group(module.app)
        if name in group.commands:
            return group.commands[name]
        group.name = name
        return group

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Group(TyperGroup):
    """The group of all commands, of which none is loaded yet."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]  # nothing is ever put into it


app = typer.Typer(
    name="bridge",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Takes webhooks, proves that they are genuine, turns them into SuperOffice WorkflowEvents by YAML rules, "
    "and delivers each to SendEvent, with retries and a record of every result.",
)


def _print_version(wanted: bool) -> None:
    if wanted:  # before the command is looked for: there need not be one
        from bridge.cli.output import print_text

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
    if context.invoked_subcommand not in READING:
        from bridge.observing import logs

        logs.configure_command()
