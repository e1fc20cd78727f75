"""Runs the checks of `bridge doctor` for a target, one after another. No event is sent.

That a GET of an agent's method describes it and does not run it, is what SuperOffice's own REST reference says.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from bridge.errors import BridgeError
from bridge.operations.doctor.connectivity import Address, Unreached, connect, resolve
from bridge.settings.target_schema import OnlineSettings, TargetSettings
from bridge.superoffice.event_types import event_types
from bridge.superoffice.login.session import REFUSED
from bridge.superoffice.login.token_service import TokenAnswer
from bridge.superoffice.outcome import NotSent
from bridge.superoffice.send_event import SEND_EVENT, SuperOffice
from bridge.superoffice.version import read_version
from bridge.times import now

PATIENCE = 60.0  # seconds for one target
_STEP = 10.0  # seconds for a name or a connection
_AT_ONCE = 8  # targets
_RENEW = 14  # days before its end that a certificate should have been renewed
_MOST_OFF = 60  # seconds that two clocks may differ: log-ins are signed with the time


class Health(StrEnum):
    """How a check went."""

    OK = "ok"
    DOUBTFUL = "doubtful"  # it cannot be told, or it is worth a look
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check of one target showed; `hint` says what to do."""

    target: str
    check: str
    state: Health
    message: str
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """Its fields in `bridge doctor --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A target to look at. `types`: the event types that rules name for it.

    `kept_token`: its log-in service replaces refresh tokens, so that a log-in here would take the running bridge's.
    """

    name: str
    settings: TargetSettings
    superoffice: SuperOffice
    types: Collection[str]
    kept_token: bool = False


def waiting(target: dict[str, Any]) -> Finding:
    """What waits for a target, as `Queries.targets` shows it, and whether it goes on by itself."""
    name, paused = target["name"], target["state"] == "paused"
    told, hints = [], []
    if target["detail"]:
        told.append(f"paused since {target['paused_at']}, {target['detail']}" if paused else target["detail"])
        hints.append(target["hint"])
    if target["pending"]:
        told.append(f"{target['pending']} wait to be sent, the oldest since {target['oldest']}")
    if paused and target["sending"]:
        told.append("one is being sent as a probe")
    if target["held"]:
        told.append(f"{target['held']} are held: nobody can tell whether SuperOffice took them")
        listed = f"`bridge events list --state held --target {name}`"
        hints.append(f"look in SuperOffice, then release or discard those that are held ({listed})")
    state = Health.WRONG if target["stuck"] else Health.DOUBTFUL if paused else Health.OK
    message = "; ".join(told) or "none waits"
    return Finding(target=name, check="events", state=state, message=message, hint="; ".join(hints))


