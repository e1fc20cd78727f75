"""What an operator does to the record, in the process that owns the store: the admin API and the commands call this.

Whatever names more than ids is shown first: how much, of what time, what it would send twice; `yes` does it.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.errors import StoreError
from bridge.mapping.rules import Rules
from bridge.model import EventState
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.receiving.interpreting import interpret
from bridge.store import changes, reading, targets
from bridge.store.changes import Action, Selection
from bridge.store.store import Store
from bridge.store.webhooks import is_replaced
from bridge.times import Clock, iso, iso_or_none, now

_BATCH = 200
_LISTED = 100  # ids in an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Changes the record. `wake` hears which targets have something to send, `target_urls` names those configured."""

    store: Store
    store_url: str
    rules: Mapping[str, Rules]
    target_urls: Mapping[str, str]
    wake: Callable[[Iterable[str]], None]
    clock: Clock = now

    async def events(self, action: Action, selection: Selection, *, yes: bool) -> dict[str, Any]:
        """Replay, discard or release events.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self._events, action, selection)
        answer |= {"done": 0, "ids": [], "out_of_order": []}
        if not yes:
            return answer
        for ids in await asyncio.to_thread(self._batches, changes.selected_events(selection, action)):
            changed = await self.store.change(action, ids)
            self.wake(changed.targets)
            answer["done"] += len(changed.ids)
            answer["ids"] = (answer["ids"] + list(changed.ids))[:_LISTED]
            answer["out_of_order"] = (answer["out_of_order"] + list(changed.out_of_order))[:_LISTED]
        log.warning(logs.OPERATOR_CHANGED, action=action, events=answer["done"])
        return answer

    async def remap(self, selection: Selection, *, yes: bool, again: bool = False) -> dict[str, Any]:
        """Run today's rules over stored webhooks; `again`: also in place of events that are held.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self._webhooks, selection)
        answer |= {"replaced": 0, "untouched": 0, "already_delivered": 0, "discarded": 0}
        answer |= {"new": [], "failed": []}
        for ids in await asyncio.to_thread(self._batches, changes.selected_webhooks(selection)):
            for id_ in ids:
                await self._remap_one(id_, answer, yes=yes, again=again)
        if yes:
            log.warning(logs.OPERATOR_CHANGED, action="remap", webhooks=answer["count"])
        return answer | {"done": answer["count"] if yes else 0}

    async def _remap_one(self, webhook_id: str, answer: dict[str, Any], *, yes: bool, again: bool) -> None:
        webhook = await self.store.load(webhook_id)
        rules = self.rules.get(webhook.source)
        if rules is None:
            answer["failed"] = [*answer["failed"], {"id": webhook_id, "error": "its source is not configured"}][
                :_LISTED
            ]
            return
        mapping = interpret(rules, webhook)
        with reading.reading(self.store_url) as connection:
            states = reading.event_states(connection, webhook_id)
        made = {event.id: event for event in mapping.events}
        errors = [why.error for why in mapping.why if why.error] + ([mapping.error] if mapping.error else [])
        if errors:
            answer["failed"] = [*answer["failed"], {"id": webhook_id, "error": errors[0]}][:_LISTED]
        for id_, event in made.items():
            if id_ not in states:
                new = {"webhook_id": webhook_id, "id": id_, "rule": event.rule, "target": event.target}
                answer["new"] = [*answer["new"], new][:_LISTED]
            else:
                answer["replaced" if is_replaced(states[id_], again=again) else "untouched"] += 1
                answer["already_delivered"] += states[id_] == EventState.DELIVERED
        if not errors:
            answer["discarded"] += sum(s == EventState.PENDING for id_, s in states.items() if id_ not in made)
        if yes:
            await self.store.remap(webhook, mapping, again=again)
            self.wake(self.target_urls)  # what a discarded event kept waiting may be for any of them

    async def erase(self, selection: Selection, *, yes: bool) -> dict[str, Any]:
        """Delete webhooks with their events and attempts, for good.

        Raises:
            StoreError: an id is not there.
        """
        answer = await asyncio.to_thread(self._webhooks, selection)
        answer |= {"done": 0, "being_sent": []}
        for ids in await asyncio.to_thread(self._batches, changes.selected_webhooks(selection)):
            for id_ in ids if yes else ():
                if await self.store.erase(id_):
                    answer["done"] += 1
                else:
                    answer["being_sent"] = [*answer["being_sent"], id_][:_LISTED]
            self.wake(self.target_urls)  # what an erased event kept waiting may be for any of them
        if yes:
            log.warning(logs.OPERATOR_CHANGED, action="erase", webhooks=answer["done"])
        return answer

    def _events(self, action: Action, selection: Selection) -> dict[str, Any]:
        with reading.reading(self.store_url) as connection:
            if selection.ids is not None:
                changes.existing(connection, selection.ids, "event")
            return changes.preview_events(connection, selection, action)

    def _webhooks(self, selection: Selection) -> dict[str, Any]:
        with reading.reading(self.store_url) as connection:
            if selection.ids is not None:
                changes.existing(connection, selection.ids, "webhook")
            return changes.preview_webhooks(connection, selection)

    def targets(self) -> list[dict[str, Any]]:
        """Every target that is configured, or that events still wait for."""
        moment = self.clock()
        with reading.reading(self.store_url) as connection:
            backlog = targets.backlog(connection)
        return [self._target(name, *backlog.get(name, (0, moment))) for name in sorted({*self.target_urls, *backlog})]

    def target(self, name: str) -> dict[str, Any]:
        """One target.

        Raises:
            StoreError: there is none of this name.
        """
        found = next((target for target in self.targets() if target["name"] == name), None)
        if found is None:
            raise StoreError(f"there is no target {name}, the targets are {', '.join(sorted(self.target_urls))}")
        return found

    async def pause(self, name: str) -> dict[str, Any]:
        """Stop sending to a target until it is resumed; its events wait, and max_age stands still."""
        self.target(name)
        state = self.store.target(name)
        paused_at = state.paused_at if state.paused_at is not None else self.clock()
        paused = replace(state, paused_at=paused_at, reason="operator", by_operator=True, probes=0, next_probe_at=None)
        await self.store.save_target(paused)
        log.warning(logs.TARGET_PAUSED, target=name, reason="operator", detail=None, next_probe_at=None)
        return self.target(name)

    async def resume(self, name: str) -> dict[str, Any]:
        """Send to a target again."""
        self.target(name)
        state = self.store.target(name)
        if state.paused_at is not None:
            await self.store.save_target(state.resumed(self.clock()))
            log.warning(logs.TARGET_RESUMED, target=name, seconds=(self.clock() - state.paused_at) / 1000)
            self.wake([name])
        return self.target(name)

    def _target(self, name: str, pending: int, oldest: int) -> dict[str, Any]:
        state = self.store.target(name)
        return {
            "name": name,
            "url": self.target_urls.get(name),
            "state": "paused" if state.paused_at is not None else "open",
            "reason": state.reason or None,
            "paused_at": iso_or_none(state.paused_at),
            "next_probe_at": iso_or_none(state.next_probe_at),
            "pending": pending,
            "oldest": iso(oldest) if pending else None,
        }

    def _batches(self, query: Any) -> Iterable[list[str]]:
        """The ids that a selection names now. What comes in meanwhile is not among them."""
        cursor: int | None = 0
        with reading.reading(self.store_url) as connection:
            ids: list[str] = []
            while cursor is not None:
                cursor, found = changes.ids_after(connection, query, cursor, _BATCH)
                ids += found
        return [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
