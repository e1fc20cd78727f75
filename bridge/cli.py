"""The commands. Thin: they read arguments, call the rooms, and print."""

import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from bridge import __version__, jsontext
from bridge.errors import BridgeError, ConfigError, Problem, Severity
from bridge.model import EventState, WebhookState
from bridge.sandbox import demo as demonstration
from bridge.sandbox import faults, superoffice
from bridge.service import building, running
from bridge.settings.loading import load_store
from bridge.settings.parsing import duration
from bridge.store import reading
from bridge.store.store import owned
from bridge.times import now

app = typer.Typer(
    name="bridge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Takes webhooks, proves that they are genuine, turns them into SuperOffice WorkflowEvents by YAML rules, "
    "and delivers each to SendEvent, with retries and a record of every result.",
)
events = typer.Typer(no_args_is_help=True, help="Look at events: what is pending, delivered, dead, and why.")
webhooks = typer.Typer(no_args_is_help=True, help="Look at webhooks: what came in, and what the rules made of it.")
app.add_typer(events, name="events")
app.add_typer(webhooks, name="webhooks")

_out = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 10_000)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Source = Annotated[str | None, typer.Option(help="Only this source.")]
Rule = Annotated[str | None, typer.Option(help="Only where this rule made an event.")]
Target = Annotated[str | None, typer.Option(help="Only events for this target.")]
Since = Annotated[str | None, typer.Option(help="Only newer ones: 15m, 48h, 7d, or a time such as 2026-11-24T08:00Z.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, the newest first.")]


class _Directory:
    path = Path("config")


def main() -> None:
    """Run a command; whatever the bridge itself has to say against it is told in a line, with exit code 1."""
    try:
        app()
    except ConfigError as error:
        _print_problems(error.problems)
        raise SystemExit(1) from None
    except BridgeError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _err.print(f"bridge: {message}", markup=False)
    raise SystemExit(1)


def _print_problems(problems: list[Problem]) -> None:
    for problem in problems:
        _err.print(f"{problem.severity}: {problem}", markup=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    config: Annotated[Path, typer.Option("--config", metavar="DIR", help="The configuration's directory.")] = Path(
        "config"
    ),
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """What every command shares."""
    _Directory.path = config


@app.command()
def serve() -> None:
    """Receive, verify, map, store, forward and record, until SIGTERM or Ctrl-C; a second one ends at once."""
    running.serve(_Directory.path)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Read the whole configuration and tell everything that is wrong with it, each with file, line and column."""
    try:
        built = building.build(_Directory.path)
        problems = built.problems
    except ConfigError as error:
        built, problems = None, error.problems
    if as_json:
        _print_json([problem.as_json() for problem in problems])
    else:
        _print_problems(problems)
        if built:
            rules = sum(len(source.rules.rules) for source in built.sources.values())
            typer.echo(f"ok: {len(built.sources)} sources, {rules} rules, {len(built.targets)} targets")
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)


@app.command()
def migrate(
    check_only: Annotated[
        bool, typer.Option("--check", help="Only tell; exit code 1 where there is something to do.")
    ] = False,
) -> None:
    """Bring the store's schema up to date. `serve` does so by itself when it starts."""
    url = _store_url()
    if check_only:
        with reading.reading(url):
            typer.echo("the store is up to date")
        return
    with owned(url):
        typer.echo("the store is up to date")


@events.command("list")
def list_events(
    state: Annotated[EventState | None, typer.Option(help="Only events in this state.")] = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List events, newest first."""
    with reading.reading(_store_url()) as connection:
        rows = reading.list_events(connection, _filter(state, source, rule, target, since, limit))
    columns = ("id", "state", "source", "rule", "target", "type", "attempts", "created_at", "reason")
    _print_rows(rows, columns, as_json=as_json)


@events.command("show")
def show_event(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The event's id, ev_...")], as_json: AsJson = False
) -> None:
    """Show one event with all its attempts."""
    with reading.reading(_store_url()) as connection:
        event = reading.show_event(connection, event_id)
    _print_one(event, as_json=as_json)


@webhooks.command("list")
def list_webhooks(
    state: Annotated[WebhookState | None, typer.Option(help="Only webhooks in this state.")] = None,
    source: Source = None,
    rule: Rule = None,
    target: Target = None,
    since: Since = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List webhooks, newest first."""
    with reading.reading(_store_url()) as connection:
        rows = reading.list_webhooks(connection, _filter(state, source, rule, target, since, limit))
    _print_rows(
        rows, ("id", "state", "source", "received_at", "size", "dedupe_key", "events", "error"), as_json=as_json
    )


@webhooks.command("show")
def show_webhook(
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, wh_...")], as_json: AsJson = False
) -> None:
    """Show one webhook: what came in, what the rules made of it, and why not more."""
    with reading.reading(_store_url()) as connection:
        webhook = reading.show_webhook(connection, webhook_id)
    _print_one(webhook, as_json=as_json)


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any free one.")] = 8090,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What to answer first, such as '503*2 retry-after=1' or 'hang tenant=crm'; may be repeated."),
    ] = None,
) -> None:
    """Play a SuperOffice on this machine: it takes SendEvent, lists what it got, and fails when told to."""
    try:
        superoffice.run(host, port, fault or [], lambda url: typer.echo(f"the sandbox listens on {url}"))
    except ValueError as error:
        _fail(f"{error}; the faults are {', '.join(faults.FAULTS)}")
    except OSError as error:
        _fail(f"cannot listen on {host}:{port}: {error.strerror}, free the port or choose another")


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave everything running, and print what to try.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the demo's store and log go; a temporary directory by default.")
    ] = None,
) -> None:
    """Show the main job on the example configuration: signed webhooks in, recorded results out."""
    if not demonstration.run(_Directory.path, directory, keep=keep):
        raise typer.Exit(1)


def _store_url() -> str:
    return building.store_url(_Directory.path, load_store(_Directory.path))


def _filter(
    state: StrEnum | None, source: str | None, rule: str | None, target: str | None, since: str | None, limit: int
) -> reading.Filter:
    return reading.Filter(state=state, source=source, rule=rule, target=target, since=_moment(since), limit=limit)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"\d+(ms|s|m|h|d)", text):
        return now() - duration(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "write 15m, 48h, 7d, or a time such as 2026-11-24T08:00Z", param_hint="--since"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _print_json(value: Any) -> None:
    sys.stdout.buffer.write(jsontext.encode(value) + b"\n")
    sys.stdout.flush()


def _print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        _print_json(rows)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    _out.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    return jsontext.as_text(value).replace("[", r"\[")


def _print_one(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(row)
        return
    table = Table("field", "value", box=None, pad_edge=False, show_header=False)
    for name, value in row.items():
        if isinstance(value, list) and value:
            for number, entry in enumerate(value):
                table.add_row(name if number == 0 else "", _entry(entry))
        else:
            table.add_row(name, jsontext.as_text(value).replace("[", r"\["))
    _out.print(table)


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return jsontext.as_text(entry).replace("[", r"\[")
    fields = (
        f"{name}={jsontext.as_text(value)}" for name, value in entry.items() if value not in (None, "", False, [])
    )
    return "  ".join(fields).replace("[", r"\[")
