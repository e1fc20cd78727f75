"""What commands that change the record share: their options, and how they ask, show and do it."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from bridge.cli.filters import filter_of
from bridge.cli.output import print_json, print_note, print_one, print_text
from bridge.cli.record import ask

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids; none to choose by the options.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only tell what would be done.")]
By = Annotated[
    str,
    typer.Option("--as", metavar="NAME", help="Who asks for it, for the log: at most 64 printable characters."),
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the log: at most 200 printable characters.")]


def act(
    context: typer.Context,
    path: str,
    ids: list[str] | None,
    which: tuple[StrEnum | None, str | None, str | None, str | None, str | None],
    *,
    yes: bool,
    by: str,
    note: str | None,
    as_json: bool,
    **options: bool,
) -> None:
    """Ask for a change at `path` of the admin API: of these ids, or of what the options choose (`which`)."""
    chosen = filter_of(*which).chosen
    if not ids and not chosen:
        raise typer.BadParameter("name ids, or choose by options such as --source or --target")
    payload: dict[str, Any] = {"filter": chosen}
    if ids:
        payload["ids"] = ids
    answer = ask(context, path, payload | options | {"yes": yes, "note": note}, by)
    if as_json:
        print_json(answer)
        return
    note_of_rules = answer.pop("note", None)
    print_one(answer, as_json=False)
    print_note(note_of_rules)
    if not yes and answer["count"]:
        print_text("Nothing is done yet: --yes does it.")
