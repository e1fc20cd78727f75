"""A thousand targets in one bridge, one event each; and one that hangs beside one that does not."""

import json
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running import Bridge, Superoffice, by_github, eventually, superoffice

TARGETS = 1000
HANGING = "t0500"
SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: each
    for_each: body.targets
    key: item
    target: "{{ item }}"
    event: {type: Run, attributes: {bridge_id: "{{ event.id }}"}}
"""


class Watched:
    """What a process has open and in memory, at most since it was first looked at."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self.most_open = self.open_now()
        self.began_with = self._memory("VmRSS")

    def open_now(self) -> int:
        return len(list((self._process / "fd").iterdir()))

    def look(self) -> None:
        self.most_open = max(self.most_open, self.open_now())

    def grown(self) -> float:
        """By how many MB the process was larger than at the first look."""
        return self._memory("VmHWM") - self.began_with

    def _memory(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._process / "status").read_text())
        assert found
        return int(found[1]) / 1024


def posted(bridge: Bridge, names: list[str]) -> None:
    body = json.dumps({"targets": names}).encode()
    answer = bridge.post("github", body, by_github(body))
    assert answer.status_code == 202, answer.text
    assert len(answer.json()["events"]) == len(names)


@pytest.mark.faults
def test_a_thousand_targets_with_an_event_each_all_get_theirs(make_bridge: Callable[..., Bridge]) -> None:
    with superoffice() as sandbox:  # of its own: one counts no more tenants than these
        all_get_theirs(make_bridge, sandbox)


def all_get_theirs(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    names = [f"t{number:04}" for number in range(TARGETS)]
    bridge = make_bridge({name: sandbox.target(name) for name in names}, {"github": SOURCE})
    sandbox.script(HANGING, {"fault": "hang", "times": None})
    bridge.start()
    assert bridge.process is not None
    watched = Watched(bridge.process.pid)

    started = time.monotonic()
    posted(bridge, names)

    def all_others_have_theirs() -> bool:
        watched.look()
        return len(bridge.events(state="delivered")) == TARGETS - 1

    eventually(all_others_have_theirs)
    took = time.monotonic() - started
    (late,) = bridge.events(state="sending")
    assert late["target"] == HANGING
    sandbox.clear()
    events = bridge.settled()

    figures = f"in {took:.1f} s, {watched.most_open} files open, {watched.grown():.0f} MB more"
    print(f"{TARGETS} targets {figures}")  # noqa: T201 - for whoever runs it with -s
    assert {event["state"] for event in events} == {"delivered"}
    assert {event["attempts"] for event in events} == {1}
    recorded = [(name, event["attributes"]) for name in names for event in sandbox.events(name)]
    assert sorted(recorded) == sorted((event["target"], f"bridge_id={event['id']}") for event in events)
    assert watched.most_open < TARGETS + 200  # a connection for each event, and what the bridge itself has open
    assert watched.grown() < 200
    # Connections are closed once they were idle for a while, so that rare events keep none.
    eventually(lambda: watched.open_now() < 200)
    assert bridge.stop() == 0


@pytest.mark.faults
def test_a_target_that_hangs_costs_another_no_time(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    def delays(hanging: str | None) -> list[float]:
        """Milliseconds from a webhook to its event's delivery at `fast`, 50 one after another."""
        bridge = make_bridge(
            {name: sandbox.target(f"{name}-{hanging}", max_in_flight=64) for name in ("fast", "slow")},
            {"github": SOURCE},
        ).start()
        if hanging:
            sandbox.script(f"slow-{hanging}", {"fault": hanging, "times": None})
            posted(bridge, ["slow"] * 500)
            eventually(lambda: sandbox.requests(f"slow-{hanging}").get(hanging, 0) >= 64)
        for number in range(50):
            posted(bridge, ["fast"])
            eventually(lambda: len(bridge.events(target="fast", state="delivered")) > number)  # noqa: B023
        if hanging:
            assert len(bridge.events(target="slow", state="sending")) == 64
            assert not bridge.events(target="slow", state="delivered")
        lines = bridge.told("event.delivered", 50, target="fast")
        sandbox.clear()
        bridge.close()
        return [line["seconds"] * 1000 for line in lines]

    alone, beside = delays(None), delays("hang")
    figures = statistics.median(alone), statistics.median(beside), max(alone), max(beside)
    told = "ms to a delivery, median alone {:.0f}, beside one that hangs {:.0f}; most {:.0f}, {:.0f}"
    print(told.format(*figures))  # noqa: T201 - for whoever runs it with -s
    assert len(alone) == len(beside) == 50
    assert figures[1] < figures[0] + 50
    assert figures[3] < 1000
