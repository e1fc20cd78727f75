"""What a remap changes: counted before it is done by mapping each webhook, and while it is done by what was mapped."""

from collections.abc import Mapping
from typing import Any

from bridge.model import EventState, Mapped, Webhook
from bridge.operations.queries import LISTED, Queries
from bridge.receiving.processing import process
from bridge.store.actions import Selection, selected_webhooks
from bridge.store.remapping import is_replaced


def preview(queries: Queries, selection: Selection, *, again: bool = False) -> dict[str, Any]:
    """What today's rules would change: counts, and the first of the identities never seen before and of failures.

    Raises:
        StoreError: an id is not there.
        UnknownName: the filter is by what there is none of.
    """
    answer = nothing_yet(queries, selection)
    for ids in queries.batches(selected_webhooks(selection)):
        for webhook, states in queries.load(ids):
            rules = queries.rules.get(webhook.source)
            count(answer, webhook, process(rules, webhook) if rules else None, states, again=again)
    return answer


def nothing_yet(queries: Queries, selection: Selection) -> dict[str, Any]:
    """The answer about a remap that has looked at no webhook yet.

    Raises:
        StoreError: an id is not there.
        UnknownName: the filter is by what there is none of.
    """
    counts = dict.fromkeys(("replaced", "untouched", "already_delivered", "discarded"), 0)
    lists: dict[str, Any] = {"new_count": 0, "new": [], "failed_count": 0, "failed": []}
    return queries.webhooks(selection) | counts | lists | {"note": queries.note()}


def count(
    answer: dict[str, Any], webhook: Webhook, mapped: Mapped | None, states: Mapping[str, str], *, again: bool
) -> None:
    """Add a webhook to the answer: what was mapped of it (None: its source is not configured) beside its events."""
    if mapped is None:
        _list(answer, "failed", {"id": webhook.id, "error": f"source {webhook.source} is not configured"})
        return
    made = {event.id: event for event in mapped.events}
    errors = [why.error for why in mapped.why if why.error] + ([mapped.error] if mapped.error else [])
    if errors:
        _list(answer, "failed", {"id": webhook.id, "error": errors[0]})
    else:
        answer["discarded"] += sum(s == EventState.PENDING for id_, s in states.items() if id_ not in made)
    for id_, event in made.items():
        if id_ not in states:
            new = {"webhook_id": webhook.id, "id": id_, "rule": event.rule, "target": event.target}
            _list(answer, "new", new)
        else:
            answer["replaced" if is_replaced(states[id_], again=again) else "untouched"] += 1
            answer["already_delivered"] += states[id_] == EventState.DELIVERED


def _list(answer: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Count an entry; show it if it is among the first."""
    answer[f"{name}_count"] += 1
    if len(answer[name]) < LISTED:
        answer[name].append(entry)
