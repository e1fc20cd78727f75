"""Whoever reads the bridge's lines may stop, for a while or for good: nobody else waits for that."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from running import Bridge, Superoffice, by_github

from .test_ports import measured

_SHADOWS = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: shadow
    for_each: body.items
    send: false
    event: {type: Run, attributes: {item: "{{ item }}"}}
"""
_ITEMS = json.dumps({"items": list(range(1000))}).encode()


def post(bridge: Bridge, number: int, body: bytes = b'{"items": []}') -> None:
    assert bridge.post("shadows", body, by_github(body, f"n-{number}")).status_code == 202


@pytest.fixture
def unread(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> Bridge:
    """A bridge whose lines nobody reads yet, at the other end of a pipe."""
    return make_bridge({"crm": sandbox.target("unread")}, {"shadows": _SHADOWS}).start(stdout=subprocess.PIPE)


@pytest.mark.timing
def test_a_reader_that_stops_stops_nobody_and_learns_what_it_missed(unread: Bridge) -> None:
    for number in range(20):
        post(unread, number, _ITEMS)  # a line for each item: more than a pipe and the writer's buffer hold
    for number in range(20, 300):
        post(unread, number)
    assert unread.client.get("/healthz").status_code == 200
    assert unread.admin.get("/readyz").status_code == 200
    dropped = int(measured(unread)("bridge_log_lines_dropped_total") or 0)

    assert unread.process is not None
    assert unread.process.stdout is not None
    lines: list[dict[str, Any]] = []
    while not lines or lines[-1]["event"] != "log.dropped":
        lines.append(json.loads(unread.process.stdout.readline()))
    assert lines[-1]["lines"] == dropped
    assert lines[-1]["level"] == "warning"
    written = [line for line in lines if line["event"] in ("webhook.accepted", "event.discarded")]
    assert len(written) + dropped == 20_000 + 300
    post(unread, 300)
    assert json.loads(unread.process.stdout.readline())["event"] == "webhook.accepted"


@pytest.mark.timing
def test_a_reader_that_never_comes_back_keeps_no_bridge_from_its_end(unread: Bridge) -> None:
    for number in range(300):
        post(unread, number)
    assert unread.stop() == 0
