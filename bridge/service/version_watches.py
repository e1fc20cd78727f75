"""Version checks of the targets with `version: auto`, against what their rules need of the server."""

import asyncio
from collections.abc import Awaitable, Callable

from bridge.errors import BridgeError
from bridge.service.composition import Generation
from bridge.superoffice.event_types import AUTO
from bridge.superoffice.send_event import SuperOffice
from bridge.superoffice.version import VersionWatch, read_version

_AT_ONCE = 8  # questions to as many targets


def version_watches(built: Generation) -> dict[str, VersionWatch]:
    """What asks those targets for their version, by name."""
    turns = asyncio.Semaphore(_AT_ONCE)
    return {
        name: VersionWatch(name, _asking(superoffice), named_types(built, name), turns)
        for name, superoffice in built.targets.items()
        if built.settings.targets[name].version == AUTO
    }


def named_types(built: Generation, target: str) -> set[str]:
    """The event types of the rules that name a target outright."""
    rules = (rule for source in built.sources.values() for rule in source.rules.rules)
    return {rule.type for rule in rules if target in rule.named}


def _asking(superoffice: SuperOffice) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        try:
            answer = await superoffice.ask()
        except BridgeError:  # attempts tell of a target that cannot be reached
            return None
        return read_version(answer)

    return ask
