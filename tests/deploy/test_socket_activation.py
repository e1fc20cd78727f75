"""A service manager holds the public port, as systemd does: a restart queues connections instead of refusing them."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from end_to_end.test_delivery import ISSUES, got, issue
from running import HANG, Bridge, Superoffice, by_github, eventually


class Manager:
    """What systemd does for a .socket unit, without systemd: it binds once, and passes the socket to every bridge."""

    def __init__(self, bridge: Bridge, listener: socket.socket) -> None:
        self.bridge = bridge
        self.listener = listener

    def spawn(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start `bridge serve` with the socket as descriptor 3 (sd_listen_fds(3)); a shell knows the process's id."""
        serve = shlex.join([sys.executable, "-m", "bridge", "--config", str(self.bridge.config), "serve"])
        passed = self.listener.fileno()
        script = f"export LISTEN_PID=${{LISTEN_PID:-$$}}; exec {serve} 3<&{passed} {passed}<&-"
        with self.bridge.log.open("ab") as log, (self.bridge.root / "bridge.err").open("ab") as errors:
            self.bridge.process = subprocess.Popen(
                ["bash", "-c", script],
                stdout=log,
                stderr=errors,
                env=os.environ | self.bridge.environment | {"LISTEN_FDS": "1"} | environment,
                pass_fds=[passed],
            )
        return self.bridge.process

    def send(self, number: int) -> socket.socket:
        """A webhook on a connection of its own, sent whole; nothing is read yet."""
        body = issue(number)
        headers = by_github(body, f"n-{number}") | {"Host": "bridge", "Content-Length": str(len(body))}
        lines = ["POST /webhooks/github HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection = socket.create_connection(self.listener.getsockname(), HANG)
        connection.sendall("\r\n".join(lines).encode() + body)
        return connection

    def is_listened_to(self) -> bool:
        """Whether the bridge has the socket open."""
        assert self.bridge.process is not None
        descriptors = Path(f"/proc/{self.bridge.process.pid}/fd").iterdir()
        inodes = [descriptor.stat().st_ino for descriptor in descriptors if descriptor.exists()]
        return os.fstat(self.listener.fileno()).st_ino in inodes


@pytest.fixture
def make_manager(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> Callable[[str, socket.socket], Manager]:
    """Makes managers, each of a bridge that sends to a tenant of its own."""

    def make(tenant: str, listener: socket.socket) -> Manager:
        return Manager(make_bridge({"crm": sandbox.target(tenant)}, {"github": ISSUES}), listener)

    return make


def status(connection: socket.socket) -> str:
    with connection:
        return connection.recv(1 << 16).split(b"\r\n")[0].decode()


def test_webhooks_queue_while_no_bridge_runs_and_are_accepted_by_the_next(
    make_manager: Callable[..., Manager], sandbox: Superoffice
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager = make_manager("activated", listener)
        bridge = manager.bridge
        queued = manager.send(1)
        manager.spawn()
        assert status(queued) == "HTTP/1.1 202 Accepted"
        bridge.settled()

        sandbox.script("activated", {"fault": "hang"})
        assert status(manager.send(2)) == "HTTP/1.1 202 Accepted"
        eventually(lambda: sandbox.requests("activated").get("hang"))
        bridge.send_signal(signal.SIGTERM)
        eventually(lambda: any(line["event"] == "bridge.draining" for line in bridge.lines()))
        eventually(lambda: not manager.is_listened_to())
        during_the_drain = manager.send(3)
        assert bridge.process is not None
        assert bridge.process.poll() is None, "an attempt is still in flight"
        sandbox.clear()
        assert bridge.ended() == 0
        without_a_bridge = manager.send(4)
        manager.spawn()
        assert status(during_the_drain) == "HTTP/1.1 202 Accepted"
        assert status(without_a_bridge) == "HTTP/1.1 202 Accepted"

        assert {event["state"] for event in bridge.settled()} == {"delivered"}
        assert got(sandbox, "activated") == dict.fromkeys((event["id"] for event in bridge.events()), 1)
        assert len(bridge.events()) == 4
        assert bridge.stop() == 0


def test_no_sender_sees_a_restart_but_by_the_time_it_takes(make_manager: Callable[..., Manager]) -> None:
    answers: list[str] = []
    over = threading.Event()

    def sender(number: int) -> None:
        while not over.is_set():
            number += 1
            answers.append(status(manager.send(number)))

    def answered(count: int) -> Callable[[], bool]:
        return lambda: len(answers) > count

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        manager = make_manager("restarted", listener)
        senders = [pool.submit(sender, first) for first in (1000, 2000, 3000, 4000)]
        try:
            for start in range(3):
                assert start == 0 or manager.bridge.stop() == 0
                manager.spawn()
                eventually(answered(len(answers) + 50))
        finally:
            over.set()
        for one in senders:
            one.result(HANG)
    assert set(answers) == {"HTTP/1.1 202 Accepted"}


def started(bridge: Bridge) -> dict[str, Any]:
    """The log line of a bridge that has started; empty before that."""
    return next((line for line in bridge.lines() if line["event"] == "bridge.started"), {})


def test_a_passed_socket_is_the_public_port_and_the_configured_one_stays_closed(
    make_manager: Callable[..., Manager],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager = make_manager("instead", listener)
        manager.spawn()
        assert status(manager.send(1)) == "HTTP/1.1 202 Accepted"
        assert started(manager.bridge)["listen"] == f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", manager.bridge.port))
        assert manager.bridge.stop() == 0


def test_a_socket_that_was_passed_to_another_process_is_none_of_ours(make_manager: Callable[..., Manager]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        manager = make_manager("another", listener)
        manager.spawn(LISTEN_PID="1")
        assert eventually(lambda: started(manager.bridge))["listen"] == f"127.0.0.1:{manager.bridge.port}"
        assert manager.bridge.stop() == 0


@pytest.mark.parametrize("what", ["two", "unix", "not-listening", "no-socket"])
def test_what_is_not_one_listening_tcp_socket_is_refused_with_what_to_do(
    make_manager: Callable[..., Manager], tmp_path: Path, what: str
) -> None:
    listener = socket.socket(socket.AF_UNIX if what == "unix" else socket.AF_INET)
    with listener, (tmp_path / "no socket").open("w") as file:
        listener.bind(str(tmp_path / "unix") if what == "unix" else ("127.0.0.1", 0))
        if what != "not-listening":
            listener.listen()
        manager = make_manager(what, listener)
        if what == "no-socket":
            os.dup2(file.fileno(), listener.fileno())
        manager.spawn(LISTEN_FDS="2" if what == "two" else "1")
        assert manager.bridge.ended() == 1
    said = {
        "two": "LISTEN_FDS says 2, and the bridge takes one socket",
        "unix": "what LISTEN_FDS passes is no listening TCP socket",
        "not-listening": "what LISTEN_FDS passes is no listening TCP socket",
        "no-socket": "what LISTEN_FDS passes is no socket",
    }[what]
    told = (manager.bridge.root / "bridge.err").read_text()
    assert told == f"bridge: {said}, let the .socket unit have one ListenStream=, a TCP port\n"
