"""Runs a mapping in steps, so that a long one can be continued on another thread.

It is bounded in all, by the processor's time, so that no webhook fails because the machine was busy.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import inf
from time import thread_time

from bridge.errors import Exceeded
from bridge.mapping.bounds import MAX_SECONDS
from bridge.model import Mapped

Steps = Generator[str | None, None, Mapped]
"""A mapping under way. A step tells the webhook's dedupe key, empty where it has none; None while its body is read.

`Exceeded` thrown into it at a step makes it fail as a whole.
"""


@dataclass(slots=True)
class Course:
    """How far a mapping is: the dedupe key it told, the seconds that its rules took, and what came of it in the end.

    `clock` counts the seconds of the processor's that the calling thread had.
    """

    steps: Steps
    key: str | None = None
    seconds: float = 0.0
    mapping: Mapped | None = None
    clock: Callable[[], float] = thread_time

    def go_on(self, seconds: float) -> None:
        """Take steps for so long; none is longer than an expression may take, or the reading of a body."""
        begun = last = self.clock()
        try:
            while last - begun <= seconds:
                reading = self.key is None  # a body is as long as `max_body` allows: that counts for nothing
                self.key = self._step()
                now = self.clock()
                self.seconds += 0.0 if reading else now - last
                last = now
        except StopIteration as done:
            self.mapping = done.value

    def _step(self) -> str | None:
        if self.seconds <= MAX_SECONDS:
            return next(self.steps)
        message = f"the rules took over {MAX_SECONDS:g} s of the processor's time"
        return self.steps.throw(Exceeded(message, "look at less of the webhook"))


def to_the_end(steps: Steps) -> Mapped:
    """All of a mapping, here and now."""
    course = Course(steps)
    while course.mapping is None:
        course.go_on(inf)
    return course.mapping
