"""Describes a target's pause in words: its reason, and what to do about it."""

from typing import NamedTuple

from bridge.model import PauseReason


class Words(NamedTuple):
    """What is wrong, and what to do."""

    what: str
    remedy: str


_PROBED = "the next probe then opens it by itself"

WORDS: dict[str, Words] = {
    PauseReason.UNAUTHORIZED: Words(
        "SuperOffice refuses the log-in", f"correct the target's authorization, or what its user may do; {_PROBED}"
    ),
    PauseReason.MISCONFIGURED: Words(
        "what answers is not SendEvent, or answers what nobody understands",
        f"look at the last attempts of its events, correct the url or what stands in front of it; {_PROBED}",
    ),
    PauseReason.MOVED: Words(
        "its host does not serve the tenant any more", "write online instead of url, or the host that does"
    ),
    PauseReason.TENANT: Words(
        "its tenant is not running", f"wait, and look at SuperOffice's status page; {_PROBED} once it runs"
    ),
    PauseReason.BREAKER: Words(
        "it did not answer, or failed, many times in a row", f"see that the server is up and reached; {_PROBED}"
    ),
    PauseReason.OPERATOR: Words("an operator paused it", "`bridge targets resume` sends to it again"),
}
UNKNOWN = Words("it is not in the configuration any more", "put it back, or discard its events")
