"""What one webhook may take and make, whatever its rules say. Beyond a bound it fails as a whole."""

from dataclasses import dataclass
from time import perf_counter

from bridge import jsontext
from bridge.errors import Exceeded
from bridge.model import Event

MAX_ITEMS = 10_000  # of one for_each
MAX_SECONDS = 2.0  # that the rules may take for one webhook: others wait meanwhile
ROW = 1024  # bytes that an event takes in the store beside its attributes and headers: row, indexes and journal


@dataclass(slots=True)
class Allowance:
    """What one webhook may still take: the time until `deadline`, and `size` bytes of the store, of `whole` ones."""

    deadline: float
    whole: int
    size: int

    @classmethod
    def of(cls, size: int) -> "Allowance":
        """That of a webhook whose events may take so many bytes."""
        return cls(perf_counter() + MAX_SECONDS, size, size)

    @property
    def taken(self) -> int:
        """The bytes that its events take."""
        return self.whole - self.size

    def check_time(self) -> None:
        """Go on.

        Raises:
            Exceeded: its time is over.
        """
        if perf_counter() > self.deadline:
            raise Exceeded(f"the rules took over {MAX_SECONDS:g} s", "look at less of the webhook")

    def take(self, event: Event) -> None:
        """Have room for an event.

        Raises:
            Exceeded: there is none left.
        """
        text = event.text
        self.size -= ROW + len(event.rest) + (len(text) if text.isascii() else len(text.encode()))
        if event.headers is not None:
            self.size -= len(jsontext.encode(dict(event.headers)))
        if self.size < 0:
            hint = "send less of the webhook, or raise the source's max_events_size"
            raise Exceeded(f"the events take over {self.whole:,} bytes of the store", hint)
