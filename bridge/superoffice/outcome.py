"""Maps a response, or an error in place of one, to an outcome and a sentence for people."""

import math
import os
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from msgspec import Struct

from bridge.errors import BridgeError
from bridge.model import Outcome, PauseReason, Unclear
from bridge.superoffice import decoding, payloads
from bridge.superoffice.http.dialer import ProxyRefused, ProxyUnreachable

KEPT = 16 * 1024  # bytes of an answer that the record keeps
_TEXT_KEPT = 2 * 1024  # of an answer that is no JSON, such as a proxy's page
_MOVED = frozenset({404, 421, 503})  # of SuperOffice Online
_BRACKETS_KEPT = 500  # in an answer that is kept as JSON; one with more is kept as text
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_LATE = (TimeoutError, httpx.TimeoutException)
_LONGEST_WAIT = 999_999_999.0  # seconds


class Judgement(Struct, frozen=True, kw_only=True):
    """An outcome, why in our own words (safe to log), and what of the answer is kept in the record."""

    outcome: Outcome
    detail: str
    result: Any = None
    status: int | None = None
    retry_after: int | None = None  # milliseconds
    pause: PauseReason | None = None
    unclear: Unclear | None = None


class NotSent(BridgeError):
    """The event was not sent, since what comes before it failed: the log-in, or asking where the tenant is.

    `outcome` is never `unknown`. `detail` is in our own words, safe to log; `retry_after` are milliseconds,
    `pause` is as an Attempt's.
    """

    def __init__(
        self, outcome: Outcome, detail: str, retry_after: int | None = None, *, pause: PauseReason | None = None
    ) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail
        self.retry_after = retry_after
        self.pause = pause


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, online: bool = False, retry_after: int | None = None
) -> Judgement:
    """Judge an answer by its status and its body; some statuses decide whatever the body says.

    `online`: of SuperOffice Online, where a tenant that moved leaves 404 and 503 behind as well as 421.
    """
    said = decoding.read(headers, body)
    unclear, pause = None, None
    if online and status in _MOVED:
        outcome, detail = Outcome.MOVED, f"SuperOffice answered {status}, as where the tenant has moved"
    else:
        outcome, detail = _decide(status, said)
        if outcome is Outcome.UNKNOWN and status < 300:  # taken, it seems, by we know not whom
            unclear, pause = Unclear.PAGE if said.is_page else Unclear.ANSWER, PauseReason.MISCONFIGURED
    return Judgement(
        outcome=outcome,
        detail=detail,
        result=_kept(said),
        status=status,
        retry_after=retry_after,
        pause=pause,
        unclear=unclear,
    )


def _decide(status: int, said: decoding.DecodedBody) -> tuple[Outcome, str]:
    answer = payloads.members(said.value)
    match status:
        case 401 | 403:
            return Outcome.UNAUTHORIZED, f"SuperOffice refused the log-in ({status}), check the target's authorization"
        case 421:
            return Outcome.MOVED, "this host does not serve the tenant (421), check the target's url"
        case 408 | 429 | 503:
            return Outcome.UNAVAILABLE, f"SuperOffice answered {status}"
        case _ if status >= 500:
            return Outcome.UNKNOWN, f"SuperOffice answered {status}, it may have taken the event"
        case _ if status < 300 and payloads.is_result(answer):
            return Outcome.DELIVERED, ""
        case 200 if said.is_json and said.value is None:
            return Outcome.REJECTED, "SuperOffice answered null"
        case _ if 300 <= status < 400:
            return Outcome.MISCONFIGURED, f"the target redirects ({status}), put its final address into url"
        case 404 | 405 if not payloads.is_service_error(answer):
            return Outcome.MISCONFIGURED, f"there is no SendEvent at this URL ({status}), check the target's url"
        case _ if payloads.is_error(answer):
            return Outcome.REJECTED, f"SuperOffice rejected the event ({status}) {payloads.error_type(answer)}".strip()
        case _ if status < 300:
            what = "a page of HTML" if said.is_page else "not SendEvent's"
            check = "check the target's url and what stands in front of it"
            return Outcome.UNKNOWN, f"the answer ({status}) is {what}, SuperOffice may have taken the event, {check}"
        case _:
            return Outcome.MISCONFIGURED, f"the answer ({status}) is not SendEvent's, check the target's url"


def _kept(said: decoding.DecodedBody) -> Any:
    # Every level costs a bracket: what has many of them may nest deeper than can be written again.
    text = said.text
    if said.is_json and len(text) <= KEPT and text.count(b"[") + text.count(b"{") <= _BRACKETS_KEPT:
        return said.value
    return text[: KEPT if said.is_json else _TEXT_KEPT].decode("utf-8", "replace") or None


def judge_fault(error: BaseException, *, sent: bool, within: str) -> Judgement:
    """Judge an exchange that broke. `sent`: the request's headers went out, so SuperOffice may have acted on it."""
    if sent:
        what = f"no answer within {within}" if isinstance(error, _LATE) else "the connection broke before the answer"
        return Judgement(outcome=Outcome.UNKNOWN, detail=f"{what}, SuperOffice may have taken the event")
    return Judgement(outcome=Outcome.UNAVAILABLE, detail=_unreachable(error, within))


def _unreachable(error: BaseException, within: str) -> str:
    match error:
        case TimeoutError() | httpx.TimeoutException():
            return f"no connection within {within}"
        case ProxyRefused():
            return f"the proxy answered {error.status}, check the target's proxy"
        case ProxyUnreachable(__cause__=socket.gaierror()):
            return "the proxy cannot be reached: its name is not found"
        case ProxyUnreachable(__cause__=OSError() as cause):
            return f"the proxy cannot be reached: {_unconnected(cause)}"
        case httpx.ConnectError(__cause__=Exception() as cause):
            return _unreachable(cause, within)
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return "the connection broke before the answer"  # to a question, which nothing comes of
        case socket.gaierror():
            return "the host's name is not found"
        case ssl.SSLCertVerificationError():
            return "the host's TLS certificate is not valid"
        case ssl.SSLError():
            return "TLS failed"
        case OSError():
            return _unconnected(error)
        case _:
            return f"the request could not be sent ({type(error).__name__})"


def _unconnected(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "the connection failed"  # its own text has the address


def retry_after(headers: Mapping[str, str], now: int) -> int | None:
    """An answer's Retry-After (seconds or a date, RFC 9110) as milliseconds to wait; None where it says nothing.

    A date counts from the answer's own Date, so that no clock of ours has a say in it; from `now` where there is none.
    Seconds may have a fraction, which the RFC does not know but servers write.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return math.ceil(min(float(text), _LONGEST_WAIT) * 1000)
    moment = _moment(text)
    if moment is None:
        return None
    answered = _moment(headers.get("date", "")) or datetime.fromtimestamp(now / 1000, UTC)
    return max(0, int((moment - answered).total_seconds() * 1000))


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # such as a year of 20 digits
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
