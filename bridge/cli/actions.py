"""Generates the commands that change the store, each from the path of its action."""

from typing import Annotated, Any

import typer

from bridge.cli.filters import AsJson, choosing, filter_of, with_options
from bridge.cli.output import print_json, print_note, print_one, print_text
from bridge.cli.record import ask

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids; none to choose by the options.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only tell what would be done.")]
By = Annotated[
    str,
    typer.Option("--as", metavar="NAME", help="Who asks for it, for the log: at most 64 printable characters."),
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the log: at most 200 printable characters.")]


def add_action(app: typer.Typer, path: str, told: str, *, state: Any = None, **more: Any) -> None:
    """Add the command of an action at `path` of the admin API, which chooses by ids or by options.

    `told` is its help, `state` the option of that name, where it has one; `more` are further switches.
    """

    def act(context: typer.Context, **given: Any) -> None:
        ids, yes, by, note, as_json = (given.pop(name) for name in ("ids", "yes", "by", "note", "as_json"))
        options = {name: given.pop(name) for name in more}
        chosen = filter_of(**given).chosen
        if not ids and not chosen:
            raise typer.BadParameter("name ids, or choose by options such as --source or --target")
        payload: dict[str, Any] = {"filter": chosen} | ({"ids": ids} if ids else {})
        answer = ask(context, path, payload | options | {"yes": yes, "note": note}, by)
        if as_json:
            print_json(answer)
            return
        note_of_rules = answer.pop("note", None)
        print_one(answer, as_json=False)
        print_note(note_of_rules)
        if not yes and answer["count"]:
            print_text("Nothing is done yet: --yes does it.")

    switches = {name: (annotation, False) for name, annotation in more.items()}
    asked = {"yes": (Yes, False), "by": (By, ""), "note": (Note, None), "as_json": (AsJson, False)}
    options = {"ids": (Ids, None), **choosing(state), **switches, **asked}
    app.command(path.rpartition("/")[2], help=told)(with_options(act, options))
