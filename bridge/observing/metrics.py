"""Prometheus metrics, in one registry for each bridge."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.observing import logs
from bridge.observing.counters import Counted, counters, histograms

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0)
_LONG = (0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0, 86400.0)


class Metrics:
    """Counters and histograms; labels are names from the configuration, never a stranger's text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.webhooks = counters("bridge_webhooks", "Verified webhooks by what became of them", ("source", "state"))
        self.duplicates = counters("bridge_webhook_duplicates", "Webhooks that repeat an earlier one", ("source",))
        self.differing = counters(
            "bridge_webhook_duplicates_differing", "Duplicates that bring another body than the first", ("source",)
        )
        self.refused = counters("bridge_webhooks_refused", "Requests that were not accepted", ("source", "reason"))
        self.admin_refused = counters(
            "bridge_admin_refused", "Requests to the admin port that were not served", ("reason",)
        )
        self.handshakes = counters("bridge_handshakes", "Handshakes by their outcome", ("source", "outcome"))
        self.intake = histograms(
            "bridge_intake_seconds", "From the whole request to the durable commit", ("source",), _FAST
        )
        self.attempts = counters("bridge_attempts", "Attempts by target and outcome", ("target", "outcome"))
        self.attempt_seconds = histograms("bridge_attempt_seconds", "How long an attempt took", ("target",), _SLOW)
        self.events = counters("bridge_events", "Events that reached a final state", ("target", "state"))
        self.delivery_seconds = histograms(
            "bridge_delivery_seconds", "From the accepted webhook to the delivered event", ("target",), _LONG
        )
        self.task_failures = counters(
            "bridge_task_failures", "Failures of long-running tasks, each of which was begun anew", ("task",)
        )
        came = (self.webhooks, self.duplicates, self.differing, self.refused, self.handshakes, self.intake)
        sent = (self.attempts, self.attempt_seconds, self.events, self.delivery_seconds)
        self.registry.register(Counted((*came, *sent, self.admin_refused, self.task_failures)))
        self.registry.register(_LogLines())

    def watch(self, gauges: Callable[[], "Gauges"]) -> None:
        """Ask for the gauges at each scrape."""
        self.registry.register(_Watched(gauges))

    def render(self) -> bytes:
        """The text that Prometheus reads. It may query the store: call it off the event loop."""
        return generate_latest(self.registry)


class _LogLines(Collector):
    def collect(self) -> Iterator[Metric]:
        text = "Log lines that found no room, since nobody read them, or that could not be written"
        yield CounterMetricFamily("bridge_log_lines_dropped", text, logs.dropped())


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
