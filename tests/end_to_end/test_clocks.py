"""A real bridge on a machine whose wall clock is set while it runs, and while it does not (by libfaketime)."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from running import Bridge, Superoffice, by_github, eventually

LIBRARY = next(iter(sorted(Path("/usr").glob("lib*/*/faketime/libfaketimeMT.so.1"))), None)
WHY_NOT = "there is no libfaketime, by which a test sets the clock of one process: apt-get install faketime"
pytestmark = [pytest.mark.timing, pytest.mark.skipif(LIBRARY is None, reason=WHY_NOT)]

HOUR = 3_600  # seconds
DAY = 24 * HOUR
# Python sleeps until a moment of the monotonic clock, which libfaketime refuses where it leaves that clock alone.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select((), (), (), seconds) and None
"""
SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules: [{name: all, max_age: 48h, event: {type: Run, attributes: {bridge_id: "{{ event.id }}"}}}]
"""


class WallClock:
    """The wall clock of the processes that are started with `environment`; what only runs stays as it is."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        (directory / "sitecustomize.py").write_text(SLEEP)
        self.environment = {
            "PYTHONPATH": str(directory),
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, wrong: int) -> None:
        """Set it so many seconds ahead of the real time; right again with 0."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{wrong:+d}\n")
        new.replace(self._file)


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path)


@pytest.fixture
def make(make_bridge: Callable[..., Bridge], sandbox: Superoffice, wall_clock: WallClock) -> Callable[[str], Bridge]:
    """Makes a bridge that goes by this clock, for a tenant."""

    def made(tenant: str) -> Bridge:
        bridge = make_bridge({"crm": sandbox.target(tenant)}, {"github": SOURCE})
        bridge.environment |= wall_clock.environment
        return bridge

    return made


def sent(bridge: Bridge, number: int = 0) -> dict[str, Any]:
    """What a webhook is answered."""
    answer = bridge.post("github", b"{}", by_github(b"{}", f"delivery-{number}"))
    assert answer.status_code == 202
    accepted: dict[str, Any] = answer.json()
    return accepted


def told(bridge: Bridge, name: str) -> list[dict[str, Any]]:
    return [line for line in bridge.lines() if line["event"] == name]


def tried_again(bridge: Bridge, event: str) -> None:
    """Until an event was sent twice more: what was under way when we looked may have begun before."""
    before = len(bridge.event(event)["attempts"])
    eventually(lambda: len(bridge.event(event)["attempts"]) >= before + 2)


def shown(bridge: Bridge) -> dict[str, Any]:
    """Its target, at a moment when no probe is under way: the event that is sent as one waits for nothing."""
    seen: list[dict[str, Any]] = []

    def is_waiting() -> bool:
        seen[:] = bridge.admin.get("/api/targets").json()
        return seen[0]["oldest"] is not None

    eventually(is_waiting)
    return seen[0]


def ahead(moment: str) -> float:
    """How many days a time that is told is ahead of the real one, within an hour."""
    return round((datetime.fromisoformat(moment).timestamp() - time.time()) / HOUR) / 24


@pytest.mark.parametrize("days", [1, -1])
def test_a_pause_that_began_by_a_wrong_clock_is_probed_as_soon_as_any(
    make: Callable[[str], Bridge], sandbox: Superoffice, wall_clock: WallClock, days: int
) -> None:
    bridge = make(f"paused-{days}")
    wall_clock.set(days * DAY)
    bridge.start()
    sandbox.script(f"paused-{days}", {"fault": "401", "times": None})
    (event,) = sent(bridge)["events"]
    tried_again(bridge, event)
    target = shown(bridge)
    assert [ahead(target[name]) for name in ("paused_at", "next_probe_at", "oldest")] == [days] * 3

    wall_clock.set(0)
    tried_again(bridge, event)
    wall_clock.set(days * DAY)
    bridge.stop()
    wall_clock.set(0)
    bridge.start()
    tried_again(bridge, event)
    sandbox.clear()

    assert [event["state"] for event in bridge.settled()] == ["delivered"]
    (resumed,) = eventually(lambda: told(bridge, "target.resumed"))
    assert 0 < resumed["seconds"] < HOUR
    assert [round(line["seconds"] / DAY) for line in told(bridge, "clock.stepped")] == [-days]


def test_a_clock_that_is_ahead_for_a_while_kills_erases_and_forgets_nothing(
    make: Callable[[str], Bridge], sandbox: Superoffice, wall_clock: WallClock
) -> None:
    bridge = make("ahead").start()
    sandbox.script("ahead", {"fault": "401", "times": None})
    first = sent(bridge)
    (event,) = first["events"]
    tried_again(bridge, event)
    for running in (True, False):
        wall_clock.set(100 * DAY)
        if not running:
            bridge.stop()
            bridge.start()
        tried_again(bridge, event)
        assert ahead(bridge.lines()[-1]["timestamp"]) == 100
        assert sent(bridge) == first | {"duplicate": True}
        wall_clock.set(0)
        tried_again(bridge, event)
    sandbox.clear()

    assert [event["state"] for event in bridge.settled()] == ["delivered"]
    (attempt, *_) = bridge.event(event)["attempts"]
    assert ahead(attempt["started_at"]) == 0
    assert [webhook["id"] for webhook in bridge.webhooks()] == [first["id"]]
    assert told(bridge, "event.dead") == []
    assert {event["attributes"] for event in sandbox.events("ahead")} == {f"bridge_id={event}"}
