"""Clocks in a test's hand: time passes when the test says so, and the wall clock can be set, as anybody may."""

from bridge.clock import Clock

BOOT = "the only start of this machine"
_DAY = 86_400_000


class Hand(Clock):
    """Stands still until it is turned. Called, it is the wall clock."""

    def __init__(self, at: int = 1_764_003_600_000, boot: str | None = BOOT, since_boot: int = _DAY) -> None:
        self.at = at  # what really is the time
        self.wrong = 0  # by how much the wall clock is ahead of that
        self._name = boot
        self._machine_began_at = at - since_boot
        super().__init__(lambda: self.at + self.wrong, lambda: self.at - self._machine_began_at, lambda: self._name)

    def __call__(self) -> int:
        return self.wall()

    def turn(self, milliseconds: int) -> None:
        """Let time pass."""
        self.at += milliseconds

    def set_wall(self, wrong: int) -> None:
        """Set the wall clock ahead of the real time, or back; right again with 0."""
        self.wrong = wrong

    def start_machine(self) -> None:
        """Let the machine be started anew; whoever uses this clock has to be started too."""
        self._name, self._machine_began_at = f"{self._name}, and again", self.at


class Seconds:
    """A monotonic clock in seconds, which stands still until `at` is changed."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at
