"""Counters and histograms as plain numbers, which become the library's samples only at a scrape.

The library takes a lock for each number and looks for a bucket in a loop: for each webhook, that is as dear as a log
line. Here only the event loop's thread counts, and a scrape copies what it reads, since it runs in another.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Labels = str | tuple[str, ...]
Sample = tuple[str, dict[str, str], float]  # the end of its name, labels beside its family's, and the value


class Counter:
    """A number that grows."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0
        self.created = time.time()

    def inc(self) -> None:
        """Count one more."""
        self.value += 1

    def samples(self) -> Iterator[Sample]:
        """As the library has them."""
        yield "_total", {}, self.value
        yield "_created", {}, self.created


class Histogram:
    """How many amounts were as large as each of `bounds` at most; the last one holds all."""

    __slots__ = ("_bounds", "counts", "created", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * len(bounds)  # of the amounts that no smaller bound holds
        self.sum = 0.0
        self.created = time.time()

    def observe(self, amount: float) -> None:
        """Count an amount."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.sum += amount

    def samples(self) -> Iterator[Sample]:
        """As the library has them."""
        counts = list(accumulate(self.counts.copy()))
        for bound, count in zip(self._bounds, counts, strict=True):
            yield "_bucket", {"le": str(bound) if bound < math.inf else "+Inf"}, count
        yield "_count", {}, counts[-1]
        yield "_sum", {}, self.sum
        yield "_created", {}, self.created


Child = TypeVar("Child", bound="Counter | Histogram")


class Family(dict[Labels, Child]):
    """Counters or histograms of one name by their labels; one is there as soon as it is asked for."""

    def __init__(
        self, kind: str, make: Callable[[], Child], name: str, documentation: str, labels: Sequence[str]
    ) -> None:
        super().__init__()
        self._kind = kind
        self._make = make
        self._name = name
        self._documentation = documentation
        self._labels = labels

    def __missing__(self, labels: Labels) -> Child:
        child = self[labels] = self._make()
        return child

    def metric(self) -> Metric:
        """As the library has it."""
        metric = Metric(self._name, self._documentation, self._kind)
        for labels, child in self.copy().items():
            values = (labels,) if isinstance(labels, str) else labels
            named = {name: str(value) for name, value in zip(self._labels, values, strict=True)}
            for end, more, value in child.samples():
                metric.add_sample(self._name + end, named | more, value)
        return metric


def counters(name: str, documentation: str, labels: Sequence[str]) -> Family[Counter]:
    """A family of counters."""
    return Family("counter", Counter, name, documentation, labels)


def histograms(name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]) -> Family[Histogram]:
    """A family of histograms."""
    bounds = (*bounds, math.inf)
    return Family("histogram", lambda: Histogram(bounds), name, documentation, labels)


class Counted(Collector):
    """What was counted, for a registry."""

    def __init__(self, families: Iterable[Family[Any]]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        """The library asks for it at each scrape."""
        return (family.metric() for family in self._families)
