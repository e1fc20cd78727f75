"""Limits failed verifications for each address, so that forgers take no time from the genuine.

Senders share addresses with forgers: Amazon, Microsoft and Mailgun send everybody's messages from the same ones. So an
address that a genuine webhook came from lately has a reserve of time. A request may take a part of it only: a
forger's large bodies then never take what a small, genuine one needs.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from bridge.errors import Refused
from bridge.rate import Bucket
from bridge.receiving.limits.addresses import of_one_holder
from bridge.settings.source_schema import FailureSettings

MOST_ADDRESSES = 4096  # that are remembered: of more, the one that was heard of longest ago is forgotten
LATELY = 3600.0  # seconds
_ONE = 1.0  # milliseconds of verification that count as one failure
_RESERVE = {"count": 100, "per": 1000, "burst": 1000}  # milliseconds of verification, in each second and at once
_MARGIN = 4  # times what a request may take must be there: it leaves the rest to others, also on a slow machine
_MOST_WANTED = 500  # milliseconds, by one request
_PER_MIB = 50.0  # milliseconds that a MiB of what takes longest takes: parts with heads of 8 KiB, all escapes


class AddressLimiter:
    """Counts by source and address: an IPv4 address, or a network of IPv6. Who never failed takes no memory."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, prefix: int = 64) -> None:
        self._monotonic = monotonic
        self._prefix = prefix
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], float] = OrderedDict()  # when a genuine webhook came from an address
        self._reserves: dict[tuple[str, str], Bucket] = {}  # of those; in milliseconds

    def used_up(self, source: str, client: str) -> bool:
        """Whether too many of this address failed, so that only its reserve is left, if it has one."""
        if not self._buckets:
            return False
        key = (source, of_one_holder(client, self._prefix))
        bucket = self._buckets.get(key)
        if bucket is None:
            return False
        self._buckets.move_to_end(key)
        return not bucket.available()

    def check(self, source: str, client: str, size: int = 0) -> None:
        """Let a request of so many bytes be verified.

        Raises:
            Refused: too many of this address failed.
        """
        if not self.used_up(source, client):
            return
        wanted = min(_MARGIN * expected(size), _MOST_WANTED)
        if self.is_proven(source, client) and self._reserve(source, client).available() > wanted:
            return
        delay = self._buckets[source, of_one_holder(client, self._prefix)].delay()
        raise Refused("too_many_failures", "too many requests of this address failed", retry_after=delay)

    def add(self, source: str, client: str, settings: FailureSettings, size: int = 0, took: float = 0.0) -> None:
        """One failed, and took so many milliseconds to verify; where that is not known, its size tells."""
        key = (source, of_one_holder(client, self._prefix))
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MOST_ADDRESSES:
                self._buckets.popitem(last=False)
            rate = settings.rate
            bucket = self._buckets[key] = Bucket(rate.count, rate.per, self._monotonic, settings.at_once)
        if bucket.available():
            bucket.take(max(1.0, took / _ONE))
        elif self.is_proven(source, client):
            self._reserve(source, client).take(took or expected(size))

    def proved(self, source: str, client: str) -> None:
        """A genuine webhook came from this address."""
        key, now = (source, client), self._monotonic()
        if now < self._proven.get(key, -LATELY) + LATELY / 60:  # well known
            return
        self._proven[key] = now
        self._proven.move_to_end(key)
        if len(self._proven) > MOST_ADDRESSES:
            oldest, _ = self._proven.popitem(last=False)
            self._reserves.pop(oldest, None)

    def is_proven(self, source: str, client: str) -> bool:
        """Whether a genuine webhook came from this address within the last hour."""
        return self._monotonic() < self._proven.get((source, client), -LATELY) + LATELY

    def spent(self, source: str, client: str) -> float:
        """How many failures count against an address now."""
        bucket = self._buckets.get((source, of_one_holder(client, self._prefix)))
        return 0.0 if bucket is None else bucket.missing()

    def _reserve(self, source: str, client: str) -> Bucket:
        reserve = self._reserves.get((source, client))
        if reserve is None:
            reserve = self._reserves[source, client] = Bucket(**_RESERVE, monotonic=self._monotonic)
        return reserve


def expected(size: int) -> float:
    """The milliseconds that a request of so many bytes, which carries its own proof, may take."""
    return 0.1 + _PER_MIB * size / (1 << 20)
