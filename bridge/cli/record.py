"""How commands come to the record: what they read of it, and what they ask its owner for."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from bridge.mapping.rules import Rules
    from bridge.operations.queries import Queries
    from bridge.settings.configuration import Settings


def ask(context: typer.Context, path: str, payload: dict[str, Any] | None = None, name: str = "") -> Any:
    """Read `path`, or ask for a change with a payload: see `operations.owner.ask`."""
    from bridge.observing import logs
    from bridge.operations.actions import owner
    from bridge.operations.actions.requests import InvalidRequest
    from bridge.settings.loading import load_admin

    logs.configure_command()
    settings, url = _load(context)
    try:
        return owner.ask(
            path,
            payload,
            store_url=url,
            admin=lambda: load_admin(context.obj),
            rules=lambda: _rules(settings),
            names=settings.names,
            targets=_target_urls(settings),
            name=name,
        )
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from None


def queries(context: typer.Context) -> "Queries":
    """What only reads, where the rules have no say in it."""
    from bridge.operations.queries import Queries
    from bridge.store.reader import Reader

    settings, url = _load(context)
    return Queries(reader=Reader(url), rules={}, names=settings.names, target_urls=_target_urls(settings))


def _load(context: typer.Context) -> "tuple[Settings, str]":
    from bridge.settings.loading import load, load_store
    from bridge.store import database

    return load(context.obj, strict=False)[0], database.located(load_store(context.obj).url, context.obj)


def _target_urls(settings: "Settings") -> dict[str, str | None]:
    return {name: target.url for name, target, _ in settings.targets() if target}


def _rules(settings: "Settings") -> "dict[str, Rules]":
    """The rules of the files; what they make depends on their targets' settings, so all of these must be readable."""
    from bridge.service import composition
    from bridge.service.rules import build_rules

    if all(target for _, target, _ in settings.targets()):
        return {source.name: rules for source, rules in build_rules(settings.directory)}
    return {name: source.rules for name, source in composition.build(settings.directory).sources.items()}
