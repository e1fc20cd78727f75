"""One webhook that makes much: the store grows by no more than is allowed, and nobody else notices."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Bridge

from .neighbours import SOURCE, Neighbour, p99, post_to

MANY = """
verify: {scheme: github, secrets: ["${SECRET}"]}
max_events_size: 16MiB
rules:
  - name: many
    for_each: body.lines
    event: {type: Run, attributes: {line: "{{ item }}", note: "{{ body.note }}"}}
"""
MIB = 1 << 20
LONGEST = 250  # milliseconds of a transaction


def of(lines: int, note: int) -> bytes:
    return json.dumps({"lines": [f"line {number:05}" for number in range(lines)], "note": "x" * note}).encode()


def stored(bridge: Bridge) -> int:
    """Bytes of the store and its journal."""
    return sum(path.stat().st_size for path in Path(bridge.root).rglob("bridge.db*"))


@pytest.mark.faults
@pytest.mark.parametrize(
    ("lines", "note", "most"),
    [(10_000, 6_000, 1), (2_350, 6_000, 34), (10_000, 300, 17)],
    ids=["too much", "as much as may be", "many small ones"],
)
def test_one_webhook_that_makes_much(make_bridge: Callable[..., Bridge], lines: int, note: int, most: int) -> None:
    nowhere = {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}
    bridge = make_bridge({"crm": nowhere}, {"many": MANY, "neighbour": SOURCE}).start()
    body, count = of(lines, note), 10
    neighbour = Neighbour(bridge)
    neighbour.recover()
    before, took = stored(bridge), []
    with neighbour.beside(), post_to(bridge, "many") as post:
        for _ in range(count):
            started = time.perf_counter()
            assert post(body) == 202
            took.append(time.perf_counter() - started)
    grown = stored(bridge) - before
    told = f"{lines:,} lines, {len(body) / 1000:.0f} kB, {count} times, {max(took) * 1000:.0f} ms at most: "
    print(f"{told}the store grew by {grown / MIB:.1f} MiB; {neighbour.told()}")  # noqa: T201 - for whoever runs it with -s
    assert grown < count * most * MIB
    if most > 1:  # it is stored, and others may wait for that
        assert p99(neighbour.disturbed) < LONGEST
    else:
        assert neighbour.is_answered_as_always()
