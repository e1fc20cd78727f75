"""Limits on the time and the output of one webhook's mapping. Beyond a limit the whole webhook fails."""

from dataclasses import dataclass
from time import perf_counter

from bridge import jsontext
from bridge.errors import Exceeded
from bridge.model import Event

MAX_ITEMS = 10_000  # of one for_each
MAX_EVENTS = 10_000  # of all rules: they are stored in one transaction, and others wait for it
AT_ONCE = 0.02  # seconds that others may be made to wait for the rules of one webhook
MAX_SECONDS = 1.0  # of the processor's, that they may take in all
ROW = 1024  # bytes that an event takes in the store beside its attributes and headers: row, indexes and journal


@dataclass(slots=True)
class Allowance:
    """What one webhook may still take: `events`, `size` bytes of the store of `whole` ones, and no step before `until`.

    Each step tells its dedupe `key`, empty where it has none.
    """

    key: str
    until: float
    whole: int
    size: int
    events: int = MAX_EVENTS

    @classmethod
    def of(cls, size: int, key: str) -> "Allowance":
        """That of a webhook whose events may take so many bytes."""
        return cls(key, perf_counter() + AT_ONCE, size, size)

    @property
    def taken(self) -> int:
        """The bytes that its events take."""
        return self.whole - self.size

    def take(self, event: Event) -> None:
        """Have room for an event.

        Raises:
            Exceeded: there is none left.
        """
        text = event.text
        self.events -= 1
        self.size -= ROW + len(event.rest) + (len(text) if text.isascii() else len(text.encode()))
        if event.headers is not None:
            self.size -= len(jsontext.encode(dict(event.headers)))
        if self.events < 0:
            raise Exceeded(f"the rules make over {MAX_EVENTS:,} events", "let fewer of them fire")
        if self.size < 0:
            hint = "send less of the webhook, or raise the source's max_events_size"
            raise Exceeded(f"the events take over {self.whole:,} bytes of the store", hint)
