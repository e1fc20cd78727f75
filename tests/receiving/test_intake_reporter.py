"""Logs and metrics for incoming requests: every refusal counts, its lines are sampled."""

from forwarding.support import logged

from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.log_limiter import AT_ONCE


def test_every_refusal_is_counted_and_the_line_after_a_flood_says_how_many_were_left_out() -> None:
    now, metrics = [0.0], Metrics()
    reporter = IntakeReporter(metrics, lambda: now[0])
    with logged() as log:
        for _ in range(AT_ONCE + 7):
            reporter.refused("orders", "signature_mismatch", "192.0.2.1", 10)
        now[0] += 1000
        reporter.refused("orders", "signature_mismatch", "192.0.2.1", 10, "/webhooks/orders")
    lines = log.named(logs.WEBHOOK_REFUSED)
    assert len(lines) == AT_ONCE + 1
    assert (lines[-1]["left_out"], lines[-1]["path"]) == (7, "/webhooks/orders")
    assert "left_out" not in lines[0]
    count = metrics.registry.get_sample_value(
        "bridge_webhooks_refused_total", {"source": "orders", "reason": "signature_mismatch"}
    )
    assert count == AT_ONCE + 8
