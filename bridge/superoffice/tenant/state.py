"""Reads a tenant's state from the state endpoint of SuperOffice Online, strictly: it decides where credentials go.

The endpoint and its fields are those of SuperOffice's page on tenant status. That a ValidUntil without an offset is
UTC, and that a state may come as its number instead of its name, is our reading.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bridge.model import Outcome
from bridge.settings.parsing import is_loopback
from bridge.settings.target_schema import OnlineSettings, base_url
from bridge.superoffice import decoding
from bridge.superoffice.outcome import NotSent
from bridge.target_state import TenantState

STATES = {
    0: "Unknown",
    1: "Provisioning",
    2: "Running",
    3: "Deleted",
    4: "Suspended",
    5: "OnlineMaintenance",
    6: "OfflineMaintenance",
    8: "ProvisioningFailed",
    10: "Deleting",
    11: "DeleteFailed",
    12: "MigrationPending",
}
SHORTEST = 60_000  # milliseconds that an answer is good for at least: clocks differ, and each event must not ask anew
_MOST_BYTES = 64 * 1024  # of an answer; a real one has a few hundred
_LONGEST_URL = 500
_LATEST = 253_402_300_799_999  # the last millisecond of the year 9999: what is later cannot be written as a time
_FOR_LATER = frozenset({408, 425, 429})  # with every 5xx: statuses that promise another answer another time
_WORD = re.compile(r"[A-Za-z]{1,40}")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


def read_state(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    online: OnlineSettings,
    *,
    target: str,
    now: int,
    retry_after: int | None = None,
) -> TenantState:
    """An answer of the state endpoint -> what it says; `url` only where the tenant runs.

    Raises:
        NotSent: unavailable where it is to be asked again, misconfigured where it says nothing that may be believed.
    """
    if status in _FOR_LATER or status >= 500:
        raise NotSent(Outcome.UNAVAILABLE, f"asked where the tenant is, SuperOffice answered {status}", retry_after)
    if status != 200:
        raise _unusable(f"asked where the tenant is, SuperOffice answered {status}, check the target's online settings")
    answer = _parse(headers, body)
    if answer is None or not isinstance(answer.get("IsRunning"), bool):
        raise _unusable("what answers is no state endpoint of SuperOffice Online, check online.environment")
    if str(answer.get("ContextIdentifier")).lower() != online.tenant.lower():
        raise _unusable("asked where the tenant is, SuperOffice answered for another tenant, check online.tenant")
    running = answer["IsRunning"]
    return TenantState(
        target=target,
        tenant=online.tenant,
        state=_state(answer.get("State")),
        running=running,
        url=_believed(answer.get("Api"), online) if running else None,
        asked_at=now,
        valid_until=max(_moment(answer.get("ValidUntil")), now + SHORTEST),
    )


def _parse(headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    said = decoding.read(headers, body)
    return said.value if isinstance(said.value, dict) and len(said.text) <= _MOST_BYTES else None


def _state(value: Any) -> str:
    """The state's name, for people: what counts is IsRunning."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return STATES.get(value, STATES[0]) if isinstance(value, int) else STATES[0]


def _moment(value: Any) -> int:
    """Milliseconds since 1970; 0 where it is no time."""
    try:
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return min(int(seconds * 1000), _LATEST)
    except (TypeError, ValueError, OverflowError):
        return 0


def _believed(api: Any, online: OnlineSettings) -> str:
    """The tenant's URL, where credentials may be sent to: https, and within the environment's own domain.

    TLS proves that we ask the environment itself. This check is for the day when it is wrong, or not itself: whatever
    it says, credentials stay in the domain that the operator named. Of a sandbox on this machine, all of this machine.
    """
    try:
        url = base_url(api if isinstance(api, str) and len(api) <= _LONGEST_URL else "")
    except ValueError:
        raise _unusable("asked where the tenant is, SuperOffice answered with something that is no URL") from None
    there, environment = urlsplit(url), urlsplit(online.environment)
    host, own = there.hostname or "", environment.hostname or ""
    if is_loopback(own) and is_loopback(host) and there.scheme in (environment.scheme, "https"):
        return url
    if there.scheme != "https":
        raise _unusable("asked where the tenant is, SuperOffice answered with a URL that is not https: not followed")
    domain = "superoffice.com" if f".{own}".endswith(".superoffice.com") else own
    # Parsers differ about brackets and the like: only where nothing but the host and its port is written, none can.
    plain = _HOST.fullmatch(host) and there.netloc.lower() in (host, f"{host}:{there.port}")
    if not plain or not f".{host}".endswith(f".{domain}"):
        named = host if plain else "a host"
        raise _unusable(f"the tenant is said to be at {named}, outside of {domain}: nothing is sent there")
    if there.port not in (None, 443, environment.port):
        raise _unusable(f"the tenant is said to be at another port of {host}: nothing is sent there")
    return url


def _unusable(detail: str) -> NotSent:
    return NotSent(Outcome.MISCONFIGURED, detail)
