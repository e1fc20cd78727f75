"""`make bench`: measures, prints the table, and writes it as JSON.

Everything is taken in one run, since a figure of this machine means little but beside another one of the same minutes.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import processes, rows

_RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"only some of: {', '.join(rows.GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="whether all still runs; the figures mean little")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="where to write the rows as JSON")
    asked = parser.parse_args()
    console = Console(width=200)
    console.print(f"server on core {processes.SERVER}, load and stub on {processes.OTHERS}, by {processes.GENERATOR}")
    table = Table("what", "a second", "ratio", "of", "CPU us", "CPU x", "p99 ms", "MB", "bar", "met", "note")
    measured: list[rows.Row] = []
    for name in asked.groups or rows.GROUPS:
        directory = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            for row in rows.GROUPS[name](directory, rows.QUICK if asked.quick else rows.FULL):
                measured.append(row)
                console.print(f"  {row.name}", style="dim")
                table.add_row(*_cells(row))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    console.print(table)
    asked.out.write_text(json.dumps([row.as_json() for row in measured], indent=1))
    console.print(f"the rows as JSON: {asked.out}")


def _cells(row: rows.Row) -> tuple[str, ...]:
    def figure(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:,.{digits}f}"

    met = "" if row.met is None else "yes" if row.met else "[bold]no[/]"
    return (
        row.name,
        figure(row.rate, 0),
        figure(row.ratio, 3),
        row.of,
        figure(row.cpu_us, 0),
        figure(row.cpu_ratio, 1),
        figure(row.p99_ms, 2),
        figure(row.rss_mb, 0),
        row.bar,
        met,
        row.note,
    )


if __name__ == "__main__":
    main()
