"""An operator's changes to the record, made in the process that owns the store.

What they would do is shown first (`table`). Whatever is done is a line of the log (`audit`), also where it breaks off.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bridge.errors import StoreError, StoreUnavailable
from bridge.model import Mapped, PauseReason, Webhook
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.transitions import LOGGED, TargetPaused, TargetResumed, Transitions
from bridge.operations.actions import remapping
from bridge.operations.actions.audit import NOBODY, Asker, audit, audited
from bridge.operations.queries import LISTED, Queries
from bridge.receiving.processing import Processor
from bridge.store import actions
from bridge.store.actions import Action, Erased, Selection
from bridge.store.store import Store
from bridge.target_state import TargetState, TargetTransition
from bridge.times import iso

T = TypeVar("T")

_AT_ONCE = 4 << 20  # bytes of events, from which on no more webhooks are mapped before these are stored


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
    transitions: Transitions = LOGGED

    async def events(self, action: Action, selection: Selection, asker: Asker = NOBODY) -> dict[str, Any]:
        """Replay, discard or release events.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(self.queries.events, action, selection)
        answer["out_of_order"] = []
        with audited(action, asker, selection, "events") as progress:
            for ids in await asyncio.to_thread(self.queries.batches, actions.selected_events(selection, action)):
                done, broke = await _outcomes([self.store.change(action, ids)])
                for changed in done:
                    progress.add(changed.ids)
                    self.wake(changed.targets)
                    if action is Action.DISCARD:
                        _log_discarded(changed.ids, "operator")
                    answer["done"] += len(changed.ids)
                    answer["ids"] = (answer["ids"] + list(changed.ids))[:LISTED]
                    answer["out_of_order"] = (answer["out_of_order"] + list(changed.out_of_order))[:LISTED]
                if broke:
                    raise broke
        return answer

    async def remap(self, selection: Selection, asker: Asker = NOBODY, *, again: bool = False) -> dict[str, Any]:
        """Run today's rules over stored webhooks; `again`: also in place of events that are held.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(remapping.nothing_yet, self.queries, selection)
        with audited("remap", asker, selection, "webhooks") as progress:
            for ids in await asyncio.to_thread(self.queries.batches, actions.selected_webhooks(selection)):
                async for mapped in self._mapped(await asyncio.to_thread(self.queries.load, ids), answer, again=again):
                    done, broke = await _outcomes([self.store.remap(*one, again=again) for one in mapped])
                    for receipt in done:
                        _log_discarded(receipt.discarded, "remapped")
                    answer["done"] += len(done)
                    progress.add([receipt.webhook_id for receipt in done])
                    self.wake(self.queries.target_urls)  # what a discarded event kept waiting may be for any of them
                    if broke:
                        raise broke
        return answer

    async def _mapped(
        self, webhooks: Iterable[tuple[Webhook, dict[str, str]]], answer: dict[str, Any], *, again: bool
    ) -> AsyncIterator[list[tuple[Webhook, Mapped]]]:
        """Map webhooks again, several at once, but for those that make much: it is all in memory until it is stored."""
        some: list[tuple[Webhook, Mapped]] = []
        for webhook, states in webhooks:
            rules = self.queries.rules.get(webhook.source)
            mapped = await self.processor.process_aside(rules, webhook) if rules else None
            remapping.count(answer, webhook, mapped, states, again=again)
            if mapped:
                some.append((webhook, mapped))
            if sum(mapping.size for _, mapping in some) > _AT_ONCE:
                yield some
                some = []
        yield some

    async def erase(self, selection: Selection, asker: Asker = NOBODY) -> dict[str, Any]:
        """Delete webhooks with their events and attempts, for good: nothing of them is left in the store's files.

        Raises:
            StoreError: an id is not there.
            StoreUnavailable: somebody reads what was before, so that it must stay in the files; says who.
            UnknownName: the filter is by what there is none of.
        """
        answer = await asyncio.to_thread(self.queries.webhooks, selection) | {"being_sent": []}
        try:
            await self.store.check_purging()
        except StoreUnavailable as error:
            raise StoreUnavailable(f"nothing is erased, since {error}: end that, and try again") from None
        except StoreError as error:
            raise StoreError(f"nothing is erased: {error}") from None
        with audited("erase", asker, selection, "webhooks") as progress:
            for ids in await asyncio.to_thread(self.queries.batches, actions.selected_webhooks(selection)):
                done, broke = await _outcomes([self._erased(id_) for id_ in ids])
                gone = [id_ for id_, became in done if became is Erased.DONE]
                progress.add(gone)
                answer["done"] += len(gone)
                answer["being_sent"] += [id_ for id_, became in done if became is Erased.BEING_SENT]
                self.wake(self.queries.target_urls)  # what an erased event kept waiting may be for any of them
                if broke:
                    raise broke
        answer["being_sent"] = answer["being_sent"][:LISTED]
        try:
            await self.store.purge()
        except StoreUnavailable as error:
            kept = f"pieces of them stay in the files while {error}: end that, and the next erase takes them away"
            raise StoreUnavailable(f"{answer['done']} webhooks are deleted, but {kept}") from None
        return answer

    async def _erased(self, webhook_id: str) -> tuple[str, Erased]:
        return webhook_id, await self.store.erase(webhook_id)

    async def secrets(self, source: str, asker: Asker = NOBODY) -> list[dict[str, Any]]:
        """The secrets that a sender handed over, oldest first. They are read once: the bridge forgets them.

        Raises:
            StoreError: there is none.
        """
        taken = await self.store.take_secrets(source)
        if not taken:
            hint = "with registering: true in its file, let the sender hand one over"
            raise StoreError(f"there is no secret for source {source[:100]} that nobody has read yet, {hint}")
        audit("secrets", asker, source=source, counted={"secrets": len(taken)})
        return [{"secret": one.secret, "client": one.client, "received_at": iso(one.received_at)} for one in taken]

    async def pause(self, name: str, asker: Asker = NOBODY) -> dict[str, Any]:
        """Stop sending to a target until it is resumed; its events wait, and max_age stands still.

        Raises:
            StoreError: there is no such target.
        """
        await asyncio.to_thread(self.queries.target, name)
        await self._change(name, lambda state: state.paused(self.store.clock.running(), PauseReason.OPERATOR))
        self.transitions.publish(TargetPaused(target=name, reason=PauseReason.OPERATOR))
        audit("pause", asker, target=name)
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
            self.transitions.publish(TargetResumed(target=name, reason=before.reason, seconds=paused_for))
            audit("resume", asker, target=name)
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


async def _outcomes(asks: Iterable[Awaitable[T]]) -> tuple[list[T], BaseException | None]:
    """What the store did of what it was asked for, and what broke the rest off, if something did.

    What it was asked for it does, whoever has stopped waiting for it: a change that is ended counts that, too.
    """
    asked = asyncio.gather(*asks, return_exceptions=True)
    broke: BaseException | None = None
    try:
        answers = await asyncio.shield(asked)
    except asyncio.CancelledError as error:
        answers, broke = await asked, error
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    done = [answer for answer in answers if not isinstance(answer, BaseException)]
    return done, broke or next(iter(failed), None)


def _log_discarded(event_ids: Iterable[str], reason: str) -> None:
    for event_id in event_ids:
        log.info(logs.EVENT_DISCARDED, event_id=event_id, reason=reason)
