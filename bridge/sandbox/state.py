"""The sandbox's state: received events, request counts, scripted faults. No HTTP in it."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from bridge.sandbox.answers import Credentials, HttpAnswer, SendEventError, result, selected, workflow_event
from bridge.sandbox.creators import create
from bridge.sandbox.faults import Fault, Script
from bridge.sandbox.logins import LogIns
from bridge.sandbox.tenants import Tenants
from bridge.sandbox.versions import NEWEST, api, known_to, send_event_described

_MAX_TENANTS = 1000
_OTHERS = "(others)"  # where further tenants are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """One WorkflowEvent that the sandbox took. `number` counts from 1 over all tenants."""

    number: int
    tenant: str
    event_type: str
    attributes: str | None
    received_at: int  # milliseconds since 1970
    headers: dict[str, str]  # shared between equal requests; credentials are masked
    select: str | None  # the text of $select


class Sandbox:
    """A SuperOffice without a server around it.

    It keeps the last `keep` events, fewer where their attributes and headers take more than `keep_text` bytes.
    Faults are `Fault`s or texts as `parse_fault` reads them. `now` gives milliseconds since 1970.
    """

    def __init__(
        self,
        faults: Iterable[Fault | str] = (),
        *,
        credentials: Credentials | None = None,
        log_ins: LogIns | None = None,
        version: str = NEWEST,
        keep: int = 200_000,
        keep_text: int = 256 * 1024 * 1024,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.script = Script(faults)
        self.log_ins = log_ins or LogIns(now=now)
        self.tenants = Tenants(now)
        self.requests: dict[str, Counter[str]] = {}  # tenant -> how often it got which answer
        self.version = version
        self._credentials = credentials or Credentials()
        self._head = lru_cache(maxsize=1000)(self._credentials.head)
        self._events: deque[tuple[RecordedEvent, int]] = deque()
        self._text = 0
        self._number = 0
        self._keep = keep
        self._keep_text = keep_text
        self._now = now
        self._pauses: set[asyncio.Future[bool]] = set()

    def send_event(self, tenant: str, headers: Iterable[tuple[bytes, bytes]], query: bytes, body: bytes) -> HttpAnswer:
        """Judge one SendEvent, record its event where it is good, and give the answer. Header names are lower-case."""
        if (instead := self.tenants.instead(tenant)) is not None:
            return instead
        headers = tuple(headers)
        try:
            head = self._head(headers, self.log_ins.accepts(tenant, headers))
            event_type, attributes = workflow_event(body, self._known)
        except SendEventError as refusal:
            return refusal.answer
        select, fields = selected(query)
        self._number += 1
        event = RecordedEvent(
            number=self._number,
            tenant=tenant,
            event_type=event_type,
            attributes=attributes,
            received_at=self._now(),
            headers=head.headers,
            select=select,
        )
        self._record(event, head.size + len(attributes or ""))
        return result(event_type, f"number={self._number}", fields)

    @property
    def version(self) -> str:
        """The version that is played; another one may be set at any time.

        Raises:
            ValueError: what is set is no version.
        """
        return self._version

    @version.setter
    def version(self, version: str) -> None:
        self._known = known_to(version)
        self._version = version

    def api(self, tenant: str, url: str, accept: str) -> HttpAnswer:
        """What `GET {base}` at a URL tells to everybody."""
        return self.tenants.instead(tenant) or api(url, self.version, accept, self._now())

    def describe_send_event(self, tenant: str, headers: Iterable[tuple[bytes, bytes]]) -> HttpAnswer:
        """What a GET of SendEvent tells to whoever is logged in; it sends nothing."""
        headers = tuple(headers)
        if (instead := self.tenants.instead(tenant)) is not None:
            return instead
        try:
            self._credentials.let_in(headers, self.log_ins.accepts(tenant, headers))
        except SendEventError as refusal:
            return refusal.answer
        return send_event_described()

    def create(self, tenant: str, headers: Iterable[tuple[bytes, bytes]], creator: str, body: bytes) -> HttpAnswer:
        """What a creator of the agent gives to whoever is logged in: a blank carrier."""
        headers = tuple(headers)
        if (instead := self.tenants.instead(tenant)) is not None:
            return instead
        try:
            self._credentials.let_in(headers, self.log_ins.accepts(tenant, headers))
            return create(creator, body)
        except SendEventError as refusal:
            return refusal.answer

    def events(self, tenant: str | None = None) -> list[RecordedEvent]:
        """The events taken, oldest first, of one tenant or of all."""
        return [event for event, _ in self._events if tenant is None or event.tenant == tenant]

    def forget_events(self) -> None:
        """Drop all recorded events; the next one is number 1 again."""
        self._events.clear()
        self._text = self._number = 0

    def count(self, tenant: str, answer: str) -> None:
        """Note how a request was answered: by a status, or by the name of a fault."""
        if tenant not in self.requests and len(self.requests) >= _MAX_TENANTS:
            tenant = _OTHERS
        self.requests.setdefault(tenant, Counter())[answer] += 1

    def clear_faults(self) -> None:
        """Forget the faults to come, and let requests that hang or are slow go on as usual."""
        self.script.clear()
        self._end_pauses(go_on=True)

    def hang_up(self) -> None:
        """Let requests that hang or are slow end without an answer: the sandbox is closing."""
        self._end_pauses(go_on=False)

    async def pause(self, left: asyncio.Future[None], seconds: float | None) -> bool:
        """Wait for `seconds` (None: without end). False: the client has left, or the sandbox is closing."""
        ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pauses.add(ended)
        try:
            await asyncio.wait((ended, left), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pauses.discard(ended)
        return ended.result() if ended.done() else not left.done()

    def _end_pauses(self, *, go_on: bool) -> None:
        for ended in self._pauses:
            if not ended.done():
                ended.set_result(go_on)

    def _record(self, event: RecordedEvent, size: int) -> None:
        self._events.append((event, size))
        self._text += size
        while len(self._events) > self._keep or self._text > self._keep_text:
            self._text -= self._events.popleft()[1]
