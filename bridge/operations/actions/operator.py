"""What an operator does to the record, in the process that owns the store: the admin API and the commands call this.

Everything is shown first (`queries`): how much, of what time, what it would send twice; `yes` does it. Whatever is done
is a line of the log that says who did it, to what and why.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bridge.errors import StoreError, StoreUnavailable
from bridge.model import Mapped, PauseReason, Receipt, Webhook
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.operations.queries import LISTED, Queries
from bridge.receiving.processing import Processor
from bridge.store import actions
from bridge.store.actions import Action, Erased, Selection
from bridge.store.reader import Filter
from bridge.store.store import Store
from bridge.target_state import TargetState, TargetTransition
from bridge.times import iso

_TOLD = 20  # ids in a line of the log
_AT_ONCE = 4 << 20  # bytes of events, from which on no more webhooks are mapped before these are stored


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a change, as far as they say, and their reason."""

    name: str | None = None
    note: str | None = None


NOBODY = Asker()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Changes the record. `wake` hears which targets have something to send, `changed` of each other state of one.

    `queries` is what only reads.
    `processor` maps stored webhooks beside those that come in.
    """

    store: Store
    queries: Queries
    wake: Callable[[Iterable[str]], None]
    changed: Callable[[TargetTransition], None]
    processor: Processor = field(default_factory=Processor)

    async def events(self, action: Action, selection: Selection, *, yes: bool, asker: Asker = NOBODY) -> dict[str, Any]:
        """Replay, discard or release events.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(self.queries.events, action, selection)
        if not yes:
            return answer
        answer["out_of_order"] = []
        for ids in await asyncio.to_thread(self.queries.batches, actions.selected_events(selection, action)):
            changed = await self.store.change(action, ids)
            self.wake(changed.targets)
            if action is Action.DISCARD:
                _tell_discarded(changed.ids, "operator")
            answer["done"] += len(changed.ids)
            answer["ids"] = (answer["ids"] + list(changed.ids))[:LISTED]
            answer["out_of_order"] = (answer["out_of_order"] + list(changed.out_of_order))[:LISTED]
        _tell(action, asker, selection=selection, ids=answer["ids"], events=answer["done"])
        return answer

    async def remap(
        self, selection: Selection, *, yes: bool, again: bool = False, asker: Asker = NOBODY
    ) -> dict[str, Any]:
        """Run today's rules over stored webhooks; `again`: also in place of events that are held.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(self.queries.remap, selection, again=again)
        if not yes:
            return answer
        told: list[str] = []
        for ids in await asyncio.to_thread(self.queries.batches, actions.selected_webhooks(selection)):
            async for receipts in self._remapped(await asyncio.to_thread(self.queries.load, ids), again):
                for receipt in receipts:
                    _tell_discarded(receipt.discarded, "remapped")
                answer["done"] += len(receipts)
                told += [receipt.webhook_id for receipt in receipts][: _TOLD - len(told)]
                self.wake(self.queries.target_urls)  # what a discarded event kept waiting may be for any of them
        _tell("remap", asker, selection=selection, ids=told, webhooks=answer["done"])
        return answer

    async def _remapped(self, webhooks: Iterable[Webhook], again: bool) -> AsyncIterator[list[Receipt]]:
        """Map webhooks again, several at once, but for those that make much: it is all in memory until it is stored."""
        mapped: list[tuple[Webhook, Mapped]] = []
        for webhook in webhooks:
            if rules := self.queries.rules.get(webhook.source):
                mapped.append((webhook, await self.processor.process_aside(rules, webhook)))
            if sum(mapping.size for _, mapping in mapped) > _AT_ONCE:
                yield await self._stored(mapped, again)
                mapped = []
        yield await self._stored(mapped, again)

    async def _stored(self, mapped: Iterable[tuple[Webhook, Mapped]], again: bool) -> list[Receipt]:
        return await asyncio.gather(*(self.store.remap(*one, again=again) for one in mapped))

    async def erase(self, selection: Selection, *, yes: bool, asker: Asker = NOBODY) -> dict[str, Any]:
        """Delete webhooks with their events and attempts, for good: nothing of them is left in the store's files.

        Raises:
            StoreError: an id is not there.
            StoreUnavailable: somebody reads what was before, so that it must stay in the files; says who.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(self.queries.webhooks, selection) | {"being_sent": []}
        if not yes:
            return answer
        try:
            await self.store.check_purging()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"nothing is erased, since {error}: end that, and try again") from None
        told: list[str] = []
        for ids in await asyncio.to_thread(self.queries.batches, actions.selected_webhooks(selection)):
            erased = list(zip(ids, await asyncio.gather(*map(self.store.erase, ids)), strict=True))
            done = [id_ for id_, became in erased if became is Erased.DONE]
            answer["done"] += len(done)
            answer["being_sent"] += [id_ for id_, became in erased if became is Erased.BEING_SENT]
            told += done[: _TOLD - len(told)]
            self.wake(self.queries.target_urls)  # what an erased event kept waiting may be for any of them
        answer["being_sent"] = answer["being_sent"][:LISTED]
        _tell("erase", asker, selection=selection, ids=told, webhooks=answer["done"])
        try:
            await self.store.purge()
        except StoreUnavailable as error:
            kept = f"pieces of them stay in the files while {error}: end that, and the next erase takes them away"
            raise StoreUnavailable(f"{answer['done']} webhooks are deleted, but {kept}") from None
        return answer

    async def secrets(self, source: str, asker: Asker = NOBODY) -> list[dict[str, Any]]:
        """The secrets that a sender handed over, oldest first. They are read once: the bridge forgets them.

        Raises:
            StoreError: there is none.
        """
        taken = await self.store.take_secrets(source)
        if not taken:
            hint = "with registering: true in its file, let the sender hand one over"
            raise StoreError(f"there is no secret for source {source[:100]} that nobody has read yet, {hint}")
        _tell("secrets", asker, source=source, secrets=len(taken))
        return [{"secret": one.secret, "client": one.client, "received_at": iso(one.received_at)} for one in taken]

    async def pause(self, name: str, asker: Asker = NOBODY) -> dict[str, Any]:
        """Stop sending to a target until it is resumed; its events wait, and max_age stands still.

        Raises:
            StoreError: there is no such target.
        """
        await asyncio.to_thread(self.queries.target, name)
        await self._change(name, lambda state: state.paused(self.store.clock.running(), PauseReason.OPERATOR))
        log.warning(logs.TARGET_PAUSED, target=name, reason=PauseReason.OPERATOR, detail=None, next_probe_at=None)
        _tell("pause", asker, target=name)
        return await asyncio.to_thread(self.queries.target, name)

    async def resume(self, name: str, asker: Asker = NOBODY) -> dict[str, Any]:
        """Send to a target again.

        Raises:
            StoreError: there is no such target.
        """
        await asyncio.to_thread(self.queries.target, name)
        moment = self.store.clock.running()
        transition = await self._change(name, lambda state: state if state.paused_at is None else state.resumed(moment))
        if transition:
            before = transition.before
            paused_for = (moment - (before.paused_at or moment)) / 1000
            log.warning(logs.TARGET_RESUMED, target=name, reason=before.reason, seconds=paused_for)
            _tell("resume", asker, target=name)
            self.wake([name])
        return await asyncio.to_thread(self.queries.target, name)

    async def _change(self, name: str, change: Callable[[TargetState], TargetState]) -> TargetTransition | None:
        """Change a target's state, whoever else does so just now; None where it stays as it is."""
        transition = None
        while transition is None:
            before = await self.store.target(name)
            after = change(before)
            if after is before:
                return None
            transition = await self.store.change_target(before, after)
        self.changed(transition)
        return transition


def _tell(
    action: str,
    asker: Asker,
    *,
    selection: Selection | None = None,
    ids: Iterable[str] | None = None,
    events: int | None = None,
    webhooks: int | None = None,
    secrets: int | None = None,
    source: str | None = None,
    target: str | None = None,
) -> None:
    """The line about a change: who asked for it and why, what was chosen, how much was changed."""
    wanted = selection.filter if selection else Filter()
    by = {"state": wanted.state, "source": wanted.source, "rule": wanted.rule, "target": wanted.target}
    chosen = {name: value for name, value in (by | {"since": wanted.since}).items() if value is not None}
    what = {
        name: value
        for name, value in {
            "filter": chosen or None,
            "ids": None if ids is None else list(ids)[:_TOLD],
            "events": events,
            "webhooks": webhooks,
            "secrets": secrets,
            "source": source,
            "target": target,
        }.items()
        if value is not None
    }
    log.warning(logs.OPERATOR_CHANGED, action=action, by=asker.name, note=asker.note, **what)


def _tell_discarded(event_ids: Iterable[str], reason: str) -> None:
    for event_id in event_ids:
        log.info(logs.EVENT_DISCARDED, event_id=event_id, reason=reason)
