"""What an operator does to the record, in the process that owns the store: the admin API and the commands call this.

Everything is shown first (`looking`): how much, of what time, what it would send twice; `yes` does it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.errors import StoreError
from bridge.mapping.rules import Rules
from bridge.model import PauseReason
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.operations.looking import LISTED, Looking
from bridge.receiving.interpreting import interpret
from bridge.store import changes
from bridge.store.changes import Action, Selection
from bridge.store.store import Store
from bridge.times import Clock, iso, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Changes the record. `wake` hears which targets have something to send, `target_urls` names those configured."""

    store: Store
    store_url: str
    rules: Mapping[str, Rules]
    target_urls: Mapping[str, str | None]
    wake: Callable[[Iterable[str]], None]
    clock: Clock = now

    @property
    def looking(self) -> Looking:
        """What only reads."""
        return Looking(store_url=self.store_url, rules=self.rules, target_urls=self.target_urls, clock=self.clock)

    async def events(self, action: Action, selection: Selection, *, yes: bool) -> dict[str, Any]:
        """Replay, discard or release events.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self.looking.events, action, selection)
        if not yes:
            return answer
        for ids in await asyncio.to_thread(self.looking.batches, changes.selected_events(selection, action)):
            changed = await self.store.change(action, ids)
            self.wake(changed.targets)
            if action is Action.DISCARD:
                _tell_discarded(changed.ids, "operator")
            answer["done"] += len(changed.ids)
            answer["ids"] = (answer["ids"] + list(changed.ids))[:LISTED]
            answer["out_of_order"] = (answer["out_of_order"] + list(changed.out_of_order))[:LISTED]
        log.warning(logs.OPERATOR_CHANGED, action=action, events=answer["done"])
        return answer

    async def remap(self, selection: Selection, *, yes: bool, again: bool = False) -> dict[str, Any]:
        """Run today's rules over stored webhooks; `again`: also in place of events that are held.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self.looking.remap, selection, again=again)
        if not yes:
            return answer
        for ids in await asyncio.to_thread(self.looking.batches, changes.selected_webhooks(selection)):
            found = await asyncio.to_thread(self.looking.load, ids)
            mapped = [(one, interpret(rules, one)) for one in found if (rules := self.rules.get(one.source))]
            receipts = await asyncio.gather(*(self.store.remap(*pair, again=again) for pair in mapped))
            for receipt in receipts:
                _tell_discarded(receipt.discarded, "remapped")
            answer["done"] += len(receipts)
            self.wake(self.target_urls)  # what a discarded event kept waiting may be for any of them
        log.warning(logs.OPERATOR_CHANGED, action="remap", webhooks=answer["done"])
        return answer

    async def erase(self, selection: Selection, *, yes: bool) -> dict[str, Any]:
        """Delete webhooks with their events and attempts, for good.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self.looking.webhooks, selection) | {"being_sent": []}
        if not yes:
            return answer
        for ids in await asyncio.to_thread(self.looking.batches, changes.selected_webhooks(selection)):
            erased = await asyncio.gather(*map(self.store.erase, ids))
            answer["done"] += sum(erased)
            answer["being_sent"] += [id_ for id_, gone in zip(ids, erased, strict=True) if not gone]
            self.wake(self.target_urls)  # what an erased event kept waiting may be for any of them
        answer["being_sent"] = answer["being_sent"][:LISTED]
        log.warning(logs.OPERATOR_CHANGED, action="erase", webhooks=answer["done"])
        return answer

    async def secrets(self, source: str) -> list[dict[str, Any]]:
        """The secrets that a sender handed over, oldest first. They are read once: the bridge forgets them.

        Raises:
            StoreError: there is none.
        """
        taken = await self.store.take_secrets(source)
        if not taken:
            hint = "with registering: true in its file, let the sender hand one over"
            raise StoreError(f"there is no secret for source {source[:100]} that nobody has read yet, {hint}")
        log.warning(logs.OPERATOR_CHANGED, action="secrets", source=source, secrets=len(taken))
        return [{"secret": one.secret, "client": one.client, "received_at": iso(one.received_at)} for one in taken]

    async def pause(self, name: str) -> dict[str, Any]:
        """Stop sending to a target until it is resumed; its events wait, and max_age stands still."""
        await asyncio.to_thread(self.looking.target, name)
        await self.store.save_target(self.store.target(name).paused(self.clock(), PauseReason.OPERATOR))
        log.warning(logs.TARGET_PAUSED, target=name, reason=PauseReason.OPERATOR, detail=None, next_probe_at=None)
        return await asyncio.to_thread(self.looking.target, name)

    async def resume(self, name: str) -> dict[str, Any]:
        """Send to a target again."""
        await asyncio.to_thread(self.looking.target, name)
        state = self.store.target(name)
        if state.paused_at is not None:
            await self.store.save_target(state.resumed(self.clock()))
            paused_for = (self.clock() - state.paused_at) / 1000
            log.warning(logs.TARGET_RESUMED, target=name, reason=state.reason, seconds=paused_for)
            self.wake([name])
        return await asyncio.to_thread(self.looking.target, name)


def _tell_discarded(event_ids: Iterable[str], reason: str) -> None:
    for event_id in event_ids:
        log.info(logs.EVENT_DISCARDED, event_id=event_id, reason=reason)
