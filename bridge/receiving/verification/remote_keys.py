"""Fetches and caches keys that senders publish at a URL: from their own hosts only, bounded.

Proofs do no I/O. One that lacks a key raises `KeyNeeded`; whoever may wait awaits its `fetch` and verifies again.

What a stranger sends chooses at most among the URLs that the scheme's own pattern allows, each of them https: no other
host, no redirect, no cookie, and few fetches however many are asked for. Names that they make up cannot use up what the
sender needs: a URL whose key verified a webhook before is fetched whatever else was, and some fetches are left for who
calls from where genuine webhooks came from.
"""

import asyncio
import functools
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

import httpx

from bridge.errors import BridgeError, KeyUnavailable, NotVerified
from bridge.rate import Bucket
from bridge.receiving.verification.reasons import Reason

K = TypeVar("K")

Download = Callable[[str], Awaitable[bytes]]
"""Fetches what is at a URL; raises NotVerified where nothing usable is, KeyUnavailable where it cannot be told now."""

KEPT = 24 * 3600.0  # seconds that a key is used without asking again
PAUSE = 30.0  # seconds between two questions about one URL, whatever the first one's answer
MOST_KEPT = 32  # URLs of which an answer is remembered, those without a key going first
MOST_ASKED = 20  # fetches of one source at once, or in a minute, of URLs that nothing was proven by
RESERVED = 5  # of them, for whoever sent genuine webhooks lately
MOST_PROVEN = 32  # URLs that proved themselves are remembered
MOST_BYTES = 256 * 1024  # of an answer; a certificate chain has 6 KB, a large key set 50 KB
WITHIN = 5.0  # seconds for all of one fetch: several senders wait no longer than that themselves
_FOR_LATER = frozenset([408, 425, 429])  # with every 5xx: statuses that promise another answer another time


class KeyNeeded(BridgeError):
    """A proof needs a key that is not here yet; `fetch` gets it."""

    def __init__(self, keys: "RemoteKeys[Any]", url: str) -> None:
        super().__init__("a key has to be fetched")
        self._keys = keys
        self._url = url

    @property
    def is_first(self) -> bool:
        """Whether nobody is fetching it yet."""
        return not self._keys.is_fetching(self._url)

    @property
    def is_proven(self) -> bool:
        """Whether a key from there verified a genuine webhook before."""
        return self._keys.is_proven(self._url)

    async def fetch(self, download: Download, *, is_known: bool = False) -> None:
        """Fetch it, or remember why it cannot be had: either way, verifying again no longer needs it.

        `is_known`: for somebody from whose address genuine webhooks came lately.

        Raises:
            KeyUnavailable: too many keys were asked for lately.
        """
        await self._keys.fetch(self._url, download, is_known=is_known)


@dataclass(slots=True, kw_only=True)
class _Answer(Generic[K]):
    """What is known of a URL: the last key read there and when, and how asking ended the last time."""

    key: K | None
    read_at: float
    asked_at: float
    refusal: Reason | None


