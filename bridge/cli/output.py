"""What commands print: tables for people, JSON for scripts, problems and failures on stderr.

Everything goes out here, and what strangers wrote is in much of it: what would act on a terminal is escaped, and so are
line ends within a line or a cell. JSON stays as it is where a script reads it.
"""

import sys
from collections.abc import Iterable
from typing import Any, NoReturn, TextIO

from bridge import jsontext
from bridge.errors import Problem
from bridge.printable import printable


def fail(message: str, *more: str) -> NoReturn:
    """End with exit code 1 and a line that says why, or a few."""
    for line in (f"bridge: {message}", *more):
        _print(sys.stderr, line)
    raise SystemExit(1)


def print_problems(problems: Iterable[Problem]) -> None:
    """Each problem on a line of its own, on stderr."""
    for problem in problems:
        _print(sys.stderr, f"{problem.severity}: {problem}")


def print_json(value: Any) -> None:
    """One JSON value on a line."""
    text = jsontext.encode(value)
    sys.stdout.buffer.write((printable(text.decode()).encode() if sys.stdout.isatty() else text) + b"\n")
    sys.stdout.flush()


def print_text(*lines: str) -> None:
    """Lines, however long."""
    for line in lines or ("",):
        _print(sys.stdout, line)


def print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """A list: a table of some columns, or one JSON array of everything."""
    if as_json:
        print_json(rows)
        return
    _print_table([list(columns), *([_cell(row[column]) for column in columns] for row in rows)], header=True)


def print_one(row: dict[str, Any], *, as_json: bool) -> None:
    """One record: its fields below one another, or one JSON object."""
    if as_json:
        print_json(row)
        return
    cells = []
    for name, value in row.items():
        entries = value if isinstance(value, list) and value else [value]
        cells += [[name if number == 0 else "", _entry(entry)] for number, entry in enumerate(entries)]
    _print_table(cells, header=False)


def print_why(why: list[dict[str, Any]] | None) -> None:
    """For each rule, whether it matched, and why not."""
    for one in why or []:
        print_text(f"  {one['rule']}: {_because(one)}")
        if one["error"] or one["clause"]:
            for lookup, value in (one["values"] or {}).items():
                print_text(f"      {lookup}: {jsontext.encode(value).decode()}")


def print_note(note: str | None) -> None:
    """What to know of an answer, where there is something to say."""
    if note:
        print_text(f"Note: {note}.")


def _print(out: TextIO, line: str) -> None:
    out.write(f"{printable(line)}\n")
    out.flush()


def _print_table(cells: list[list[str]], *, header: bool) -> None:
    """Rows in columns: as wide as they come where a script reads them, else as they fit the terminal."""
    if sys.stdout.isatty():
        _print_fitted(cells, header=header)
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.flush()


def _print_fitted(cells: list[list[str]], *, header: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=header)
    first, *rest = cells if header else [[""] * len(cells[0]), *cells]
    for name in first:
        table.add_column(name, overflow="ellipsis" if header else "fold")  # to cut a long word would lose what it says
    for row in rest:
        table.add_row(*map(Text, row))
    Console(highlight=False, emoji=False).print(table)


def _because(why: dict[str, Any]) -> str:
    if why["error"]:
        return f"broke: {why['error']}"
    if why["matched"]:
        return f"matched, {len(why['events'])} event(s)"
    return f"did not match, false was {why['clause']}" if why["clause"] else "did not match"


def _cell(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else printable(jsontext.as_text(value))


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return printable(jsontext.as_text(entry) if entry != [] else "")
    told = {name: value for name, value in entry.items() if value not in (None, "", False, [], {})}
    return printable("  ".join(f"{name}={jsontext.as_text(value)}" for name, value in told.items()))
