"""Logs and metrics for incoming requests: accepted, refused, not stored, handshakes."""

import time
from collections.abc import Callable
from typing import Any, Final

from bridge.model import Mapped, Receipt, Request, Webhook, WebhookState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Metrics
from bridge.receiving.handshakes.handshake import Reply
from bridge.receiving.limits.log_limiter import LogLimiter

_AS_BEFORE = "the same as when it first came, which `bridge webhooks show` tells"  # of a duplicate that is not mapped
_WHY_LENGTH = 300  # characters of a log line's `why`

_MAPPED: Final = WebhookState.MAPPED  # as attributes of their class, each look at them costs more than a call
_IGNORED: Final = WebhookState.IGNORED


class IntakeReporter:
    """Writes the lines and counts of all sources; lines that strangers cause are sampled."""

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._log_limiter = LogLimiter(monotonic)

    def accepted(self, request: Request, webhook: Webhook, mapping: Mapped, receipt: Receipt, seconds: float) -> None:
        """A webhook is durable, or repeats one that is; it took so many seconds."""
        if receipt.duplicate:
            self._metrics.duplicates[request.source].inc()
            if receipt.differs:
                self._metrics.differing[request.source].inc()
        else:
            self._metrics.webhooks[request.source, receipt.state].inc()
        self._metrics.intake[request.source].observe(seconds)
        more: dict[str, Any] = {"differs": True} if receipt.differs else {}
        if receipt.state is not _MAPPED:
            more = {**more, "why": _because(receipt.state, mapping) or _AS_BEFORE}
            if receipt.state is not _IGNORED:
                more = {**more, "failed_rules": [why.rule for why in mapping.why if why.error][:10]}
        if mapping.repaired:
            more = {**more, "repaired": True}
        is_as_it_may_be = (receipt.state is _MAPPED or receipt.state is _IGNORED) and not receipt.differs
        (log.info if is_as_it_may_be else log.warning)(
            logs.WEBHOOK_ACCEPTED,
            webhook_id=receipt.webhook_id,
            source=request.source,
            state=receipt.state,
            events=len(receipt.event_ids),
            duplicate=receipt.duplicate,
            secret=webhook.secret,
            size=len(request.body),
            client=request.client,
            duration_ms=round(seconds * 1000, 1),
            **more,
        )
        for event in mapping.events:
            if not event.send and not receipt.duplicate:
                log.info(logs.EVENT_DISCARDED, event_id=event.id, reason="shadow")
        for event_id in receipt.discarded:
            log.info(logs.EVENT_DISCARDED, event_id=event_id, reason="remapped")

    def refused(self, source: str | None, reason: str, client: str, size: int, path: str | None = None) -> None:
        """A request was not accepted. `source` None: no configured one. `path`: where that is at fault."""
        self._metrics.refused[source or "", reason].inc()
        left_out = self._log_limiter.left_out(source or "", reason)
        if left_out is not None:
            more = ({"left_out": left_out} if left_out else {}) | ({"path": path} if path is not None else {})
            log.warning(logs.WEBHOOK_REFUSED, source=source, reason=reason, client=client, size=size, **more)

    def unstored(self, request: Request, error: Exception) -> None:
        """The store failed: a webhook may not be durable."""
        self._metrics.refused[request.source, "store_unavailable"].inc()
        log.error(logs.WEBHOOK_UNSTORED, source=request.source, client=request.client, error=str(error))

    def handshake(self, request: Request, name: str, reply: Reply) -> None:
        """A handshake was answered or refused."""
        outcome = reply.refused or "answered"
        self._metrics.handshakes[request.source, outcome].inc()
        left_out = self._log_limiter.left_out(request.source, outcome)
        if left_out is not None:
            fields = {"source": request.source, "handshake": name, "client": request.client}
            more = {"left_out": left_out} if left_out else {}
            if reply.refused:
                log.warning(logs.HANDSHAKE_REFUSED, **fields, **more, reason=reply.refused)
            else:
                log.info(logs.HANDSHAKE_ANSWERED, **fields, **more, kept=bool(reply.keep))


def _because(state: WebhookState, mapping: Mapped) -> str:
    """What was false of the first rules, or what broke: in the rules' own words, never with values of a body."""
    if state is _IGNORED:
        told = [f"{why.rule}: {why.clause}" for why in mapping.why if why.clause]
    else:
        told = [f"{why.rule}: {why.logged}" for why in mapping.why if why.logged] or [mapping.error or ""]
    return "; ".join(told)[:_WHY_LENGTH]
