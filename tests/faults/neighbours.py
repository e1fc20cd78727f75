"""Another source's genuine webhooks, one after another, beside whatever a test does to a bridge meanwhile."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from urllib.parse import urlsplit

from running import Bridge, by_github

SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: all
    event: {type: Run, attributes: {n: "{{ body.n }}"}}
"""
_PAUSE = 0.01  # seconds between two of them
_numbers = itertools.count()


class Neighbour:
    """A source, `neighbour`, that is to be answered as always. Times are in milliseconds."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.undisturbed: list[float] = []
        self.disturbed: list[float] = []

    def recover(self, seconds: float = 5) -> None:
        """Learn how long its answers take while nothing else happens."""
        with self._sending(self.undisturbed):
            time.sleep(seconds)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Send all the while."""
        with self._sending(self.disturbed):
            yield

    @contextmanager
    def _sending(self, times: list[float]) -> Iterator[None]:
        over = threading.Event()
        failures: list[str] = []
        thread = threading.Thread(target=self._send, args=(times, failures, over.is_set))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert failures == []

    def _send(self, times: list[float], failures: list[str], is_over: Callable[[], bool]) -> None:
        with post_to(self._bridge, "neighbour") as post:
            while not is_over():
                body = json.dumps({"n": next(_numbers)}).encode()
                started = time.perf_counter()
                status = post(body)
                times.append((time.perf_counter() - started) * 1000)
                if status != 202:
                    failures.append(f"answered {status}")
                time.sleep(_PAUSE)

    def told(self) -> str:
        """The figures, for people."""
        before, meanwhile = p99(self.undisturbed), p99(self.disturbed)
        return (
            f"another source's answers: p99 {before:.1f} ms undisturbed, {meanwhile:.1f} ms meanwhile, "
            f"the longest {max(self.disturbed):.1f} ms, of {len(self.disturbed)}"
        )

    def is_answered_as_always(self) -> bool:
        """Whether its p99 stayed under 100 ms, or 5 times the undisturbed one where that is more."""
        return p99(self.disturbed) < max(100, 5 * p99(self.undisturbed))


def p99(times: list[float]) -> float:
    """The 99th of a hundred."""
    return quantiles(times, n=100, method="inclusive")[-1]


@contextmanager
def post_to(bridge: Bridge, source: str) -> Iterator[Callable[[bytes], int]]:
    """A connection of its own; what posts a genuine webhook on it and gives the status."""
    connection = http.client.HTTPConnection(urlsplit(bridge.url).netloc, timeout=120)

    def post(body: bytes) -> int:
        connection.request("POST", f"/webhooks/{source}", body, by_github(body, f"delivery-{next(_numbers)}"))
        answer = connection.getresponse()
        answer.read()
        return answer.status

    try:
        yield post
    finally:
        connection.close()
