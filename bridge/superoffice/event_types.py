"""The WorkflowEventType names of each SuperOffice version.

The names are those of the enum WorkflowEventType in SuperOffice's own client library (@superoffice/webapi). That a
server of the same version knows the same names is our reading of it.
"""

import re

LATEST = "latest"
AUTO = "auto"  # the server is asked for its version
NEWEST = (12, 4)  # the newest version that was looked at

_EARLY = frozenset({"None", "Run", "Click"})
_CURRENT = frozenset(
    {
        "None",
        "Run",
        "PersonCreated",
        "PersonUpdated",
        "AddedToProject",
        "CreatedRequest",
        "LinkClicked",
        "AddedToSelection",
        "FormSubmitted",
        "AddedMessage",
        "StartedChat",
        "OrderPlaced",
        "SaleCreated",
        "SaleSold",
        "SaleLost",
    }
)
_SINCE = (((10, 2, 7), _EARLY), ((10, 2, 9), _CURRENT))  # from a version on, until the next one
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,5}")
KNOWN = f"{LATEST}, {AUTO}, or a version from 10.2.7 to 12.4"


def event_types(version: str) -> frozenset[str] | None:
    """The names that a version knows; None where nothing is known of it.

    Of `auto` they are all that some version knows: which of them the server has, shows when it is asked. A server that
    is newer than all that is known has at least the newest names, as far as is known.
    """
    if version == LATEST:
        return _CURRENT
    if version == AUTO:
        return _EARLY | _CURRENT
    numbers = _numbers(version)
    return next((names for since, names in reversed(_SINCE) if numbers >= since), None)


def is_known(version: str) -> bool:
    """Whether `version:` may name a version: what is newer than all that was looked at is no claim of ours."""
    return event_types(version) is not None and _numbers(version)[:2] <= NEWEST


def is_version(text: object) -> bool:
    """Whether a server's answer is a version such as `10.3.5.1234`: numbers and points, and safe to log."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("."))) if _VERSION.fullmatch(version) else ()
