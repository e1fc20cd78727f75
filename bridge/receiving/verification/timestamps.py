"""Parses timestamps of signatures strictly, and checks them against the clock."""

import re
from datetime import datetime

from bridge.errors import NotVerified
from bridge.receiving.senders.signature_spec import TimeUnit
from bridge.receiving.verification.reasons import Reason

MOST_DIGITS = 20
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def milliseconds(value: bytes, unit: TimeUnit) -> int:
    """A signed time as milliseconds since 1970.

    Raises:
        NotVerified: it is none.
    """
    if unit == "rfc3339":
        text = value.decode("latin-1").upper()
        try:
            if _RFC3339.fullmatch(text):
                return int(datetime.fromisoformat(text).timestamp() * 1000)
        except ValueError:  # a thirteenth month
            pass
    elif len(value) <= MOST_DIGITS and value.isdigit():
        return int(value) * (1000 if unit == "s" else 1)
    raise NotVerified(Reason.TIMESTAMP_MALFORMED)


def check(at: int, now: int, tolerance: int) -> None:
    """Refuse a time that is further from now than `tolerance`, to either side; all in milliseconds.

    Raises:
        NotVerified: it is.
    """
    if now - at > tolerance:
        raise NotVerified(Reason.TIMESTAMP_STALE)
    if at - now > tolerance:
        raise NotVerified(Reason.TIMESTAMP_FUTURE)
