"""Real processes for tests: a `bridge sandbox`, and a `bridge serve` on a configuration of the test's own."""

import hashlib
import hmac
import io
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import structlog
from preloaded import Preloaded

from bridge.cli.main import main
from bridge.store import reader

T = TypeVar("T")

ADMIN_TOKEN = "the-admin-token-of-the-tests"
SECRET = "a-secret-of-the-tests"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # for plain HTTP: a client makes one of its own else, of all CAs
HANG = 120.0  # seconds: whatever takes one on an idle machine ends within them on any, unless it hangs
_COMMAND = (sys.executable, "-m", "bridge")


def free_port() -> int:
    """A port that nobody listens on, from below the range that connections take theirs from.

    A port of that range could be taken while a bridge restarts, and a connection to it could even reach itself.
    """
    while True:
        port = random.randint(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def eventually(check: Callable[[], T]) -> T:
    """What `check` answers, once that is true."""
    deadline = time.monotonic() + HANG
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {HANG:g} s"
        time.sleep(0.02)
    return answer


class Stopwatch:
    """Seconds that passed for this process and others, but for those in which their threads waited for a core.

    So an upper bound of what something takes says nothing of what else the machine does (proc(5), schedstat).
    """

    def __init__(self, *pids: int) -> None:
        self._pids = (os.getpid(), *pids)
        self._started, self._kept_waiting_before = time.monotonic(), self._kept_waiting()

    def seconds(self) -> float:
        """Since this was made."""
        return time.monotonic() - self._started - (self._kept_waiting() - self._kept_waiting_before)

    def _kept_waiting(self) -> float:
        tasks = [task for pid in self._pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(task.read_text().split()[1]) for task in tasks) / 1e9


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Run an HTTP server of the library's; gives its port."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def by_github(body: bytes, delivery: str | None = None, event: str = "push", secret: str = SECRET) -> dict[str, str]:
    """The headers that GitHub sends along with a body."""
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    return headers | ({} if delivery is None else {"X-GitHub-Delivery": delivery})


class Superoffice:
    """A `bridge sandbox` in a process of its own. Tests that share one use tenants of their own."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process = process
        self.url = url
        self.client = httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=HANG)

    def target(self, tenant: str, **settings: Any) -> dict[str, Any]:
        """A target of `bridge.yaml` that leads here, fast enough for tests."""
        return {
            "url": f"{self.url}/{tenant}/api",
            "authorization": {"scheme": "basic", "username": "sandbox", "password": "sandbox"},
            "rate": "2000/s",
            "timeout": f"{HANG:g}s",
            "retry": {"first_wait": "100ms", "max_wait": "500ms"},
            **settings,
        }

    def events(self, tenant: str) -> list[dict[str, Any]]:
        """What a tenant got, in order."""
        answer: list[dict[str, Any]] = self.client.get("/sandbox/events", params={"tenant": tenant}).json()
        return answer

    def requests(self, tenant: str) -> dict[str, int]:
        """How often a tenant answered what."""
        answer: dict[str, int] = self.client.get("/sandbox/requests").json().get(tenant, {})
        return answer

    def script(self, tenant: str, *faults: dict[str, Any]) -> None:
        """Let a tenant show faults."""
        answer = self.client.post("/sandbox/faults", json=[fault | {"tenant": tenant} for fault in faults])
        assert answer.status_code == 200, answer.text

    def clear(self) -> None:
        """Let all go on as usual, requests that hang included."""
        self.client.delete("/sandbox/faults").raise_for_status()


@contextmanager
def superoffice(port: int = 0, *options: str) -> Iterator[Superoffice]:
    """Run a sandbox."""
    command = (*_COMMAND, "sandbox", "--port", str(port), *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            sandbox = Superoffice(process, process.stdout.readline().split()[-1])
            with sandbox.client:
                yield sandbox
        finally:
            process.kill()


class Bridge:
    """A configuration in a directory of its own, and the `bridge serve` that runs it, again and again if need be."""

    def __init__(self, root: Path, targets: Mapping[str, Any], sources: Mapping[str, str], **settings: Any) -> None:
        self.root = root
        self.config = root / "config"
        self.log = root / "bridge.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, trust_env=False, verify=NO_TLS, timeout=HANG)
        admin = free_port()
        token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        self.admin = httpx.Client(
            base_url=f"http://127.0.0.1:{admin}", headers=token, trust_env=False, verify=NO_TLS, timeout=HANG
        )
        self.environment = {"SECRET": SECRET, "ADMIN_TOKEN": ADMIN_TOKEN}
        self.process: subprocess.Popen[bytes] | Preloaded | None = None
        written: dict[str, Any] = {
            "listen": {"host": "127.0.0.1", "port": self.port, **settings.pop("listen", {})},
            "admin": {"port": admin, "token": "${ADMIN_TOKEN}"},
            "drain": {"grace": "0ms", "timeout": "5s"},
            "targets": dict(targets),
            **settings,
        }
        (self.config / "sources").mkdir(parents=True)
        for name, text in sources.items():
            self.write_source(name, text)
        (self.config / "bridge.yaml").write_text(json.dumps(written))  # JSON is YAML

    def write_source(self, name: str, text: str) -> None:
        """Write `sources/NAME.yaml`."""
        (self.config / "sources" / f"{name}.yaml").write_text(text)

    def spawn(self, **options: Any) -> "subprocess.Popen[bytes] | Preloaded":
        """Start `bridge serve`, whether or not it becomes ready; with `options`, which are Popen's, from nothing."""
        arguments = ("--config", str(self.config), "serve")
        environment = os.environ | self.environment
        if not options and "LD_PRELOAD" not in environment:
            self.process = Preloaded(arguments, environment, self.log, self.root / "bridge.err")
            return self.process
        with self.log.open("ab") as log, (self.root / "bridge.err").open("ab") as errors:
            options = {"stdout": log, "stderr": errors, "env": environment, **options}
            self.process = subprocess.Popen((*_COMMAND, *arguments), **options)
        return self.process

    def start(self, **options: Any) -> "Bridge":
        """Start `bridge serve`; it is ready once this returns, and ended where it does not become so."""
        process = self.spawn(**options)

        def ready() -> bool:
            assert process.poll() is None, (self.root / "bridge.err").read_text()
            with suppress(httpx.TransportError):
                return self.client.get("/readyz").status_code == 200
            return False

        try:
            eventually(ready)
        except BaseException:
            process.kill()
            raise
        return self

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the running bridge."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the bridge, if it runs; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code of the bridge, once it has ended by itself."""
        assert self.process is not None
        return self.process.wait(HANG)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.client.close()
        self.admin.close()

    def post(self, source: str, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Send a webhook."""
        return self.client.post(f"/webhooks/{source}", content=body, headers=dict(headers or {}))

    def webhooks(self, **which: Any) -> list[dict[str, Any]]:
        """The store's webhooks, newest first, read beside the bridge or without one."""
        with reader.reading(self._store) as connection:
            return reader.list_webhooks(connection, reader.Filter(**which), 100_000)

    def events(self, **which: Any) -> list[dict[str, Any]]:
        """The store's events, newest first, with the count of their attempts."""
        with reader.reading(self._store) as connection:
            return reader.list_events(connection, reader.Filter(**which), 100_000)

    def event(self, id_: str) -> dict[str, Any]:
        """One event with its attempts."""
        with reader.reading(self._store) as connection:
            return reader.show_event(connection, id_)

    def settled(self) -> list[dict[str, Any]]:
        """The store's events, once none is on its way any more."""
        # In one look: between two, an event may go from the second one's state back to the first one's.
        eventually(lambda: not {event["state"] for event in self.events()} & {"pending", "sending"})
        return self.events()

    @property
    def store(self) -> Path:
        """The database's file."""
        return self.root / "var" / "bridge.db"

    @property
    def _store(self) -> str:
        return f"sqlite:///{self.store}"

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def told(self, name: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """The log's lines of a name, with fields of these values, once there are so many: lines come a moment later."""

        def found() -> list[dict[str, Any]]:
            fields["event"] = name
            return [line for line in self.lines() if line.items() >= fields.items()]

        eventually(lambda: len(found()) >= count)
        return found()

    def run(self, *arguments: str, secrets: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command of the CLI on this configuration, in this process."""
        return run_here("--config", str(self.config), *arguments, environment=self.environment if secrets else {})


def run_here(*arguments: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command of the CLI in this process: one of its own takes a second to start. The environment is added."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["bridge", *arguments])
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
        structlog.reset_defaults()  # what the command set up is for its own process
    assert isinstance(ended.value.code, int)
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, ended.value.code, *said)


def run(*arguments: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command of the CLI in a process of its own."""
    return subprocess.run(
        (*_COMMAND, *arguments),
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
        env=os.environ if environment is None else environment,
    )
