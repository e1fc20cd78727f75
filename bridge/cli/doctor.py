"""The `doctor` command: checks from outside what would keep events from being delivered."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.filters import AsJson
from bridge.cli.output import fail, print_json, print_text
from bridge.errors import StoreError

if TYPE_CHECKING:
    from bridge.service.composition import Generation

app = typer.Typer()


@app.command()
def doctor(
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="Only this target.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at targets: DNS, TLS, tenant, version, clock, log-in, SendEvent, and which events wait. Sends none.

    The exit code is 1 if something is wrong.
    """
    from bridge.operations.doctor import doctor as doctors
    from bridge.operations.naming import unknown
    from bridge.service.composition import build
    from bridge.service.version_watches import named_types

    built = build(context.obj)
    names = sorted(built.targets)
    if target is not None and target not in built.targets:
        fail(unknown("target", target, names))
    patients = [
        doctors.Patient(
            name=name,
            settings=built.settings.targets[name],
            superoffice=built.targets[name],
            types=named_types(built, name),
            kept_token=_keeps_token(built, name),
        )
        for name in names
        if target in (None, name)
    ]
    found = asyncio.run(doctors.examine(patients))
    found += [doctors.waiting(shown) for shown in _shown(built) if target in (None, shown["name"])]
    found.sort(key=lambda finding: finding.target)  # which keeps the order of each target's findings
    if as_json:
        print_json([finding.as_json() for finding in found])
    else:
        for finding in found:
            hint = f", {finding.hint}" if finding.hint else ""
            print_text(f"{finding.target}  {finding.state:8}  {finding.check}: {finding.message}{hint}")
    if any(finding.state is doctors.Health.WRONG for finding in found):
        raise typer.Exit(1)


def _shown(built: "Generation") -> list[dict[str, Any]]:
    """What waits for each target; nothing where there is no store yet, or none that this version reads."""
    from bridge.operations.queries import Queries
    from bridge.store.reader import Reader

    urls = {name: target.url for name, target in built.settings.targets.items()}
    try:
        return Queries(reader=Reader(built.store_url), rules={}, names=built.names, target_urls=urls).targets()
    except StoreError:
        return []


def _keeps_token(built: "Generation", target: str) -> bool:
    """Whether the store keeps a refresh token that the target's log-in service gave in place of the configured one."""
    from bridge.store import reader, refresh_tokens

    try:
        with reader.reading(built.store_url) as connection:
            return refresh_tokens.load(connection, [target]) != [None]
    except StoreError:  # there is no store yet, or none that this version reads
        return False
