"""Prometheus metrics, one registry for each bridge; what is counted where is said by the methods."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3, 10, 30)
_LONG = (0.1, 0.5, 1, 5, 30, 120, 600, 3600, 21600, 86400)


class _By(dict[str | tuple[str, ...], Any]):
    """A metric's children by their labels. The library looks each up under a lock, at the price of a log line."""

    def __init__(self, metric: Counter | Histogram) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: str | tuple[str, ...]) -> Any:
        child = self[labels] = self._metric.labels(*([labels] if isinstance(labels, str) else labels))
        return child


class Metrics:
    """Counters and histograms; labels are names from the configuration, never a stranger's text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.webhooks = _By(
            Counter(
                "bridge_webhooks",
                "Verified webhooks by what became of them",
                ["source", "state"],
                registry=self.registry,
            )
        )
        self.duplicates = _By(
            Counter(
                "bridge_webhook_duplicates", "Webhooks that repeat an earlier one", ["source"], registry=self.registry
            )
        )
        self.refused = _By(
            Counter(
                "bridge_webhooks_refused",
                "Requests that were not accepted",
                ["source", "reason"],
                registry=self.registry,
            )
        )
        self.handshakes = _By(
            Counter("bridge_handshakes", "Handshakes by their outcome", ["source", "outcome"], registry=self.registry)
        )
        self.intake = _By(
            Histogram(
                "bridge_intake_seconds",
                "From the whole request to the durable commit",
                ["source"],
                buckets=_FAST,
                registry=self.registry,
            )
        )
        self.attempts = _By(
            Counter("bridge_attempts", "Attempts by target and outcome", ["target", "outcome"], registry=self.registry)
        )
        self.attempt_seconds = _By(
            Histogram(
                "bridge_attempt_seconds", "How long an attempt took", ["target"], buckets=_SLOW, registry=self.registry
            )
        )
        self.events = _By(
            Counter("bridge_events", "Events that reached a final state", ["target", "state"], registry=self.registry)
        )
        self.delivery_seconds = _By(
            Histogram(
                "bridge_delivery_seconds",
                "From the accepted webhook to the delivered event",
                ["target"],
                buckets=_LONG,
                registry=self.registry,
            )
        )

    def watch(self, gauges: Callable[[], "Gauges"]) -> None:
        """Ask for the gauges at each scrape."""
        self.registry.register(_Watched(gauges))

    def render(self) -> bytes:
        """The text that Prometheus reads. It may query the store: call it off the event loop."""
        return generate_latest(self.registry)


class Gauges:
    """What is true at the moment of a scrape: the backlog of each target, and whether it is paused."""

    def __init__(self, backlog: dict[str, tuple[int, float]], paused: dict[str, bool]) -> None:
        self.backlog = backlog  # target -> pending events, age of the oldest in seconds
        self.paused = paused


class _Watched(Collector):
    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        return []  # keeps the registry from collecting at registration

    def collect(self) -> Iterator[Metric]:
        gauges = self._gauges()
        count = GaugeMetricFamily("bridge_backlog_events", "Pending events", labels=["target"])
        age = GaugeMetricFamily("bridge_backlog_oldest_seconds", "Age of the oldest pending event", labels=["target"])
        paused = GaugeMetricFamily("bridge_target_paused", "1 while a target is paused", labels=["target"])
        for target in sorted({*gauges.backlog, *gauges.paused}):
            pending, oldest = gauges.backlog.get(target, (0, 0.0))
            count.add_metric([target], pending)
            age.add_metric([target], oldest)
            paused.add_metric([target], float(gauges.paused.get(target, False)))
        yield from (count, age, paused)
