"""Processes that are measured: started, kept on one core, and asked what they have used."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from running import ADMIN_TOKEN, free_port

from . import workload
from .load import Plan, Seen

CORES = sorted(os.sched_getaffinity(0))
SERVER, OTHERS = {CORES[0]}, set(CORES[1:2]) or {CORES[0]}  # the server has a core to itself where there are two
_TICK = os.sysconf("SC_CLK_TCK")
_TESTS = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Server:
    """What is measured: its port and its processes."""

    port: int
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """Seconds of processor time used so far, user and system, of all its threads."""
        return sum(_cpu(pid) for pid in self.pids)

    def memory(self) -> float:
        """MiB that it holds now."""
        return sum(_memory(pid) for pid in self.pids)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _memory(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process, all its threads and children to come, on some cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def running(command: Sequence[str], port: int, environment: Mapping[str, str], log: Path) -> Iterator[Server]:
    """Run a server on its core, once its port answers."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | dict(environment))
    try:
        pin(process.pid, SERVER)
        answers(port, process)
        pin(process.pid, SERVER)
        yield Server(port, (process.pid,))
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def on_server_core() -> Iterator[None]:
    """Whatever is started within is kept on the server's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, SERVER)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def answers(port: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until whoever listens on a port answers HTTP."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=5)
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


@contextmanager
def bound(directory: Path) -> Iterator[Server]:
    """The bare application."""
    port = free_port()
    command = (sys.executable, str(Path(__file__).parent / "bound.py"), str(port))
    with running(command, port, {}, directory / "bound.log") as server:
        yield server


@contextmanager
def bridge(
    directory: Path, source: str, *, stub: int = 1, paused: bool = False, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`bridge serve`, as in production, on a store of its own. `paused`: it sends nothing."""
    port, admin = free_port(), free_port()
    target = f"http://127.0.0.1:{stub}/crm/api"
    (directory / "config" / "sources").mkdir(parents=True)
    (directory / "config" / "bridge.yaml").write_text(json.dumps(workload.settings(port, admin, target)))
    (directory / "config" / "sources" / "github.yaml").write_text(source)
    settings = {"SECRET": workload.SECRET, "ADMIN_TOKEN": ADMIN_TOKEN, **(environment or {})}
    command = (sys.executable, "-m", "bridge", "--config", str(directory / "config"), "serve")
    try:
        with running(command, port, settings, directory / "bridge.log") as server:
            if paused:
                token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
                url = f"http://127.0.0.1:{admin}/api/targets/crm/pause"
                httpx.post(url, headers=token, trust_env=False).raise_for_status()
            yield server
    finally:
        shutil.rmtree(directory / "var", ignore_errors=True)


class Senders:
    """A load process: it is ready when made, and sends when told to."""

    def __init__(self, plan: Plan) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "bench.load", json.dumps(asdict(plan))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(_TESTS)},
        )
        pin(self._process.pid, OTHERS)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def send(self) -> Seen:
        """Send, and tell what came of it."""
        out, _ = self._process.communicate("go\n")
        seen = Seen(**json.loads(out))
        if seen.refused:
            raise RuntimeError(f"{seen.refused} of {seen.sent} requests were refused")
        return seen


def plan(server: Server, body: bytes, seconds: float, event: str = "push", **more: Any) -> Plan:
    """A plan that sends GitHub's webhook to a server."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in workload.headers(body, event).items())
    return Plan(
        port=server.port,
        path=workload.PATH,
        head=f"{lines}X-GitHub-Delivery: {{id}}\r\n",
        body=body.decode(),
        seconds=seconds,
        **more,
    )


_WRK = shutil.which("wrk")
GENERATOR = "wrk" if _WRK else "an own generator"
_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[%s]==]
%s
local run, sent = "%s", 0
request = function()
  sent = sent + 1
  wrk.headers["X-GitHub-Delivery"] = run .. "-" .. sent
  return wrk.format()
end
"""


def flood(server: Server, body: bytes, seconds: float, directory: Path, connections: int = 32) -> tuple[int, float]:
    """As many requests as are answered: (how many, in seconds)."""
    if not _WRK:
        seen = Senders(plan(server, body, seconds, connections=connections)).send()
        return seen.accepted, seen.seconds
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in workload.headers(body).items())
    script = directory / "wrk.lua"
    script.write_text(_SCRIPT % (body.decode(), lines, os.urandom(8).hex()))
    command = (_WRK, "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script))
    url = f"http://127.0.0.1:{server.port}{workload.PATH}"
    out = subprocess.run(
        (*command, url), capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, OTHERS)
    ).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s)", out)
    assert found, out
    return int(found[1]), float(found[2]) / (1000 if found[3] == "ms" else 1)
