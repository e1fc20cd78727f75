"""The rows of the table: what is measured, against which bound of the same run, and the bar that it has to take."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from receiving.verification import genuine
from receiving.verification.support import NOW, compiled, request
from running import free_port

from bridge.model import Request
from bridge.receiving.verification import Verifier

from . import million, peers, processes, workload
from .processes import Senders, Server, bound, bridge, flood, plan

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `ratio` is to the bound that `of` names; None: there is no such figure."""

    name: str
    rate: float | None = None  # a second
    ratio: float | None = None
    of: str = ""
    cpu_us: float | None = None  # microseconds of the server's processor time, user and system, for each
    cpu_ratio: float | None = None
    p99_ms: float | None = None
    rss_mb: float | None = None
    bar: str = ""
    met: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, object]:
        """The row's figures."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often to measure. Others on the machine disturb for seconds: many short rounds feel it less."""

    rounds: int = 9
    seconds: float = 3
    end_to_end: float = 5  # seconds of each round of it
    webhooks: int = 100_000  # of the row about memory
    pending: int = 1_000_000
    peers: bool = True


FULL = Effort()
QUICK = Effort(rounds=1, seconds=1, end_to_end=1, webhooks=1_000, pending=10_000, peers=False)


@dataclass(frozen=True, slots=True)
class _Figure:
    rate: float
    cpu_us: float


def _middle(figures: list[_Figure]) -> _Figure:
    return _Figure(median(one.rate for one in figures), median(one.cpu_us for one in figures))


def _flooded(server: Server, body: bytes, seconds: float, directory: Path) -> _Figure:
    before = server.cpu()
    requests, took = flood(server, body, seconds, directory)
    return _Figure(requests / took, (server.cpu() - before) / requests * 1e6)


def _delivered(server: Server, stub: int, seconds: float, window: int = 256) -> _Figure:
    """Webhooks through to the answer of SuperOffice, with at most `window` of them on their way."""
    senders = Senders(plan(server, workload.push(), seconds, stub=stub, window=window))
    before = server.cpu()
    seen = senders.send()
    return _Figure(seen.delivered / seen.seconds, (server.cpu() - before) / max(1, seen.delivered) * 1e6)


def _against(name: str, figure: _Figure, bound_: _Figure) -> Row:
    return Row(
        name=name,
        rate=figure.rate,
        ratio=figure.rate / bound_.rate,
        of="the bound",
        cpu_us=figure.cpu_us,
        cpu_ratio=figure.cpu_us / bound_.cpu_us,
    )


def core(directory: Path, effort: Effort) -> Iterator[Row]:
    """The bound, intake, and all the way."""
    body, stub = workload.push(), free_port()
    seen: dict[str, list[_Figure]] = {"bound": [], "intake": [], "end to end": []}
    with (
        bound(directory) as bare,
        bridge(directory / "intake", workload.source(), paused=True) as intake,
        bridge(directory / "whole", workload.source(), stub=stub) as whole,
    ):
        for _ in range(effort.rounds):
            seen["bound"].append(_flooded(bare, body, effort.seconds, directory))
            seen["intake"].append(_flooded(intake, body, effort.seconds, directory))
            seen["end to end"].append(_delivered(whole, stub, effort.end_to_end))
    least = _middle(seen["bound"])
    yield replace(
        _against("bare ASGI application (the bound)", least, least), note=f"{processes.GENERATOR}, 32 connections"
    )
    row = _against("intake: verify, map, commit, log", _middle(seen["intake"]), least)
    yield replace(row, bar="ratio >= 0.15 or CPU <= 6.5 x", met=_either(row, 0.15, 6.5))
    row = _against("end to end: intake, forward, record", _middle(seen["end to end"]), least)
    note = f"{effort.rounds * effort.end_to_end:g} s, never more than 256 on their way"
    yield replace(row, bar="ratio >= 0.06 or CPU <= 16 x", met=_either(row, 0.06, 16), note=note)


def _either(row: Row, ratio: float, cpu_ratio: float) -> bool:
    assert row.ratio is not None
    assert row.cpu_ratio is not None
    return row.ratio >= ratio or row.cpu_ratio <= cpu_ratio


