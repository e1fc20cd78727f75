"""From a request to a receipt: verify, map, store. No HTTP in it; whoever speaks HTTP turns errors into statuses."""

from collections.abc import Callable, Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from bridge.errors import NotVerified, StoreError, StoreUnavailable
from bridge.mapping.rules import Rules
from bridge.model import Mapping, Receipt, Request, Webhook, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Metrics
from bridge.receiving.interpreting import interpret
from bridge.receiving.verification import Verifier
from bridge.settings.source_schema import SourceSettings
from bridge.store.store import Store

_WHY_LENGTH = 300  # characters of a log line's `why`


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSource:
    """A source, ready to receive."""

    name: str
    settings: SourceSettings
    verifier: Verifier
    rules: Rules


class Intake:
    """Takes requests for its sources. `wake` hears which targets have new events."""

    def __init__(
        self,
        sources: MappingOf[str, CompiledSource],
        store: Store,
        metrics: Metrics,
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self.sources = sources
        self._store = store
        self._metrics = metrics
        self._wake = wake

    async def receive(self, request: Request) -> Receipt:
        """Accept one request: verified, mapped and durable once this returns.

        Raises:
            KeyError: there is no such source.
            NotVerified: it is not proven genuine; nothing is stored.
            StoreUnavailable: it may not be durable; the sender should try again.
        """
        started = perf_counter()
        source = self.sources[request.source]
        try:
            webhook = source.verifier.verify(request, request.received_at)
            mapping = interpret(source.rules, webhook)
            receipt = await self._store.accept(webhook, mapping, source.settings.dedupe_window)
            if receipt.duplicate and receipt.state in (WebhookState.FAILED, WebhookState.UNREADABLE):
                stored = await self._store.load(receipt.webhook_id)
                mapping = interpret(source.rules, stored)
                receipt = await self._store.remap(stored, mapping)
                self._wake(source.rules.targets)  # what a discarded event kept waiting may be for any of them
        except NotVerified as error:
            self.refused(request.source, error.reason, request.client, len(request.body))
            raise
        except StoreError as error:
            self._metrics.refused[request.source, "store_unavailable"].inc()
            log.error(logs.WEBHOOK_UNSTORED, source=request.source, client=request.client, error=str(error))
            raise StoreUnavailable(str(error)) from error
        self._wake({event.target for event in mapping.events})
        self._tell(request, webhook, mapping, receipt, perf_counter() - started)
        return receipt

    def refused(self, source: str | None, reason: str, client: str, size: int) -> None:
        """Tell of a request that was not accepted. `source` None: no configured one."""
        self._metrics.refused[source or "", reason].inc()
        log.warning(logs.WEBHOOK_REFUSED, source=source, reason=reason, client=client, size=size)

    def _tell(self, request: Request, webhook: Webhook, mapping: Mapping, receipt: Receipt, seconds: float) -> None:
        if receipt.duplicate:
            self._metrics.duplicates[request.source].inc()
        else:
            self._metrics.webhooks[request.source, receipt.state].inc()
        self._metrics.intake[request.source].observe(seconds)
        fields: dict[str, Any] = {
            "webhook_id": receipt.webhook_id,
            "source": request.source,
            "state": receipt.state,
            "events": len(receipt.event_ids),
            "duplicate": receipt.duplicate,
            "secret": webhook.secret,
            "size": len(request.body),
            "client": request.client,
            "duration_ms": round(seconds * 1000, 1),
        }
        if receipt.state in (WebhookState.FAILED, WebhookState.UNREADABLE):
            failed = [why.rule for why in mapping.why if why.error]
            log.warning(logs.WEBHOOK_ACCEPTED, **fields, failed_rules=failed[:10], why=_clauses(mapping))
        elif receipt.state is WebhookState.IGNORED:
            log.info(logs.WEBHOOK_ACCEPTED, **fields, why=_clauses(mapping))
        else:
            log.info(logs.WEBHOOK_ACCEPTED, **fields)
        shadows = [] if receipt.duplicate else [event.id for event in mapping.events if not event.send]
        for reason, ids in (("shadow", shadows), ("remapped", receipt.discarded)):
            for event_id in ids:
                log.info(logs.EVENT_DISCARDED, event_id=event_id, reason=reason)


def _clauses(mapping: Mapping) -> str:
    """What was false, of the first rules: the rules' own text, never the values that a body gave."""
    told = [f"{why.rule}: {why.clause}" for why in mapping.why if why.clause]
    return "; ".join(told)[:_WHY_LENGTH]
