"""The `schemes` command: the known senders and the settings that each needs."""

from difflib import get_close_matches
from typing import Annotated, Any

import typer

from bridge.cli.filters import AsJson
from bridge.cli.output import fail, print_json, print_one, print_rows, print_text

app = typer.Typer()

COLUMNS = ("scheme", "sender", "needs", "proves")


@app.command()
def schemes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one, with an example.")] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/senders.md has it, all of them.")] = False,
) -> None:
    """List the schemes that `verify` can name, or explain one."""
    from bridge.operations import sender_docs as known

    if markdown:
        print_text(*known.markdown().rstrip("\n").split("\n"))
    elif name is None and as_json:
        print_json(known.rows())
    elif name is None:
        print_rows([row | {"needs": known.needs(row)} for row in known.rows()], COLUMNS, as_json=False)
    else:
        row = _explained(name)
        if as_json:
            print_json(row)
            return
        print_one(
            {field: value for field, value in row.items() if field != "example" and value not in ("", [])},
            as_json=False,
        )
        print_text("", *row["example"].split("\n"))


def _explained(name: str) -> dict[str, Any]:
    from bridge.operations import sender_docs as known

    try:
        return known.explained(name)
    except KeyError:
        nearest = get_close_matches(name.lower(), [row["scheme"] for row in known.rows()], n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "`bridge schemes` lists them"
        fail(f"there is no scheme {name}, {hint}")