def latency(directory: Path, effort: Effort) -> Iterator[Row]:
    """How long a sender waits for its answer when webhooks come at random, 200 a second."""
    body, stub = workload.push(), free_port()
    seen: dict[str, list[float]] = {"bound": [], "bridge": []}
    with bound(directory) as bare, bridge(directory / "whole", workload.source(), stub=stub) as whole:
        for _ in range(effort.rounds):
            for name, server, port in (("bound", bare, 0), ("bridge", whole, stub)):
                latencies = Senders(plan(server, body, effort.seconds, rate=200, stub=port)).send().latencies
                seen[name].append(sorted(latencies)[int(len(latencies) * 0.99)])
    least, ours = median(seen["bound"]), median(seen["bridge"])
    ratio = median(one / other for one, other in zip(seen["bridge"], seen["bound"], strict=True))
    yield Row(name="answer of the bound at 200 a second, at random", rate=200, p99_ms=least)
    yield Row(
        name="answer at 200 webhooks a second, at random",
        rate=200,
        ratio=ratio,
        of="the bound's p99",
        p99_ms=ours,
        bar="p99 <= 3.5 x",
        met=ratio <= 3.5,
    )


def slow_disk(directory: Path, effort: Effort) -> Iterator[Row]:
    """Intake on a disk that takes 2 ms longer for every fsync."""
    library = directory / "slow_fsync.so"
    subprocess.run(("gcc", "-shared", "-fPIC", "-O2", "-o", library, _HERE / "slow_fsync.c", "-ldl"), check=True)
    body = workload.push()
    usual: list[_Figure] = []
    slow: list[_Figure] = []
    environment = {"LD_PRELOAD": str(library)}
    with (
        bridge(directory / "usual", workload.source(), paused=True) as one,
        bridge(directory / "slow", workload.source(), paused=True, environment=environment) as other,
    ):
        for _ in range(effort.rounds):
            usual.append(_flooded(one, body, effort.seconds, directory))
            slow.append(_flooded(other, body, effort.seconds, directory))
    figure, least = _middle(slow), _middle(usual)
    row = _against("intake with 2 ms more for every fsync", figure, least)
    assert row.ratio is not None
    yield replace(row, of="intake", bar="ratio >= 0.4", met=row.ratio >= 0.4)


def breadth(directory: Path, effort: Effort) -> Iterator[Row]:
    """Many rules, and many items."""
    push = workload.push()
    rules = [(f"{n} rules on one source, one matches", n, workload.source(n), push) for n in (1, 20, 200)]
    items = [(f"{n} items in a for_each", n, workload.source_of_items(), workload.list_of(n)) for n in (1, 5, 50)]
    seen: dict[str, list[_Figure]] = {name: [] for name, *_ in rules + items}
    with ExitStack() as stack:
        servers = [
            (name, stack.enter_context(bridge(directory / str(number), source, paused=True)), body)
            for number, (name, _, source, body) in enumerate(rules + items)
        ]
        for _ in range(effort.rounds):
            for name, server, body in servers:
                seen[name].append(_flooded(server, body, effort.seconds, directory))
    for sizes in (rules, items):
        (name, count, cost), (_, some, more), (full, most, all_) = (
            (name, count, _middle(seen[name])) for name, count, *_ in sizes
        )
        early = (more.cpu_us - cost.cpu_us) / (some - count)
        late = (all_.cpu_us - more.cpu_us) / (most - some)
        note = f"each more costs {early:.1f} us at first, {late:.1f} us later"
        yield replace(_against(full, all_, cost), of=name, note=note)


def backlog(directory: Path, effort: Effort) -> Iterator[Row]:
    """What an operation of the store costs when many events are pending."""
    few, many = directory / "few.db", directory / "many.db"
    million.fill(few, 1_000)
    million.fill(many, effort.pending)
    for name, times in million.compare(few, many, rounds=200 if effort.rounds > 1 else 20).items():
        ratio = times[1] / times[0]
        yield Row(
            name=f"{name} with {effort.pending:,} pending events",
            ratio=ratio,
            of="the same with 1,000",
            cpu_us=times[1] * 1e6,
            bar="<= 1.5 x",
            met=ratio <= 1.5,
            note="median of single transactions, each waits for the disk",
        )
    few.unlink()
    many.unlink()


def memory(directory: Path, effort: Effort) -> Iterator[Row]:
    """What the serving process holds while it takes and delivers many webhooks."""
    stub = free_port()
    held: list[float] = []
    began = time.monotonic()
    with bridge(directory / "whole", workload.source(), stub=stub) as whole:
        part = effort.webhooks // 10
        for _ in range(10):
            sent = Senders(plan(whole, workload.push(), 600, stub=stub, window=256, most=part)).send().sent
            assert sent == part
            held.append(whole.memory())
    growth = held[-1] - held[1]
    yield Row(
        name=f"memory over {effort.webhooks:,} webhooks",
        rate=effort.webhooks / (time.monotonic() - began),
        rss_mb=max(held),
        bar="<= 120 MB, flat",
        met=max(held) <= 120 and growth <= 5,
        note=f"{growth:+.1f} MB from the second tenth to the last",
    )


