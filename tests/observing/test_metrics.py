"""What is scraped is what the library itself would show, number for number, by Prometheus' conventions."""

import re
import shutil
import subprocess
import threading
from collections.abc import Sequence

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bridge.model import Outcome
from bridge.observing.counters import Counted, Family, counters, histograms
from bridge.observing.metrics import Gauges, Metrics

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


def everything() -> bytes:
    """A scrape in which each metric has a sample."""
    metrics = Metrics()
    metrics.watch(lambda: Gauges({"crm": (1, 2.5)}, {"crm": False}))
    families = [family for family in vars(metrics).values() if isinstance(family, Family)]
    assert len(families) > 8
    for family in families:
        child = family[("x",) * len(family._labels) if len(family._labels) > 1 else "x"]
        child.observe(0.1) if hasattr(child, "observe") else child.inc()
    return metrics.render()


_NOT_IN_NAMES = """
milliseconds microseconds nanoseconds minutes hours days weeks ms us ns s sec min m h d b kb mb gb tb pb
kilobytes megabytes gigabytes percent percents gauge counter histogram summary
"""
NOT_IN_NAMES = frozenset(_NOT_IN_NAMES.split())  # promtool's list: units that are no base units, and types


def test_names_and_units_follow_the_conventions_of_prometheus() -> None:
    scraped = text_string_to_metric_families(everything().decode())
    families = [family for family in scraped if not family.name.endswith("_created")]  # these are the library's
    assert len(families) > 12
    for family in families:
        name = family.name
        assert re.fullmatch(r"bridge(_[a-z][a-z0-9]*)+", name), name
        assert not NOT_IN_NAMES & {*name.split("_")}, name
        assert family.documentation
        assert family.documentation[0].isupper() or family.documentation[0].isdigit()
        assert family.type in ("counter", "histogram", "gauge"), name
        assert family.type != "histogram" or name.endswith(("_seconds", "_bytes")), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info")), name
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith(("_total", "_created"))
            assert all(re.fullmatch(r"[a-z]+", label) for label in sample.labels)
            assert "le" not in sample.labels or sample.name.endswith("_bucket")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool: apt-get install prometheus")
def test_promtool_finds_nothing_to_complain_about() -> None:
    checked = subprocess.run(("promtool", "check", "metrics"), input=everything(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
