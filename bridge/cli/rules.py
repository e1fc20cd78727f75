"""The commands for rule authors: check, test, try, send, schema."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bridge import jsontext
from bridge.cli.filters import AsJson
from bridge.cli.output import fail, print_json, print_note, print_problems, print_text, print_why
from bridge.errors import ConfigError, Problem, Severity

app = typer.Typer()

Payload = Annotated[Path, typer.Argument(metavar="PAYLOAD", help="The file of the body.", exists=True, dir_okay=False)]
SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name.")]
Header = Annotated[
    list[str] | None, typer.Option("-H", "--header", metavar="'Name: value'", help="A header; may be repeated.")
]

_SENT_IN_VAIN = {
    401: "the running bridge has another secret for this source, or something in between changed the request",
    404: "the running bridge does not have this source, or it says enabled: false; restart it after a change",
}


@app.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Read the whole configuration and tell everything that is wrong with it, each with file, line and column."""
    from bridge.service import composition

    summary = ""
    try:
        built = composition.build(context.obj)
    except ConfigError as error:
        problems: Sequence[Problem] = error.problems
    else:
        problems = built.problems
        rules = sum(len(source.rules.rules) for source in built.sources.values())
        summary = f"ok: {len(built.sources)} sources, {rules} rules, {len(built.targets)} targets"
    if as_json:
        print_json([problem.as_json() for problem in problems])
    else:
        print_problems(problems)
        if summary:
            print_text(summary)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise typer.Exit(1)


@app.command("test")
def run_tests(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="Only the tests of this file of sources/.", exists=True)
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a JUnit report.")] = None,
    update: Annotated[bool, typer.Option(help="Write what the rules make today into the tests that fail.")] = False,
    coverage: Annotated[bool, typer.Option(help="Also tell which rules no test covers.")] = False,
) -> None:
    """Run the tests of all sources: payloads in, exactly the expected events out. Needs no secret, starts nothing."""
    from bridge.operations.rules import junit as reports
    from bridge.operations.rules import rule_tests
    from bridge.service.rules import build_rules

    results: list[rule_tests.TestResult] = []
    untested: list[str] = []
    updated = 0
    for source, rules in build_rules(context.obj):
        if path and Path(source.section.document.file).resolve() != path.resolve():
            continue
        its_results = list(rule_tests.run(source, rules))
        results += its_results
        untested += [f"{source.name}: {name}" for name in rule_tests.uncovered(source, its_results)]
        if update:
            updated += rule_tests.update(source, its_results)
    if path and not results:
        fail(f"{path} holds no tests of a source, name a file of sources/ that has some")
    failed = [result for result in results if result.different]
    for result in failed:
        print_text(f"FAILED {result.source}: {result.name} ({result.place})")
        for line in result.different:
            print_text(f"  {line}")
    if junit:
        try:
            junit.write_bytes(reports.junit(results))
        except OSError as error:
            fail(f"{junit} cannot be written: {error.strerror}")
    if coverage:
        print_text(f"{len(untested)} rules that no test covers", *(f"  {name}" for name in untested))
    print_text(f"{len(results) - len(failed)} passed, {len(failed)} failed" + f", {updated} updated" * update)
    if len(failed) > updated:
        raise typer.Exit(1)


@app.command("try")
def try_(
    context: typer.Context,
    source: SourceName,
    payload: Payload,
    header: Header = None,
    query: Annotated[
        list[str] | None, typer.Option(metavar="a=b", help="A parameter of the query; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what today's rules make of a payload, and why each rule did or did not fire. Sends and stores nothing."""
    from bridge.operations.naming import unknown
    from bridge.operations.rules.dry_run import as_json as dry_run_as_json
    from bridge.operations.rules.dry_run import dry_run
    from bridge.service.rules import build_rules

    built = {known.source.name: known for known in build_rules(context.obj)}
    if source not in built:
        fail(unknown("source", source, built))
    known = built[source]
    given = (_headers(header), _query(query))
    mapping = dry_run(source, known.rules, payload.read_bytes(), *given, credentials=known.credentials)
    told = dry_run_as_json(mapping)
    if as_json:
        print_json(told)
        return
    print_text(f"{told['state']}" + (f": {told['error']}" if told["error"] else ""))
    for event in told["events"]:
        headers = f", headers {jsontext.as_text(event['headers'])}" if "headers" in event else ""
        attributes = jsontext.as_text(event["attributes"])
        print_text(f"  {event['rule']} -> {event['type']} to {event['target']}: {attributes}{headers}")
    if told["why"]:
        print_text("", "Why:")
        print_why(told["why"])


@app.command()
def send(
    context: typer.Context,
    source: SourceName,
    payload: Payload,
    header: Header = None,
    url: Annotated[
        str | None, typer.Option(help="Where the bridge is reached, such as https://hooks.example.com.")
    ] = None,
) -> None:
    """Sign a payload as the source's sender would, with its first secret, and send it to a running bridge."""
    from bridge.operations.naming import unknown
    from bridge.operations.rules.send import send as send_signed
    from bridge.service import composition

    built = composition.build(context.obj)
    if source not in built.sources:
        fail(unknown("source", source, built.sources))
    status, answer = send_signed(
        built.sources[source], built.settings.listen, payload.read_bytes(), _headers(header), url
    )
    print_text(f"{status} {answer}")
    if status in _SENT_IN_VAIN:
        print_note(_SENT_IN_VAIN[status])
    if status >= 300:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration files, for editors."""
    from bridge.operations.rules.json_schema import json_schema

    print_json(json_schema())


def _headers(given: list[str] | None) -> dict[str, str]:
    headers = {}
    for text in given or []:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise typer.BadParameter(f"write 'Name: value', not {text!r}", param_hint="-H")
        headers[name.strip()] = value.strip()
    return headers


def _query(given: list[str] | None) -> dict[str, str]:
    query = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"write a=b, not {text!r}", param_hint="--query")
        query[name] = value
    return query
