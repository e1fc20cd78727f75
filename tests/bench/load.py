"""The other side, in a process of its own: senders that call the bridge, and the SuperOffice that it calls.

Run as `python -m bench.load JSON`, it prints a line `ready`, and then what it measured, as JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop

_RESULT = json.dumps({"EventType": "SaleSold", "Attributes": "", "TableRight": None, "FieldProperties": {}}).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_RESULT), _RESULT)
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send. `rate` 0: as fast as answers come; `window`: so many more webhooks than events at most."""

    port: int
    path: str
    head: str  # header lines but Content-Length, with {id} where each request has its own
    body: str
    seconds: float
    connections: int = 32
    rate: float = 0
    stub: int = 0  # the port of SuperOffice; 0 for none
    window: int = 0
    most: int = 0  # requests; 0 for no bound


@dataclass(slots=True)
class Seen:
    """What came of it. Latencies in milliseconds, from the moment that a request was due."""

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    delivered: int = 0
    seconds: float = 0
    latencies: list[float] = field(default_factory=list)


class _Messages(asyncio.Protocol):
    """Splits what comes into messages, each a head and as many bytes as its Content-Length says."""

    def __init__(self) -> None:
        self._buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            at = head.lower().find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self.message(head)

    def message(self, head: bytes) -> None:
        """One whole message came."""
        raise NotImplementedError


class _Superoffice(_Messages):
    """Takes every event."""

    def __init__(self, took: Callable[[], None]) -> None:
        super().__init__()
        self._took = took

    def message(self, head: bytes) -> None:
        self.transport.write(_ANSWER)
        self._took()


class _Sender(_Messages):
    """One connection: a request, its answer, and then whatever is due next."""

    def __init__(self, load: "Load") -> None:
        super().__init__()
        self._load = load
        self.due = 0.0

    def send(self, due: float) -> None:
        """Send the next request, which was due then."""
        self.due = due
        self.transport.write(self._load.request())

    def message(self, head: bytes) -> None:
        self._load.answered(self, head)


class Load:
    """Sends by a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.seen = Seen()
        self._head = (
            f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{plan.head}Content-Length: {len(plan.body)}\r\n\r\n"
        )
        self._before, _, self._after = self._head.partition("{id}")
        self._tail = (self._after + plan.body).encode()
        self._run = f"{random.getrandbits(64):x}"
        self._idle: deque[_Sender] = deque()
        self._due: deque[float] = deque()
        self._ends = 0.0

    def request(self) -> bytes:
        """One more request."""
        self.seen.sent += 1
        if not self._after:
            return self._before.encode() + self._plan.body.encode()
        return f"{self._before}{self._run}-{self.seen.sent}".encode() + self._tail

    def answered(self, sender: _Sender, head: bytes) -> None:
        """A sender is free again."""
        if head.startswith(b"HTTP/1.1 20"):
            self.seen.accepted += 1
        else:
            self.seen.refused += 1
        if self._plan.rate:
            self.seen.latencies.append((time.perf_counter() - sender.due) * 1000)
        self._idle.append(sender)
        self._feed()

    def _took(self) -> None:
        self.seen.delivered += 1
        self._feed()

    def _feed(self) -> None:
        """Let free senders send what is due."""
        while self._idle and self._is_due():
            self._idle.popleft().send(self._due.popleft() if self._plan.rate else 0)

    def _is_due(self) -> bool:
        plan, seen = self._plan, self.seen
        if plan.rate:
            return bool(self._due)
        if time.perf_counter() > self._ends or (plan.most and seen.sent >= plan.most):
            return False
        return not plan.window or seen.sent - seen.delivered < plan.window

    async def run(self) -> Seen:
        """Send until the time is over, and wait for what is on its way."""
        loop = asyncio.get_running_loop()
        plan = self._plan
        if plan.stub:
            await loop.create_server(lambda: _Superoffice(self._took), "127.0.0.1", plan.stub)
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        for _ in range(plan.connections):
            _, sender = await loop.create_connection(lambda: _Sender(self), "127.0.0.1", plan.port)
            self._idle.append(sender)
        began = time.perf_counter()
        self._ends = began + plan.seconds
        if plan.rate:
            at = began
            while (at := at + random.expovariate(plan.rate)) < self._ends:
                await asyncio.sleep(max(0, at - time.perf_counter()))
                self._due.append(at)
                self._feed()
        else:
            self._feed()
        while time.perf_counter() < self._ends and not (plan.most and self.seen.sent >= plan.most):
            await asyncio.sleep(0.01)
        self.seen.seconds = time.perf_counter() - began
        counted = Seen(**asdict(self.seen))
        await asyncio.sleep(0.5)  # let what is on its way arrive, so that the next round finds nothing left
        return counted


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seen = runner.run(Load(Plan(**json.loads(sys.argv[1]))).run())
    print(json.dumps(asdict(seen)))
