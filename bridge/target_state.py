"""The state of a target: open or paused, why and since when; its changes; and that of its tenant."""

from dataclasses import dataclass, field, replace

from bridge.model import PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the store remembers of a target, by the running clock.

    Its own clock is that one less all the time it stood still.
    """

    name: str
    paused_at: int | None = None
    reason: str = ""
    by_operator: bool = False
    paused_total: int = 0
    probes: int = 0
    next_probe_at: int | None = None
    ages: bool = False  # while it is paused, its events grow older: max_age goes on
    version: int = field(default=0, compare=False)  # of its row that this was made of; 0: it has none

    def clock(self, now: int) -> int:
        """The target's own clock at `now`, which max_age goes by: it stands still while the target is paused."""
        stopped_at = self._stopped_at()
        return (now if stopped_at is None else min(now, stopped_at)) - self.paused_total

    def paused(
        self, now: int, reason: PauseReason, next_probe_at: int | None = None, probes: int = 0, *, ages: bool = False
    ) -> "TargetState":
        """The target paused, or paused for another reason than so far, after so many probes that failed."""
        # One that aged so far and does no longer: the clock stops only now.
        since = self.paused_at if ages else self._stopped_at()
        return replace(
            self,
            paused_at=now if since is None else since,
            reason=reason.value,
            by_operator=reason is PauseReason.OPERATOR,
            paused_total=self.paused_total + (self._stood_still(now) if ages else 0),
            probes=probes,
            next_probe_at=next_probe_at,
            ages=ages,
        )

    def resumed(self, now: int) -> "TargetState":
        """The target open again."""
        paused_total = self.paused_total + self._stood_still(now)
        return TargetState(name=self.name, paused_total=paused_total, version=self.version)

    def _stood_still(self, now: int) -> int:
        stopped_at = self._stopped_at()
        return 0 if stopped_at is None else max(0, now - stopped_at)

    def _stopped_at(self) -> int | None:
        return None if self.ages else self.paused_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTransition:
    """One change of a target's state, as it was stored."""

    before: TargetState
    after: TargetState


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantState:
    """What SuperOffice Online last said of a target's tenant."""

    target: str
    tenant: str  # its id, such as Cust12345
    state: str  # for people, such as OfflineMaintenance
    running: bool
    url: str | None  # of its web API; None where it is not running
    asked_at: int
    valid_until: int