async def examine(
    patients: Collection[Patient], clock: Callable[[], int] = now, patience: float = PATIENCE
) -> list[Finding]:
    """All findings, target by target; a few targets at once."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(patient: Patient) -> list[Finding]:
        async with turns:
            return await _examine(_Examination(patient, clock), patience)

    return [finding for found in await asyncio.gather(*map(one, patients)) for finding in found]


async def _examine(examination: "_Examination", patience: float) -> list[Finding]:
    try:
        async with asyncio.timeout(patience):
            await examination.run()
    except _EndsHere:
        pass
    except TimeoutError:
        hint = "look at what comes last, and at the target's timeout"
        examination.note("time", Health.WRONG, f"the checks took over {patience:g} s", hint)
    finally:
        await examination.patient.superoffice.close()
    return examination.found


class _EndsHere(BridgeError):
    """What failed makes all that comes after it pointless."""


class _Examination:
    """One target's checks, from the outside in; `found` grows."""

    def __init__(self, patient: Patient, clock: Callable[[], int]) -> None:
        self.patient = patient
        self.found: list[Finding] = []
        self._settings = patient.settings
        self._superoffice = patient.superoffice
        self._clock = clock

    def note(self, check: str, state: Health, message: str, hint: str = "") -> None:
        self.found.append(Finding(target=self.patient.name, check=check, state=state, message=message, hint=hint))

    def _end(self, check: str, message: str, hint: str) -> _EndsHere:
        self.note(check, Health.WRONG, message, hint)
        return _EndsHere(message)

    async def run(self) -> None:
        """Go through all checks.

        Raises:
            _EndsHere: one failed that all others need.
        """
        url = self._settings.url or ""
        if self._settings.online:
            await self._way(self._settings.online.environment, "environment_")
            url = await self._tenant(self._settings.online)
        await self._way(url)
        await self._api()
        await self._send_event()

    async def _tenant(self, online: OnlineSettings) -> str:
        try:
            url = await self._superoffice.base()
        except NotSent as error:
            raise self._end("tenant", error.detail, "check online, and look at SuperOffice's status page") from None
        self.note("tenant", Health.OK, f"{online.tenant} is running, at {url}")
        return url

    async def _way(self, url: str, prefix: str = "") -> None:
        proxy, within = self._settings.proxy, min(_STEP, self._settings.timeout / 1000)
        first = Address.of(proxy.url if proxy else url)
        try:
            found = await resolve(first, within)
        except Unreached as error:
            raise self._end(f"{prefix}dns", str(error), error.hint) from None
        self.note(f"{prefix}dns", Health.OK, f"{first.host} is {', '.join(found[:4])}")
        check = prefix + ("tls" if url.startswith("https:") else "connection")
        try:
            shown = await connect(url, self._superoffice.trust, proxy, within)
        except Unreached as error:
            raise self._end(check, str(error), error.hint) from None
        through = f" through the proxy {first}" if proxy else ""
        if shown is None:
            self.note(check, Health.OK, f"{first} takes connections, without TLS")
            return
        self.note(check, Health.OK, f"{shown.version} with {Address.of(url)}{through}")
        days = shown.days_left(self._clock() / 1000)
        state, hint = (Health.OK, "") if days > _RENEW else (Health.WRONG, "let whoever runs the server renew it")
        self.note(f"{prefix}certificate", state, f"the certificate is good for {days} days", hint)

    async def _api(self) -> None:
        try:
            answer = await self._superoffice.ask()
        except NotSent as error:
            raise self._end("api", error.detail, "check the target's url, tls and proxy, and the server") from None
        if version := read_version(answer):
            self.note("api", Health.OK, "SuperOffice's web API answers")
            self._version(version)
        elif answer.status in REFUSED:
            message = f"the web API tells its version to nobody who is not logged in ({answer.status})"
            self.note("api", Health.DOUBTFUL, message, "set version to the server's own, not to auto")
        else:
            raise self._end("api", *_no_api(answer.status))
        self._clocks(answer)

    def _version(self, version: str) -> None:
        known = event_types(version)
        unlisted = sorted(set(self.patient.types) - known) if known is not None else []
        if known is None:
            message, hint = f"the server is {version}, whose event types are not known", "check those that rules name"
            self.note("version", Health.DOUBTFUL, message, hint)
        elif unlisted and not self._settings.allow_unknown_event_types:
            message = f"the server is {version}, which does not list {', '.join(unlisted)}"
            self.note("version", Health.DOUBTFUL, message, "rules name these types: expect it to reject them")
        else:
            self.note("version", Health.OK, f"the server is {version}")

    def _clocks(self, answer: TokenAnswer) -> None:
        try:
            moment = parsedate_to_datetime(answer.headers.get("date", ""))
        except (ValueError, OverflowError):
            hint = "check this machine's clock by other means"
            self.note("clock", Health.DOUBTFUL, "the server does not tell the time", hint)
            return
        its_time = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        off = round(abs(self._clock() / 1000 - its_time))
        if off <= _MOST_OFF:
            self.note("clock", Health.OK, f"the server's clock and this machine's agree within {max(off, 1)} s")
            return
        hint = "let NTP set this machine's clock; where that is right, tell whoever runs the server"
        self.note("clock", Health.WRONG, f"the server's clock and this machine's differ by {off} s", hint)

    async def _send_event(self) -> None:
        if self.patient.kept_token:
            message = "not tried: its service gives a new refresh token with each log-in, and the bridge needs the last"
            self.note("login", Health.DOUBTFUL, message, "look for login.renewed in the bridge's log")
            return
        try:
            fetched = await self._superoffice.log_in()
            with_it = await self._superoffice.ask(SEND_EVENT, logged_in=True)
            without = await self._superoffice.ask(SEND_EVENT)
        except NotSent as error:
            message, check, hint = error.detail.partition(", check ")  # said where there is something; the rest passes
            raise self._end("login", message, f"check {hint}" if check else "try again in a while") from None
        self._login(with_it.status, without.status, fetched=fetched)
        self._offered(with_it.status)

    def _login(self, with_it: int, without: int, *, fetched: bool) -> None:
        scheme = self._settings.authorization.scheme
        if with_it in REFUSED:
            hint = "check the target's authorization, and what its user may do"
            self.note("login", Health.WRONG, f"SuperOffice refused the log-in ({with_it})", hint)
        elif without in REFUSED:
            self.note("login", Health.OK, f"SuperOffice takes the log-in ({scheme})")
        elif fetched:
            self.note("login", Health.OK, f"the log-in service gave credentials ({scheme})")
        else:
            message = "cannot be told without an event: the answer is the same without a log-in"
            self.note("login", Health.DOUBTFUL, message, "send one event, and look at its attempt")

    def _offered(self, status: int) -> None:
        match status:
            case 200:
                self.note("send_event", Health.OK, "SendEvent is offered")
            case 405:
                self.note("send_event", Health.OK, "SendEvent's URL is there, though it takes no GET (405)")
            case 404:
                hint = "check the url, and whether this version of SuperOffice has workflow events"
                self.note("send_event", Health.WRONG, "SendEvent is not offered (404)", hint)
            case _ if status in REFUSED:
                self.note("send_event", Health.DOUBTFUL, "cannot be told", "let the log-in work first")
            case _:
                hint = "send one event, and look at its attempt"
                self.note("send_event", Health.DOUBTFUL, f"cannot be told: its URL answers {status} to a GET", hint)


def _no_api(status: int) -> tuple[str, str]:
    if 300 <= status < 400:
        return f"the url redirects ({status})", "put its final address into url"
    if status == 421:
        return "this host does not serve the tenant (421)", "use online instead of url"
    if status == 407:
        return "the proxy wants a log-in (407)", "check proxy.username and proxy.password"
    if status >= 500 or status in (408, 429):
        return f"the server answers {status}", "wait, or ask whoever runs it"
    return (
        f"what answers ({status}) is not SuperOffice's web API",
        "put the address of its web API into url, such as https://crm.example.com/superoffice/api",
    )
