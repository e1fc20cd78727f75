"""The public port and the admin port of a running bridge: statuses, problems, readiness, metrics."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import HANG, Bridge, Superoffice, by_github, eventually

from .test_delivery import ISSUES, issue


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Iterator[Bridge]:
    """One bridge for all tests that leave it as it was."""
    root = tmp_path_factory.mktemp("ports")
    bridge = Bridge(root, {"crm": sandbox.target("ports")}, {"github": ISSUES}, listen={"max_body": "4KiB"})
    yield bridge.start()
    bridge.close()


def is_problem(answer: httpx.Response, status: int) -> bool:
    """Whether an answer is a problem as RFC 9457 has it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["title"]
    assert content["detail"]
    return True


def test_whatever_is_refused_is_a_problem_and_leaves_nothing(bridge: Bridge) -> None:
    body, before = issue(1), bridge.webhooks()
    assert is_problem(bridge.post("github", body), 401)
    assert is_problem(bridge.post("github", body, by_github(body, secret="another")), 401)
    assert is_problem(bridge.post("github", body + b" ", by_github(body)), 401)
    assert is_problem(bridge.post("gitlab", body, by_github(body)), 404)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused = bridge.client.request(method, "/webhooks/github")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert method == "HEAD" or is_problem(refused, 405)
    large = b'"' + b"x" * 4096 + b'"'
    assert is_problem(bridge.post("github", large, by_github(large)), 413)
    assert is_problem(bridge.client.post("/webhooks/github", content=iter([large]), headers=by_github(large)), 413)
    assert is_problem(bridge.post("github", body, by_github(body) | {"X-Long": "x" * 66_000}), 431)
    assert bridge.webhooks() == before

    accepted = bridge.post("github", body, by_github(body))
    assert accepted.status_code == 202
    assert accepted.headers["x-webhook-id"] == accepted.json()["id"] == bridge.webhooks()[0]["id"]


def test_a_refusal_tells_a_forger_nothing_and_the_log_why(bridge: Bridge) -> None:
    body = issue(1)
    unsigned, forged = bridge.post("github", body), bridge.post("github", body, by_github(body, secret="guess"))
    assert unsigned.content == forged.content
    reasons = ["signature_missing", "signature_mismatch"]
    eventually(lambda: [line["reason"] for line in bridge.told("webhook.refused")][-2:] == reasons)


def test_unknown_paths_are_404_and_the_admin_port_is_another(bridge: Bridge) -> None:
    for path in ("/", "/metrics", "/webhooks", "/webhooks/", "/webhooks/github/more", "/console/", "/api/events"):
        assert bridge.client.get(path).status_code in (404, 405), path
    assert bridge.admin.post("/webhooks/github", content=b"{}").status_code == 404


def test_the_public_port_tells_that_it_lives_and_is_ready_without_details(bridge: Bridge) -> None:
    alive, ready = bridge.client.get("/healthz"), bridge.client.get("/readyz")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert (ready.status_code, ready.text) == (200, "ready\n")


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/nothing"])
def test_the_admin_port_wants_its_token(bridge: Bridge, path: str) -> None:
    for authorization in ("", "Bearer", "Bearer the-admin-toke", "Bearer the-admin-tokens", "Basic the-admin-token"):
        refused = httpx.get(
            bridge.admin.base_url.join(path), headers={"Authorization": authorization}, trust_env=False, timeout=HANG
        )
        assert is_problem(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"
    assert httpx.get(bridge.admin.base_url.join(path), trust_env=False, timeout=HANG).status_code == 401
    assert bridge.admin.get(path).status_code == (404 if path == "/nothing" else 200)


def test_readiness_gives_its_reasons_on_the_admin_port(bridge: Bridge) -> None:
    assert bridge.admin.get("/readyz").json() == {"ready": True, "reasons": []}


def measured(bridge: Bridge) -> Callable[..., float | None]:
    """What /metrics says now, as a function of a sample's name and labels; None where there is no such sample."""
    answer = bridge.admin.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    return lambda name, **labels: samples.get((name, frozenset(labels.items())))


def test_a_dead_target_leaves_the_bridge_ready(bridge: Bridge, sandbox: Superoffice) -> None:
    sandbox.script("ports", {"fault": "401", "times": None})
    event_id = bridge.post("github", issue(1), by_github(issue(1), "paused")).json()["events"][0]
    eventually(lambda: any(line["event"] == "target.paused" for line in bridge.lines()))
    assert bridge.client.get("/readyz").status_code == 200
    assert measured(bridge)("bridge_target_paused", target="crm") == 1

    sandbox.clear()

    bridge.settled()
    assert bridge.event(event_id)["state"] == "delivered"
    assert measured(bridge)("bridge_target_paused", target="crm") == 0


def test_the_backlog_counts_what_waits(bridge: Bridge, sandbox: Superoffice) -> None:
    bridge.settled()
    sandbox.script("ports", {"fault": "503", "times": None})
    for number in range(3):
        bridge.post("github", issue(number), by_github(issue(number), f"n-{number}"))
    eventually(lambda: measured(bridge)("bridge_backlog_events", target="crm") == 3)  # none is being sent just now
    assert (measured(bridge)("bridge_backlog_oldest_seconds", target="crm") or 0) > 0
    sandbox.clear()
    bridge.settled()
    assert measured(bridge)("bridge_backlog_events", target="crm") == 0


def test_the_metrics_count_webhooks_and_attempts(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    bridge = make_bridge({"crm": sandbox.target("metrics")}, {"github": ISSUES}).start()
    sandbox.script("metrics", {"fault": "503"}, {"fault": "rejected"})
    bridge.post("github", issue(1), by_github(issue(1), "one"))
    bridge.settled()
    for number in (1, 2, 3):
        bridge.post("github", issue(number), by_github(issue(number), f"again-{number}"))
        bridge.settled()
    bridge.post("github", issue(3), by_github(issue(3), "again-3"))
    bridge.post("github", b"{}", by_github(b"{}"))
    bridge.post("github", b'{"action": 1}', by_github(b'{"action": 1}'))
    bridge.post("github", b"[", by_github(b"["))
    bridge.post("github", b"{}")
    bridge.post("nobody", b"{}")

    found = measured(bridge)

    states = ("mapped", "failed", "ignored", "unreadable")
    counts = [found("bridge_webhooks_total", source="github", state=state) for state in states]
    assert counts == [4, 1, 1, 1]
    assert found("bridge_webhook_duplicates_total", source="github") == 1
    assert found("bridge_webhooks_refused_total", source="github", reason="signature_missing") == 1
    assert found("bridge_webhooks_refused_total", source="", reason="unknown_source") == 1
    outcomes = ("delivered", "rejected", "unavailable", "unknown")
    assert [found("bridge_attempts_total", target="crm", outcome=one) for one in outcomes] == [3, 1, 1, None]
    assert found("bridge_events_total", target="crm", state="delivered") == 3
    assert found("bridge_events_total", target="crm", state="dead") == 1
    assert found("bridge_intake_seconds_count", source="github") == 8
    assert found("bridge_attempt_seconds_count", target="crm") == 5
    assert found("bridge_delivery_seconds_count", target="crm") == 3
    assert found("bridge_backlog_events", target="crm") == 0
    assert found("bridge_backlog_oldest_seconds", target="crm") == 0
    assert found("bridge_target_paused", target="crm") == 0