class RemoteKeys(Generic[K]):
    """The keys of one source. `allowed` matches whole URLs; `read` makes a key of what is there, or raises ValueError.

    `clock` counts seconds and never goes back.
    """

    def __init__(
        self, allowed: re.Pattern[str], read: Callable[[bytes], K], clock: Callable[[], float] = monotonic
    ) -> None:
        self._allowed = allowed
        self._read = read
        self._clock = clock
        self._answers: dict[str, _Answer[K]] = {}
        self._asking = Bucket(MOST_ASKED, 60_000, clock, burst=MOST_ASKED)
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._proven: dict[str, bool] = {}  # URLs, the newest last, and whether they are kept beyond this process

    def get(self, url: str) -> K:
        """The key at `url`.

        Raises:
            KeyNeeded: nobody has looked yet, or not lately.
            NotVerified: it is no URL of this sender, or no usable key is there; KeyUnavailable where that may pass.
        """
        if not self._allowed.fullmatch(url):
            raise NotVerified(Reason.KEY_URL_REFUSED)
        answer = self._answers.get(url)
        if answer and answer.key is not None and self._clock() < answer.read_at + KEPT:
            return answer.key
        raise self._pending(url, Reason.KEY_UNAVAILABLE)

    def newer(self, url: str, lacking: Reason) -> Exception:
        """What to raise where what is at `url` is not enough: to fetch it again, or why not where that is too soon."""
        return self._pending(url, lacking)

    def _pending(self, url: str, otherwise: Reason) -> Exception:
        answer = self._answers.get(url)
        if answer is None or self._clock() >= answer.asked_at + PAUSE:
            return KeyNeeded(self, url)
        reason = answer.refusal or otherwise
        return KeyUnavailable(reason) if reason is Reason.KEY_UNAVAILABLE else NotVerified(reason)

    def remember(self, urls: Iterable[str]) -> None:
        """Know URLs that proved themselves before this process began, the newest last."""
        self._proven |= dict.fromkeys(urls, True)

    def proved(self, url: str) -> None:
        """A key from there verified a genuine webhook."""
        if url not in self._proven:
            self._proven[url] = False
            if len(self._proven) > MOST_PROVEN:
                del self._proven[next(iter(self._proven))]

    def is_proven(self, url: str) -> bool:
        """Whether a key from there ever did."""
        return url in self._proven

    def take_proven(self) -> list[str]:
        """The URLs that proved themselves and are not kept yet; from now on they are."""
        if all(self._proven.values()):
            return []
        new = [url for url, is_kept in list(self._proven.items()) if not is_kept]
        self.remember(new)
        return new

    def is_fetching(self, url: str) -> bool:
        """Whether somebody asks for the key at `url` right now."""
        return url in self._fetching

    async def fetch(self, url: str, download: Download, *, is_known: bool = False) -> None:
        """Ask for the key at `url`, or wait for whoever is asking already.

        Raises:
            KeyUnavailable: too many were asked for lately.
        """
        if url not in self._fetching:
            answer = self._answers.get(url)
            # One that has a key is the sender's own, and asked for rarely.
            if url not in self._proven and (answer is None or answer.key is None):
                if self._asking.available() <= (0 if is_known else RESERVED):
                    raise KeyUnavailable(Reason.KEY_UNAVAILABLE)
                self._asking.take(1)
            self._fetching[url] = asyncio.create_task(self._ask(url, download))
        await asyncio.shield(self._fetching[url])  # one that stops waiting must not stop it for the others

    async def _ask(self, url: str, download: Download) -> None:
        key, refusal = None, None
        try:
            key = self._read(await download(url))
        except ValueError:
            refusal = Reason.KEY_UNUSABLE
        except NotVerified as error:
            refusal = Reason(error.reason)
        finally:
            del self._fetching[url]
        now = self._clock()
        before = self._answers.pop(url, None)
        if key is None and before:
            self._answers[url] = _Answer(key=before.key, read_at=before.read_at, asked_at=now, refusal=refusal)
        else:
            self._answers[url] = _Answer(key=key, read_at=now, asked_at=now, refusal=refusal)
        if len(self._answers) > MOST_KEPT:
            keyless = (known for known, answer in self._answers.items() if answer.key is None and known != url)
            del self._answers[next(keyless, next(iter(self._answers)))]


@functools.cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


async def download(url: str, transport: httpx.AsyncBaseTransport | None = None, within: float = WITHIN) -> bytes:
    """What is at an https URL: at most `MOST_BYTES`, in at most `within` seconds, without following a redirect.

    `transport` replaces the one that trusts the certificates that this machine trusts.

    Raises:
        NotVerified: there is nothing, too much, or something encoded.
        KeyUnavailable: nobody answers in time, or the answer is to come again.
    """
    transport = transport or httpx.AsyncHTTPTransport(verify=_system_trust(), trust_env=False)
    try:
        async with (
            asyncio.timeout(within),
            httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=None) as client,  # noqa: S113
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
        ):
            return await _content(response)
    except (httpx.HTTPError, TimeoutError, OSError):
        raise KeyUnavailable(Reason.KEY_UNAVAILABLE) from None
    except (httpx.InvalidURL, ValueError):
        raise NotVerified(Reason.KEY_URL_REFUSED) from None


async def _content(response: httpx.Response) -> bytes:
    if response.status_code >= 500 or response.status_code in _FOR_LATER:
        raise KeyUnavailable(Reason.KEY_UNAVAILABLE)
    if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
        raise NotVerified(Reason.KEY_UNUSABLE)
    content = b""
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MOST_BYTES:
            raise NotVerified(Reason.KEY_UNUSABLE)
    return content
