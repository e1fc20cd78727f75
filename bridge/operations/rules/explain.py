"""Explains a stored webhook by today's rules, and gives the full history of a webhook or event."""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.mapping.rules import Rules
from bridge.receiving.processing import process
from bridge.store import reader, webhooks
from bridge.store.reader import Reading


def show(
    connection: Reading, webhook_id: str, rules: Mapping[str, Rules], note: Callable[[], str | None]
) -> dict[str, Any]:
    """A webhook with its `why`: as it was stored where something did not fire then, else by today's rules.

    `note` says what to know of today's rules.

    Raises:
        StoreError: there is none with this id.
    """
    shown = reader.show_webhook(connection, webhook_id) | {"note": None}
    if not shown["why"] and shown["source"] in rules:
        (webhook,) = webhooks.load(connection, [webhook_id])
        mapping = process(rules[webhook.source], webhook, explain=True)
        shown |= {"why": [why.as_json() for why in mapping.why], "note": note()}
    return shown


def explain(
    connection: Reading, record_id: str, rules: Mapping[str, Rules], note: Callable[[], str | None]
) -> dict[str, Any]:
    """A webhook by its id or by one of its events': `webhook`, `why` (by today's rules), `events` with their attempts.

    `note` says what to know of today's rules.

    Raises:
        StoreError: there is no such record.
    """
    webhook_id = record_id
    if record_id.startswith("ev_"):
        webhook_id = reader.show_event(connection, record_id)["webhook_id"]
    shown = reader.show_webhook(connection, webhook_id)
    (webhook,) = webhooks.load(connection, [webhook_id])
    its_rules = rules.get(webhook.source)
    mapping = process(its_rules, webhook, explain=True) if its_rules else None
    events = [reader.show_event(connection, id_) for id_ in shown["events"]]
    return {
        "webhook": {name: value for name, value in shown.items() if name != "why"},
        "why": [why.as_json() for why in mapping.why] if mapping else None,
        "error": mapping.error if mapping else f"there are no rules for source {webhook.source}",
        "events": [event for event in events if record_id in (webhook_id, event["id"])],
        "note": note(),
    }
