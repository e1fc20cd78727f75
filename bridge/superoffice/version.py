"""Asks a target's server for its version (`version: auto`), and warns of event types in rules that it does not list.

It is asked beside everything else: nothing waits for the answer, and no event is kept back because of it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection

from bridge.model import Attempt, Claim, Outcome
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.superoffice import decoding, payloads
from bridge.superoffice.event_types import event_types, is_version
from bridge.superoffice.login.token_service import TokenAnswer

Send = Callable[[Claim], Awaitable[Attempt]]

_FIRST_WAIT = 60.0  # seconds until a server that did not tell is asked again; it doubles
_LONGEST_WAIT = 3600.0  # and until one that told is asked again: it may have been updated


def read_version(answer: TokenAnswer) -> str | None:
    """The NetServerVersion of an answer to `GET {base}`, such as `10.3.5.1234`; None where there is none."""
    if answer.status != 200:
        return None
    version = payloads.members(decoding.read(answer.headers, answer.body).value).get("netserverversion")
    return version if is_version(version) else None


class VersionWatch:
    """Asks one target's server for its version: at the start, when the target came back, and every hour.

    `ask` gives the version, None where no answer tells it. `types` are those that rules name for the target; `turns`
    bounds how many targets are asked at once.
    """

    def __init__(
        self,
        target: str,
        ask: Callable[[], Awaitable[str | None]],
        types: Collection[str],
        turns: asyncio.Semaphore,
        *,
        first_wait: float = _FIRST_WAIT,
        longest_wait: float = _LONGEST_WAIT,
    ) -> None:
        self._target = target
        self._ask = ask
        self._types = types
        self._turns = turns
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._came_back = asyncio.Event()
        self._told: str | None = ""  # what the last line said

    async def run(self) -> None:
        """Ask, until cancelled."""
        failures = 0
        while True:
            self._came_back.clear()
            async with self._turns:
                version = await self._ask()
            self._log_version(version)
            failures = 0 if version else failures + 1
            wait = self._first_wait * 2 ** min(failures - 1, 10) if failures else self._longest_wait
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, self._longest_wait)):
                    await self._came_back.wait()

    def noticing(self, send: Send) -> Send:
        """The same `send`; a probe that gets through says that the target came back, perhaps as another version."""

        async def noticed(claim: Claim) -> Attempt:
            attempt = await send(claim)
            if claim.probe and attempt.outcome in (Outcome.DELIVERED, Outcome.REJECTED):
                self._came_back.set()
            return attempt

        return noticed

    def _log_version(self, version: str | None) -> None:
        if version == self._told:
            return
        self._told = version
        known = None if version is None else event_types(version)
        lacking = [] if known is None else sorted(set(self._types) - known)
        level = log.info if version and not lacking else log.warning
        level(logs.TARGET_VERSION_READ, target=self._target, version=version, unlisted=lacking)
