"""What is scraped is what the library itself would show, number for number."""

import threading
from collections.abc import Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest

from bridge.model import Outcome
from bridge.observing.counting import Counted, counters, histograms
from bridge.observing.metrics import Metrics

BOUNDS = (0.01, 0.5, 1.0, 30.0, 86400.0)
AMOUNTS = (0.0, 0.01, 0.010001, 0.5, 0.75, 1, 1, 29.9, 86400, 86401, 1e9, -0.5)


def scraped(registry: CollectorRegistry) -> list[str]:
    """The text, with the times at which series began left out."""
    lines = generate_latest(registry).decode().splitlines()
    return [line.rpartition(" ")[0] if "_created{" in line else line for line in lines]


def by_the_library(labels: Sequence[tuple[str, str]]) -> list[str]:
    registry = CollectorRegistry()
    counter = prometheus_client.Counter("some", 'How "many"', ["target", "outcome"], registry=registry)
    histogram = prometheus_client.Histogram("some_seconds", "How long", ["target"], buckets=BOUNDS, registry=registry)
    for pair in labels:
        counter.labels(*pair).inc()
        for amount in AMOUNTS:
            histogram.labels(pair[0]).observe(amount)
    return scraped(registry)


def by_us(labels: Sequence[tuple[str, str]]) -> list[str]:
    registry = CollectorRegistry()
    some, seconds = (
        counters("some", 'How "many"', ("target", "outcome")),
        histograms("some_seconds", "How long", ("target",), BOUNDS),
    )
    registry.register(Counted((some, seconds)))
    for pair in labels:
        some[pair].inc()
        for amount in AMOUNTS:
            seconds[pair[0]].observe(amount)
    return scraped(registry)


def test_the_text_is_the_librarys() -> None:
    for labels in (
        [],
        [("crm", Outcome.DELIVERED)],
        [("crm", "delivered"), ("erp", Outcome.UNKNOWN), ("crm", Outcome.DELIVERED), ('a"b\n', "x")],
    ):
        assert by_us(labels) == by_the_library(labels)


def test_a_series_begins_when_it_is_first_counted() -> None:
    metrics = Metrics()
    assert metrics.registry.get_sample_value("bridge_events_created", {"target": "crm", "state": "dead"}) is None
    metrics.events["crm", "dead"].inc()
    begun = metrics.registry.get_sample_value("bridge_events_created", {"target": "crm", "state": "dead"})
    assert begun is not None
    assert begun > 1e9
    metrics.events["crm", "dead"].inc()
    assert metrics.registry.get_sample_value("bridge_events_created", {"target": "crm", "state": "dead"}) == begun


def test_a_scrape_in_another_thread_disturbs_no_counting() -> None:
    metrics = Metrics()
    failed: list[Exception] = []
    stop = threading.Event()

    def scrape() -> None:
        try:
            while not stop.is_set():
                metrics.render()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    for number in range(3000):
        metrics.refused["", f"reason {number % 300}"].inc()
        metrics.intake[f"source {number % 100}"].observe(0.1)
    stop.set()
    thread.join()
    assert failed == []
    assert metrics.registry.get_sample_value("bridge_intake_seconds_count", {"source": "source 7"}) == 30
