"""Access to the store for commands: reads it directly, and asks its owner for changes."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from bridge.errors import Problem
    from bridge.mapping.rules import Rules
    from bridge.operations.queries import Queries
    from bridge.settings.configuration import Settings

_LOADED = "bridge.configuration"  # its key among what a command keeps


def ask(context: typer.Context, path: str, payload: dict[str, Any] | None = None, name: str = "") -> Any:
    """Read `path`, or ask for a change with a payload: see `operations.owner.ask`."""
    from bridge.observing import logs
    from bridge.operations.actions import owner
    from bridge.operations.actions.requests import InvalidRequest
    from bridge.settings.loading import admin_settings

    logs.configure_command()
    settings, problems = configuration(context)
    try:
        return owner.ask(
            path,
            payload,
            store_url=_store_url(settings),
            admin=lambda: admin_settings(settings),
            rules=lambda: _rules(settings, problems),
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

    settings, _ = configuration(context)
    return Queries(
        reader=Reader(_store_url(settings)), rules={}, names=settings.names, target_urls=_target_urls(settings)
    )


def configuration(context: typer.Context) -> "tuple[Settings, list[Problem]]":
    """What could be read of the configuration, and all problems: read once a command, no secret need be set."""
    if _LOADED not in context.meta:
        from bridge.settings.loading import load

        context.meta[_LOADED] = load(context.obj, strict=False)
    loaded: tuple[Settings, list[Problem]] = context.meta[_LOADED]
    return loaded


def _store_url(settings: "Settings") -> str:
    from bridge.settings.loading import store_settings
    from bridge.store import database

    return database.located(store_settings(settings).url, settings.directory)


def _target_urls(settings: "Settings") -> dict[str, str | None]:
    return {name: target.url for name, target, _ in settings.targets() if target}


def _rules(settings: "Settings", problems: "list[Problem]") -> "dict[str, Rules]":
    """The rules of the files; what they make depends on their targets' settings, so all of these must be readable."""
    from bridge.service import composition
    from bridge.service.rules import rules_of

    if all(target for _, target, _ in settings.targets()):
        return {source.name: rules for source, rules in rules_of(settings, problems)}
    return {name: source.rules for name, source in composition.build(settings.directory).sources.items()}
