"""From a request to a durable webhook: verify, map, store."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import perf_counter, thread_time
from typing import Final

from msgspec.structs import replace

from bridge.errors import BridgeError, KeyUnavailable, NotVerified, Refused, StoreError, StoreUnavailable
from bridge.model import Mapped, Receipt, Request, Webhook, WebhookState
from bridge.rate import Bucket
from bridge.receiving.handshakes.handshake import Asked, HandshakeRefusal, Reply, refused
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.limits.address_limiter import AddressLimiter, expected
from bridge.receiving.off_loop import OffLoop
from bridge.receiving.processing import Processor
from bridge.receiving.sources import CompiledSource
from bridge.receiving.verification import Verifier
from bridge.receiving.verification.remote_keys import Download, KeyNeeded, download
from bridge.settings.parsing import Rate
from bridge.settings.source_schema import FailureSettings
from bridge.store.registered_secrets import RegisteredSecret
from bridge.store.store import Store

_FETCHES = FailureSettings.model_validate({"at_once": 5, "rate": "5/m"})  # of keys, by one address
_SITE = 56  # bits of an IPv6 network that is one address to them: to have many /64 is easy
_CARRIED_AT_ONCE = 64 << 10  # bytes that are verified in a millisecond or two, where the proof stands in the body
_HASHED_AT_ONCE = 1 << 20  # and where the body is hashed
_MAPPED_AGAIN: Final = (WebhookState.FAILED, WebhookState.UNREADABLE)  # when a duplicate comes


class _Repeated(BridgeError):
    """A webhook need not be mapped: it repeats one that is stored."""

    def __init__(self, first: Receipt) -> None:
        super().__init__("a duplicate")
        self.first = first


class Intake:
    """Takes requests for sources. `wake` hears which targets have new events; `download` fetches for proofs.

    `off_loop` does what would hold the event loop for too long. A source comes with each request, as its configuration
    has it then; what is remembered of one, such as who failed there, goes by its name and outlives that.
    """

    def __init__(
        self,
        store: Store,
        reporter: IntakeReporter,
        wake: Callable[[Iterable[str]], None],
        download: Download = download,
        off_loop: OffLoop | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._wake = wake
        self._download = download
        self._off_loop = off_loop or OffLoop()
        self._processor = Processor(self._off_loop)
        self._address_limiter = AddressLimiter(monotonic)
        self._fetches = AddressLimiter(monotonic, _SITE)
        self._reporter = reporter
        self._monotonic = monotonic
        self._rates: dict[str, tuple[Rate, Bucket]] = {}

    async def start(self, sources: Mapping[str, CompiledSource]) -> None:
        """Remember which senders' keys were where."""
        for name, urls in (await self._store.load_key_urls()).items():
            if (source := sources.get(name)) and source.verifier.remote_keys:
                source.verifier.remote_keys.remember(urls)

    def admit(self, source: CompiledSource, client: str, headers: Mapping[bytes, bytes]) -> None:
        """Say early, before a body is read, whether this client's requests are taken at all.

        Raises:
            Refused: it calls from elsewhere than the source's addresses, or too many of its requests failed.
        """
        if not source.callers.allows(client):
            raise Refused("address_not_allowed", "requests of this address are not taken")
        if self._address_limiter.used_up(source.name, client):
            self._address_limiter.check(source.name, client, int(headers.get(b"content-length", source.largest.size)))

    async def receive(self, source: CompiledSource, request: Request) -> Receipt:
        """Accept one request: verified, mapped and durable once this returns.

        Raises:
            NotVerified: it is not proven genuine; nothing is stored.
            Refused: there are too many, of the source or of those that failed; nothing is stored.
            StoreUnavailable: it may not be durable; the sender should try again.
        """
        started = perf_counter()
        try:
            webhook = await self._verified(source, request)
            self._keep_to_rate(source)
            try:
                mapping = await self._processor.process(source.rules, webhook, partial(self._call_off, source))
                receipt = await self._store.accept(webhook, mapping, source.settings.dedupe_window)
            except _Repeated as repeated:
                receipt = repeated.first
                self._wake(source.rules.targets)  # the first may have been stored without anybody being told of it
                mapping = Mapped(state=receipt.state)
            if receipt.duplicate and not receipt.bounded and receipt.state in _MAPPED_AGAIN:
                stored = await self._store.load(receipt.webhook_id)
                mapping = await self._processor.process(source.rules, stored)
                receipt = replace(await self._store.remap(stored, mapping), differs=receipt.differs)
                self._wake(source.rules.targets)  # what a discarded event kept waiting may be for any of them
        except (NotVerified, Refused) as error:
            self._reporter.refused(request.source, error.reason, request.client, len(request.body))
            raise
        except StoreError as error:
            self._reporter.unstored(request, error)
            raise StoreUnavailable(str(error)) from error
        self._wake({event.target for event in mapping.events})
        self._reporter.accepted(request, webhook, mapping, receipt, perf_counter() - started)
        return receipt

    async def _call_off(self, source: CompiledSource, webhook: Webhook, key: str) -> None:
        """Have no duplicate mapped that would take long."""
        if first := await self._store.repeated(webhook, key, source.settings.dedupe_window):
            raise _Repeated(first)

    async def shake(self, source: CompiledSource, request: Request) -> Reply | None:
        """Answer a request that is a handshake of its sender; None where it is not. Nothing of it becomes a webhook.

        Raises:
            NotVerified: it is one that must be proven genuine, and is not.
            Refused: too many requests of its address failed.
        """
        handshake = source.handshake
        step = handshake.step(request) if handshake else None
        if handshake is None or step is None:
            return None
        try:
            secret = (await self._verified(source, request)).secret if step.signed else None
        except (NotVerified, Refused) as error:
            self._reporter.refused(request.source, error.reason, request.client, len(request.body))
            raise
        reply = step.answer(Asked(request=request, keys=handshake.keys, secret=secret))
        if reply is None:
            return None
        if reply.refused:
            self._address_limiter.add(source.name, request.client, source.settings.failures)
        else:
            reply = await self._carried_out(reply, request)
        self._reporter.handshake(request, handshake.name, reply)
        return reply

    async def _carried_out(self, reply: Reply, request: Request) -> Reply:
        """The reply, once what must come before it is done; else that the sender should ask again."""
        try:
            if reply.keep:
                secret = RegisteredSecret(
                    source=request.source, secret=reply.keep, client=request.client, received_at=request.received_at
                )
                if not await self._store.keep_secret(secret):
                    return refused(HandshakeRefusal.TOO_MANY_SECRETS)
            if reply.visit:
                await self._download(reply.visit)
        except StoreError:
            return refused(HandshakeRefusal.STORE_UNAVAILABLE)
        except NotVerified:
            return refused(HandshakeRefusal.CONFIRMATION_FAILED)
        return reply

    async def _verified(self, source: CompiledSource, request: Request) -> Webhook:
        size = len(request.body)
        self._address_limiter.check(source.name, request.client, size)  # others may have failed while its body came in
        try:
            try:
                if size <= (_CARRIED_AT_ONCE if source.carries_proof else _HASHED_AT_ONCE):
                    webhook = source.verifier.verify(request, request.received_at)
                else:
                    webhook = await self._verified_aside(source, request)
            except KeyNeeded as needed:
                # Of those that wait for it; nobody may use up the fetches of the source by names that were made up.
                if needed.is_first and not needed.is_proven:
                    self._fetches.check(source.name, request.client)
                    self._fetches.add(source.name, request.client, _FETCHES)
                is_known = self._address_limiter.is_proven(source.name, request.client)
                await needed.fetch(self._download, is_known=is_known)
                webhook = await self._verified_aside(source, request)
        except KeyUnavailable:  # not a fault of the sender's
            raise
        except NotVerified as error:
            # What is verified on the event loop is too short to be measured: its size tells.
            took = error.took or (expected(size) if source.carries_proof else 0.0)
            self._address_limiter.add(source.name, request.client, source.settings.failures, size, took)
            raise
        self._address_limiter.proved(source.name, request.client)
        if source.verifier.remote_keys:
            await self._keep(source.name, source.verifier.remote_keys.take_proven())
        return webhook

    async def _keep(self, source: str, urls: Iterable[str]) -> None:
        """Remember where a key was that proved a webhook, for after a restart."""
        with contextlib.suppress(StoreError):  # the webhook itself will tell
            for url in urls:
                await self._store.keep_key_url(source, url)

    async def _verified_aside(self, source: CompiledSource, request: Request) -> Webhook:
        """Verify off the event loop, where the address that failed least comes first."""
        rank = self._address_limiter.spent(source.name, request.client)
        async with self._off_loop.turn(source.name, len(request.body), rank):
            self._address_limiter.check(
                source.name, request.client, len(request.body)
            )  # others failed while this waited
            return await self._off_loop.run(partial(_timed, source.verifier, request))

    def _keep_to_rate(self, source: CompiledSource) -> None:
        if rate := source.settings.rate:
            known, bucket = self._rates.get(source.name, (None, None))
            if bucket is None or known != rate:
                bucket = Bucket(rate.count, rate.per, self._monotonic, rate.count)
                self._rates[source.name] = rate, bucket
            if not bucket.available():
                raise Refused("too_many_webhooks", "too many webhooks, please send it again", bucket.delay())
            bucket.take(1)


def _timed(verifier: Verifier, request: Request) -> Webhook:
    begun = thread_time()
    try:
        return verifier.verify(request, request.received_at)
    except NotVerified as error:
        error.took = (thread_time() - begun) * 1000
        raise
