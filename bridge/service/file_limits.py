"""Raises RLIMIT_NOFILE to fit all connections: a process may mostly open 1,024 files, and many targets need more."""

import resource
from collections.abc import Iterable

from bridge.settings.target_schema import TargetSettings

_BESIDES = 2048  # what the ports, the store and log-ins may open


def allow(targets: Iterable[TargetSettings]) -> str | None:
    """Let this process open as many files as its targets may need; what is wrong where the system forbids it."""
    connections = sum(target.max_in_flight for target in targets)
    wanted = _BESIDES + connections
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return None
    allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if allowed > limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if allowed == wanted:
        return None
    return (
        f"the targets may have {connections} connections at once, but this process may open {allowed} files only, "
        f"raise its limit (LimitNOFILE) to {wanted}, or lower max_in_flight"
    )
