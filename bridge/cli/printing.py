"""What commands print: tables for people, JSON for scripts, problems and failures on stderr."""

import sys
from collections.abc import Iterable
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bridge import jsontext
from bridge.errors import Problem

_TERMINAL = sys.stdout.isatty()
_out = Console(highlight=False, soft_wrap=not _TERMINAL, width=None if _TERMINAL else 10_000)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> NoReturn:
    """End with exit code 1 and a line that says why."""
    _err.print(f"bridge: {message}", markup=False)
    raise SystemExit(1)


def print_problems(problems: Iterable[Problem]) -> None:
    """Each problem on a line of its own, on stderr."""
    for problem in problems:
        _err.print(f"{problem.severity}: {problem}", markup=False)


def print_json(value: Any) -> None:
    """One JSON value on a line."""
    sys.stdout.buffer.write(jsontext.encode(value) + b"\n")
    sys.stdout.flush()


def print_text(text: str = "") -> None:
    """A line."""
    _out.print(text, markup=False)


def print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """A list: a table of some columns, or one JSON array of everything."""
    if as_json:
        print_json(rows)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    _out.print(table)


def print_one(row: dict[str, Any], *, as_json: bool) -> None:
    """One record: its fields below one another, or one JSON object."""
    if as_json:
        print_json(row)
        return
    table = Table("field", "value", box=None, pad_edge=False, show_header=False)
    for name, value in row.items():
        entries = value if isinstance(value, list) and value else [value]
        for number, entry in enumerate(entries):
            table.add_row(name if number == 0 else "", _entry(entry))
    _out.print(table)


def print_why(why: list[dict[str, Any]] | None) -> None:
    """For each rule, whether it matched, and why not."""
    for one in why or []:
        _out.print(f"  {one['rule']}: {_because(one)}", markup=False)


def print_note(note: str | None) -> None:
    """What to know of an answer, where there is something to say."""
    if note:
        print_text(f"Note: {note}.")


def _because(why: dict[str, Any]) -> str:
    values = "".join(
        f"\n      {lookup}: {jsontext.encode(value).decode()}" for lookup, value in (why["values"] or {}).items()
    )
    if why["error"]:
        return f"broke: {why['error']}{values}"
    if why["matched"]:
        return f"matched, {len(why['events'])} event(s)"
    return f"did not match, false was {why['clause']}{values}" if why["clause"] else "did not match"


def _cell(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else escape(jsontext.as_text(value))


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return escape(jsontext.as_text(entry) if entry != [] else "")
    told = {name: value for name, value in entry.items() if value not in (None, "", False, [], {})}
    return escape("  ".join(f"{name}={jsontext.as_text(value)}" for name, value in told.items()))
