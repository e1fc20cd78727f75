"""Whatever is asked of it, the writer takes no transaction for which all others wait long."""

from typing import Any

import pytest
from clocks import Hand
from msgspec.structs import replace
from running import Stopwatch
from store.support import LEASE, WINDOW, a_webhook, an_attempt, an_event, mapped

from bridge.mapping.bounds import MAX_EVENTS
from bridge.model import Dead, Event, Mapped, Outcome, RetryAt, Webhook
from bridge.store.actions import Action, Erased
from bridge.store.store import Store, owned
from bridge.store.writer import Writer

LONGEST = 0.25  # seconds


class Timed(Writer):
    """Notes how long its transactions took, but for the waits for a core."""

    def __init__(self, *arguments: Any) -> None:
        self.longest: dict[str, float] = {}
        super().__init__(*arguments)

    def _serve(self, jobs: list[Any], line: Any) -> list[Any]:
        names = "+".join(sorted({job[0].__name__ for job in jobs}))
        watch = Stopwatch()
        rest = super()._serve(jobs, line)
        self.longest[names] = max(self.longest.get(names, 0), watch.seconds())
        return rest


def of_many(webhook: Webhook, note: int, **fields: Any) -> tuple[Event, ...]:
    """As many events as one webhook may make, or with a note as many as fit into 16 MiB."""
    count = min(MAX_EVENTS, (16 << 20) // (note + 1024))
    return tuple(
        an_event(webhook, str(n), text=f"n={n};note={'x' * note}", form="pairs", rest=b"") for n in range(count)
    )


@pytest.mark.anyio
@pytest.mark.faults
@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url"])
async def test_no_transaction_takes_long(database: str, request: pytest.FixtureRequest) -> None:
    hand = Hand()
    with owned(request.getfixturevalue(database)) as engine:
        store = Store(engine, hand)
        store._writer.close()
        store._writer = writer = Timed(engine, 60)
        try:
            for note in (0, 6_000):
                for ordered in (False, True):
                    await everything(store, hand, note, ordered=ordered)
                    figures = ", ".join(f"{name} {took * 1000:.0f}" for name, took in writer.longest.items())
                    print(f"{note} B each, {ordered=}: ms at most: {figures}")  # noqa: T201 - for whoever runs it with -s
                    assert max(writer.longest.values()) < LONGEST
                    writer.longest.clear()
        finally:
            store.close()


async def everything(store: Store, hand: Hand, note: int, *, ordered: bool) -> None:
    """What an intake, a target's worker, an operator and retention ask for, of webhooks that are as large as may be."""
    webhook = a_webhook(body=b"x" * (1 << 20))
    made = of_many(webhook, note)
    if ordered:
        made = tuple(replace(one, order_key=one.item_key) for one in made)
    mapping = replace(mapped(*made), size=sum(len(one.text) + 1024 for one in made))
    await store.accept(webhook, mapping, WINDOW)
    await store.accept(replace(webhook, id=a_webhook().id), Mapped(state=mapping.state, dedupe_key="k"), WINDOW)
    await store.remap(webhook, mapping)
    claims = (await store.claim("crm", 1000, LEASE)).claims
    for claim in claims[:500]:
        await store.record(claim, an_attempt(Outcome.UNKNOWN), RetryAt(hand.running()))
    for claim in claims[500:]:
        await store.record(claim, an_attempt(Outcome.REJECTED), Dead("rejected"))
    dead = [claim.event_id for claim in claims[500:700]]
    await store.change(Action.REPLAY, dead)
    await store.change(Action.DISCARD, [one.id for one in made[-200:]])
    if ordered:
        assert await store.erase(webhook.id) is Erased.DONE
        return
    await store.remap(webhook, mapped())
    hand.turn(1)
    cursor: int | None = 0
    while cursor is not None:
        cursor, _ = await store.forget(hand.running(), cursor)
