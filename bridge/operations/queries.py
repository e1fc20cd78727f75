"""Read-only queries for operators: lists, previews, targets and the why of a webhook.

All of it only reads, beside a running bridge or without one. What maps is loaded when it is needed: a list, which
people wait for, needs none of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.errors import StoreError
from bridge.model import EventState, Webhook, WebhookState
from bridge.operations import naming
from bridge.operations.pauses import UNKNOWN, WORDS
from bridge.settings.configuration import Names
from bridge.store import actions, reader, target_states, tenants, webhooks
from bridge.store.actions import Action, Selection
from bridge.store.reader import LIMIT, Filter, Reader
from bridge.store.target_states import Backlog, Sending
from bridge.target_state import TargetState, TenantState
from bridge.times import iso, iso_or_none

if TYPE_CHECKING:
    from bridge.mapping.rules import Rules

BATCH = 200
LISTED = 100  # of ids and the like in an answer, beside their count


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Reads the record. `rules` are today's, `note` says what to know of them, where there is something to say.

    `target_urls` names the targets that are configured; the URL is None of one whose tenant is asked for it.
    """

    reader: Reader
    rules: Mapping[str, "Rules"]
    names: Names
    target_urls: Mapping[str, str | None]
    note: Callable[[], str | None] = lambda: None

    def list_events(self, filter_: Filter, limit: int = LIMIT) -> list[dict[str, Any]]:
        """Events, newest first, with a count of attempts.

        Raises:
            UnknownName: the filter is by what there is none of.
        """
        with self.reader.reading() as connection:
            naming.check(connection, filter_, EventState, self.names)
            return reader.list_events(connection, filter_, limit)

    def list_webhooks(self, filter_: Filter, limit: int = LIMIT) -> list[dict[str, Any]]:
        """Webhooks, newest first.

        Raises:
            UnknownName: the filter is by what there is none of.
        """
        with self.reader.reading() as connection:
            naming.check(connection, filter_, WebhookState, self.names)
            return reader.list_webhooks(connection, filter_, limit)

    def event(self, event_id: str) -> dict[str, Any]:
        """One event with all its attempts.

        Raises:
            StoreError: there is none with this id.
        """
        with self.reader.reading() as connection:
            return reader.show_event(connection, event_id)

    def webhook(self, webhook_id: str) -> dict[str, Any]:
        """One webhook with its why, see `explain.show`.

        Raises:
            StoreError: there is none with this id.
        """
        from bridge.operations.rules import explain

        with self.reader.reading() as connection:
            return explain.show(connection, webhook_id, self.rules, self.note)

    def explain(self, record_id: str) -> dict[str, Any]:
        """The story of a webhook or an event, see `explain.explain`.

        Raises:
            StoreError: there is no such record.
        """
        from bridge.operations.rules import explain

        with self.reader.reading() as connection:
            return explain.explain(connection, record_id, self.rules, self.note)

    def events(self, action: Action, selection: Selection) -> dict[str, Any]:
        """How many events an action would change, of what time, and how many were delivered before.

        `note` says why it would change none of those that are named.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        with self.reader.reading() as connection:
            naming.check(connection, selection.filter, EventState, self.names)
            if selection.ids is not None:
                actions.existing(connection, selection.ids, "event")
            found = actions.preview_events(connection, selection, action, LISTED)
            if selection.ids and not found["count"]:
                found["note"] = _wrong_state(reader.show_event(connection, selection.ids[0]), action)
        return found | {"done": 0, "ids": []}

    def webhooks(self, selection: Selection) -> dict[str, Any]:
        """How many webhooks a selection names, and of what time.

        Raises:
            StoreError: an id is not there.
            UnknownName: the filter is by what there is none of.
        """
        with self.reader.reading() as connection:
            naming.check(connection, selection.filter, WebhookState, self.names)
            if selection.ids is not None:
                actions.existing(connection, selection.ids, "webhook")
            return actions.preview_webhooks(connection, selection) | {"done": 0}

    def load(self, ids: list[str]) -> list[tuple[Webhook, dict[str, str]]]:
        """Those of some webhooks that are still there, each with the states of its events by their ids."""
        with self.reader.reading() as connection:
            found = webhooks.find(connection, ids)
            return [(webhook, reader.event_states(connection, webhook.id)) for webhook in found]

    def targets(self) -> list[dict[str, Any]]:
        """Every target that is configured, or that events still wait for.

        `stuck`: how many of its events do not go on by themselves now.
        """
        with self.reader.reading() as connection:
            backlog = target_states.backlog(connection)
            held = target_states.held(connection)
            sending = target_states.sending(connection)
            states = target_states.as_shown(connection)
            said = tenants.load(connection)
        return [
            self._target(
                states.get(name) or TargetState(name=name),
                said.get(name) if self.target_urls.get(name) is None else None,
                backlog.get(name),
                held.get(name, 0),
                sending.get(name),
            )
            for name in sorted({*self.target_urls, *backlog, *held, *sending})
        ]

    def target(self, name: str) -> dict[str, Any]:
        """One target.

        Raises:
            StoreError: there is none of this name.
        """
        found = next((target for target in self.targets() if target["name"] == name), None)
        if found is None:
            raise StoreError(naming.unknown("target", name, self.target_urls))
        return found

    def _target(
        self,
        state: TargetState,
        tenant: TenantState | None,
        waiting: Backlog | None,
        held: int,
        sending: Sending | None,
    ) -> dict[str, Any]:
        words = WORDS.get(state.reason) if state.paused_at is not None else None
        if self.names.are_all and state.name not in self.names.target:
            words = UNKNOWN
        pending = waiting.pending if waiting else 0
        sent = sending.events if sending else 0
        probe = sending if state.paused_at is not None else None  # it may be back among what waits in a moment
        return {
            "name": state.name,
            "url": tenant.url if tenant else self.target_urls.get(state.name),
            "tenant": tenant.tenant if tenant else None,
            "tenant_state": tenant.state if tenant else None,
            "tenant_asked_at": iso(tenant.asked_at) if tenant else None,
            "state": "paused" if state.paused_at is not None else "open",
            "reason": state.reason or None,
            "detail": words.what if words else None,
            "hint": words.remedy if words else None,
            "paused_at": iso_or_none(state.paused_at),
            "next_probe_at": iso_or_none(state.next_probe_at),
            "pending": pending,
            "oldest": iso_or_none(min((its.oldest for its in (waiting, probe) if its), default=None)),
            "sending": sent,
            "held": held,
            "stuck": held + (pending + sent if words else 0),  # a probe that is under way may fail like the last
        }

    def batches(self, query: Any) -> list[list[str]]:
        """The ids that a selection names now. What comes in meanwhile is not among them."""
        cursor: int | None = 0
        batches: list[list[str]] = []
        with self.reader.reading() as connection:
            while cursor is not None:
                cursor, ids = actions.ids_after(connection, query, cursor, BATCH)
                batches += [ids] if ids else []
        return batches


def _wrong_state(event: dict[str, Any], action: Action) -> str:
    *others, last = actions.FROM[action]
    allowed = f"{', '.join(others)} or {last}" if others else last
    return f"event {event['id']} is {event['state']}, and {action} is for events that are {allowed}"
