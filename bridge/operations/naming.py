"""Checks names of sources, rules and targets; an unknown one is an error with the nearest known name."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

from bridge.errors import BridgeError
from bridge.settings.configuration import Names
from bridge.store import reader
from bridge.store.reader import Filter, Reading

_LISTED = 20
_LENGTH = 64  # that a name may have


class UnknownName(BridgeError):
    """There is nothing of this name; says what may have been meant."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """`there is no source shpo, did you mean shop? the sources are forms, shop`"""
    names = sorted(known)
    near = [f"did you mean {name}? " for name in get_close_matches(name[: 2 * _LENGTH], names, 1)]
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    those = f"the {kind}s are {listed}" if names else "nor any other"
    return f"there is no {kind} {name[:_LENGTH]}, {''.join(near)}{those}"


def check(connection: Reading, filter_: Filter, states: type[StrEnum], names: Names) -> None:
    """Make sure that a filter is by a state, source, rule and target that there is, or that the record knows of.

    Raises:
        UnknownName: it is not.
    """
    if filter_.state is not None and filter_.state not in set(states):
        raise UnknownName(unknown("state", filter_.state, set(states)))
    if not names.are_all:
        return
    for kind, configured in (("source", names.source), ("rule", names.rule), ("target", names.target)):
        wanted = getattr(filter_, kind)
        if wanted is None or wanted in configured:
            continue
        recorded = reader.names(connection, kind)  # of the past: all rows are looked at, which few filters need
        if wanted not in recorded:
            raise UnknownName(unknown(kind, wanted, configured | recorded))
