"""What each signal means to a bridge with an event in flight: nothing, a warning, a drained end, or an end at once."""

import fcntl
import os
import pty
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from running import Bridge, Superoffice, eventually

from .test_delivery import ISSUES, got
from .test_stopping import accepted, hanging


@pytest.fixture
def bridge(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, request: pytest.FixtureRequest
) -> Iterator[Bridge]:
    """A bridge of this test's own, not started yet."""
    yield make_bridge({"crm": sandbox.target(request.node.name)}, {"github": ISSUES})
    sandbox.clear()


@pytest.fixture
def in_flight(bridge: Bridge, sandbox: Superoffice, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Starts the bridge and lets it send an event that hangs until the sandbox's faults are cleared; the event's id."""

    def start(**options: Any) -> str:
        bridge.start(**options)
        sandbox.script(request.node.name, {"fault": "hang"})
        event_id = accepted(bridge, 1)
        eventually(lambda: hanging(sandbox, request.node.name))
        return event_id

    return start


@pytest.fixture
def terminal() -> Iterator[tuple[int, dict[str, Any]]]:
    """A terminal's other end, and how to start a process in it."""
    master, slave = pty.openpty()
    take = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0)}
    yield master, take
    os.close(slave)
    with suppress(OSError):
        os.close(master)


def test_a_daemon_ignores_what_is_not_for_it_and_takes_hup_for_a_reload(
    bridge: Bridge, in_flight: Callable[..., str], sandbox: Superoffice, request: pytest.FixtureRequest
) -> None:
    event_id = in_flight(start_new_session=True)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP, signal.SIGHUP):
        bridge.send_signal(number)
        eventually(lambda: bridge.client.get("/readyz").status_code == 200)
    for line in bridge.told("reload.refused"):
        assert line["level"] == "warning"
        assert "restart the bridge" in line["detail"]
    sandbox.clear()
    assert bridge.stop(signal.SIGTERM) == 0
    assert got(sandbox, request.node.name) == {event_id: 1}


def test_int_drains_as_term_does(
    bridge: Bridge, in_flight: Callable[..., str], sandbox: Superoffice, request: pytest.FixtureRequest
) -> None:
    event_id = in_flight()
    bridge.send_signal(signal.SIGINT)
    bridge.told("bridge.draining")
    sandbox.clear()
    assert bridge.stop(0) == 0
    assert bridge.event(event_id)["state"] == "delivered"
    assert got(sandbox, request.node.name) == {event_id: 1}


def test_quit_ends_at_once(bridge: Bridge, in_flight: Callable[..., str]) -> None:
    event_id = in_flight()
    assert bridge.stop(signal.SIGQUIT) == 1
    assert bridge.event(event_id)["state"] == "sending"
    assert not any(line["event"] == "bridge.draining" for line in bridge.lines())


def test_a_terminal_that_is_there_is_no_reason_to_drain_one_that_went_is(
    bridge: Bridge,
    in_flight: Callable[..., str],
    terminal: tuple[int, dict[str, Any]],
    sandbox: Superoffice,
    request: pytest.FixtureRequest,
) -> None:
    master, its_terminal = terminal
    event_id = in_flight(**its_terminal)
    bridge.send_signal(signal.SIGHUP)
    bridge.told("reload.refused")
    os.close(master)
    bridge.told("bridge.draining")
    bridge.send_signal(signal.SIGHUP)  # as a shell does that passes on what it got
    sandbox.clear()
    assert bridge.stop(0) == 0
    assert [line["event"] for line in bridge.lines()][-1] == "bridge.stopped"
    assert got(sandbox, request.node.name) == {event_id: 1}


def test_a_hup_that_was_ignored_at_the_start_stays_so(
    bridge: Bridge, in_flight: Callable[..., str], terminal: tuple[int, dict[str, Any]], sandbox: Superoffice
) -> None:
    master, its_terminal = terminal

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        its_terminal["preexec_fn"]()

    in_flight(**its_terminal | {"preexec_fn": nohup})
    os.close(master)
    bridge.send_signal(signal.SIGHUP)
    assert accepted(bridge, 2)
    sandbox.clear()
    assert {event["state"] for event in bridge.settled()} == {"delivered"}
    assert bridge.stop() == 0
    assert not any(line["event"] == "reload.refused" for line in bridge.lines())
