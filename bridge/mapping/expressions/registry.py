"""A registry of names, filters and tests: immutable, and part of the key of the expression cache."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bridge.mapping.expressions import filters

Functions = tuple[tuple[str, Callable[..., Any]], ...]


@dataclass(frozen=True)
class Registry:
    """What the expressions of one configuration may use. Two that are equal give a text the same meaning."""

    names: frozenset[str]
    added_filters: Functions = ()
    added_tests: Functions = ()

    @classmethod
    def of(cls, *names: str) -> "Registry":
        """The filters and tests that are always there, and these names."""
        return cls(frozenset(names))

    def and_names(self, *names: str) -> "Registry":
        """The same with more names."""
        return replace(self, names=self.names.union(names))

    @cached_property
    def filters(self) -> dict[str, Callable[..., Any]]:
        """All filters by their names."""
        return {**filters.FILTERS, **dict(self.added_filters)}

    @cached_property
    def tests(self) -> dict[str, Callable[..., Any]]:
        """All tests by their names."""
        return {**filters.TESTS, **dict(self.added_tests)}