def others(directory: Path, effort: Effort) -> Iterator[Row]:
    """Peers that do the nearest equal work, and the bridge between them."""
    if not effort.peers:
        return
    missing = peers.install()
    for reason in missing:
        yield Row(name=f"peer {reason.partition(':')[0]}", note=f"not measured: {reason}")
    for peer in peers.PEERS:
        if not peers.installed(peer.name):
            continue
        stub, port = free_port(), free_port()
        ours: list[_Figure] = []
        theirs: list[_Figure] = []
        url = f"http://127.0.0.1:{stub}/crm/api/v1/Agents/Workflow/SendEvent"
        with (
            bridge(directory / f"beside-{peer.name}", workload.source(), stub=stub) as whole,
            processes.on_server_core(),
            peers.start(peer.name, directory / peer.name, port, url, workload.SECRET) as pids,
        ):
            other = Server(port, tuple(pids))
            _delivered(other, stub, 3)  # a just-in-time compiler needs to see it first
            for _ in range(effort.rounds):
                ours.append(_delivered(whole, stub, effort.seconds))
                theirs.append(_delivered(other, stub, effort.seconds))
            held = other.memory()
        we, they = _middle(ours), _middle(theirs)
        yield Row(name=f"peer {peer.name}", rate=they.rate, cpu_us=they.cpu_us, rss_mb=held, note=peer.note)
        row = _against(f"the bridge beside {peer.name}, delivered", we, they)
        assert row.ratio is not None
        bar, met = (">= 1.3 x", row.ratio >= 1.3) if peer.name == "node-red" else ("", None)
        yield replace(row, of=peer.name, bar=bar, met=met)


def commands(directory: Path, effort: Effort) -> Iterator[Row]:
    """How long somebody waits for the tests of many rules."""
    root = directory / "rules"
    (root / "sources").mkdir(parents=True)
    (root / "bridge.yaml").write_text(json.dumps(workload.settings(8080, 8081, "http://127.0.0.1:1/crm/api")))
    (root / "push.json").write_bytes(workload.push())
    (root / "sources" / "github.yaml").write_text(workload.source_with_tests(500))
    took = []
    for _ in range(effort.rounds):
        began = time.perf_counter()
        subprocess.run((sys.executable, "-m", "bridge", "--config", root, "test"), check=True, capture_output=True)
        took.append(time.perf_counter() - began)
    seconds = median(took)
    yield Row(
        name="bridge test: 500 rules, 500 tests",
        rate=500 / seconds,
        bar="<= 1 s",
        met=seconds <= 1,
        note=f"{seconds:.2f} s",
    )


def proofs(directory: Path, effort: Effort) -> Iterator[Row]:
    """What it takes to prove a push genuine: GitHub's signature, and each way that no recipe describes."""
    body = workload.push()
    rounds = 2_000 if effort.rounds > 1 else 20
    github = compiled({"scheme": "github", "secrets": [workload.SECRET]})
    least = _verifying(github, request(body, {**workload.headers(body), "X-GitHub-Delivery": "1"}), rounds)
    yield Row(name="proof: github", cpu_us=least)
    others = {name: _verifying(one.verifier(), one.make(body, NOW), rounds) for name, one in genuine.SCHEMES.items()}
    slowest = max(others, key=lambda name: others[name])
    yield Row(
        name=f"proof: the slowest recipe ({slowest})",
        cpu_us=others[slowest],
        cpu_ratio=others[slowest] / least,
        of="github",
    )


def _verifying(verifier: Verifier, asked: Request, rounds: int) -> float:
    genuine.verified(verifier, asked)  # fetches the key, where one is needed
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds // 5):
            verifier.verify(asked, NOW)
        times.append((time.process_time() - began) / (rounds // 5) * 1e6)
    return median(times)


GROUPS = {
    "proofs": proofs,
    "core": core,
    "latency": latency,
    "slow-disk": slow_disk,
    "breadth": breadth,
    "backlog": backlog,
    "memory": memory,
    "commands": commands,
    "peers": others,
}
