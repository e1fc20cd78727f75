"""How often requests of one address may fail verification, so that forgers take no time from the genuine."""

import time
from collections import OrderedDict
from collections.abc import Callable

from bridge.errors import Refused
from bridge.rate import Bucket
from bridge.receiving.addresses import of_one_holder
from bridge.settings.source_schema import FailureSettings

MOST_ADDRESSES = 4096  # that are remembered: of more, the one that was heard of longest ago is forgotten


class Failures:
    """Counts by source and address: an IPv4 address, or a /64 network of IPv6. Who never failed takes no memory."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def check(self, source: str, client: str) -> None:
        """Let a request be verified.

        Raises:
            Refused: too many of this address failed.
        """
        if not self._buckets:
            return
        key = (source, of_one_holder(client))
        bucket = self._buckets.get(key)
        if bucket is None:
            return
        self._buckets.move_to_end(key)
        if not bucket.available():
            raise Refused(
                429, "too_many_failures", "too many requests of this address failed", retry_after=bucket.delay()
            )

    def add(self, source: str, client: str, settings: FailureSettings) -> None:
        """One failed."""
        key = (source, of_one_holder(client))
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MOST_ADDRESSES:
                self._buckets.popitem(last=False)
            rate = settings.rate
            bucket = self._buckets[key] = Bucket(rate.count, rate.per, self._monotonic, settings.at_once)
        if bucket.available():
            bucket.take(1)
