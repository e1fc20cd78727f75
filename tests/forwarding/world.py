"""A bridge behind its door, in a test's hand: its time, its target's answers, its end; and all that its rows were.

Nothing is faked but the clock and SuperOffice. Triggers in the database note every version of every event, so that a
test sees each move, also those that the bridge makes by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from clocks import Hand
from mapping.support import rules
from sqlalchemy import Column, Engine, Integer, MetaData, Row, Table, event, select, text
from store.support import at_once

from bridge import jsontext
from bridge.forwarding.forwarder import Forwarder
from bridge.mapping.rules import Rules
from bridge.model import Attempt, Claim, Mapped, Outcome, Receipt, Webhook, new_webhook_id
from bridge.operations import timekeeping
from bridge.operations.actions.operator import Operator
from bridge.operations.queries import Queries
from bridge.rate import Bucket
from bridge.receiving.processing import process
from bridge.settings.configuration import Names
from bridge.store import database, target_states
from bridge.store.reader import Reader
from bridge.store.store import Store
from bridge.store.tables import attempts, events, metadata, webhooks
from bridge.target_state import TargetState

from .support import Shown, attempted, target_worker

LEASE = 30_000
SWEEP = 10_000
WINDOW = 10 * 60_000  # in which a delivery id is known
ROOM = {"crm": 2, "erp": 1}
MAX_ATTEMPTS = {"erp": 2}
GONE = "gone"  # the state of an event that was deleted


def _source(order_by: str, when: str = "true", more: str = "") -> tuple[str, ...]:
    """Rules for a list of items: whose fate is unknown is sent again where it was `sold`, held where `asked`."""
    each = f"for_each: body, key: item.id, target: '{{{{ item.to }}}}', order_by: {order_by}"
    made = f"attributes: {{item: '{{{{ item.id }}}}', by: {order_by}}}"
    sold = f"name: sold, {each}, when: item.rule == 'sold' and {when}, max_age: 3m, event: {{type: Sold, {made}}}"
    asked = f"name: asked, {each}, when: item.rule == 'asked' and {when}, max_age: 1h, event: {{type: Asked, {made}}}"
    shadow = f"name: shadow, {each}, when: item.rule == 'shadow', max_age: 1h, event: {{type: Shadow, {made}}}"
    return sold + more, asked + ", on_unknown: hold", shadow + ", send: false"


RULES = {
    "first": rules(*_source("item.by")),
    # Other values to go in order by; some events are no longer made, and some are new.
    "second": rules(
        *_source("item.then", "item.then != 'none'"),
        "name: new, for_each: body, key: item.id, when: item.then == 'none', target: erp, order_by: item.by, "
        "max_age: 1h, event: {type: New}",
    ),
    "silent": rules(*_source("item.by", more=", send: false")),
    "broken": rules(*_source("item.missing")[:1], *_source("item.then")[1:]),
}

NOTED = (
    *("id", "webhook_id", "target", "source", "order_key", "text", "on_unknown", "seq", "state", "reason", "attempts"),
    *("retries", "unclear", "next_attempt_at", "delivered_at", "expires_at", "lease_until", "probe"),
)
history = Table(
    "history",
    MetaData(),
    *(Column(name, events.c[name].type) for name in NOTED),
    Column("n", Integer, primary_key=True),
)


def note_everything(engine: Engine) -> None:
    """Have the database keep every version of every event."""
    with engine.begin() as connection:
        history.create(connection)
        for what, row in (("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old")):
            values = [f"'{GONE}'" if (what, name) == ("DELETE", "state") else f"{row}.{name}" for name in NOTED]
            note = f"INSERT INTO history ({', '.join(NOTED)}) VALUES ({', '.join(values)});"
            if connection.dialect.name == "sqlite":
                connection.execute(text(f"CREATE TRIGGER on_{what} AFTER {what} ON events BEGIN {note} END"))
                continue
            body = f"$$ BEGIN {note} RETURN NULL; END $$"
            connection.execute(text(f"CREATE FUNCTION on_{what}() RETURNS trigger LANGUAGE plpgsql AS {body}"))
            trigger = f"CREATE TRIGGER on_{what} AFTER {what} ON events FOR EACH ROW EXECUTE FUNCTION on_{what}()"
            connection.execute(text(trigger))


class Tried(NamedTuple):
    """An attempt's row."""

    event_id: str
    number: int
    outcome: str
    late: bool
    probe: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the database holds, and the versions of events that came since the last look."""

    events: dict[str, Row[Any]]
    webhooks: dict[str, bytes]  # with their bodies
    tried: list[Tried]
    targets: dict[str, TargetState]
    versions: list[Row[Any]]


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose timers go by a test's clock: they end when it is turned, and never by themselves."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._began = hand.at
        super().__init__()

    def time(self) -> float:
        return (self._hand.at - self._began) / 1000


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A request that hangs at SuperOffice until a test answers it."""

    claim: Claim
    answer: "asyncio.Future[Attempt]"


@dataclass
class World:
    """The bridge and its surroundings. After each `run` all is at rest: whatever can happen now has happened."""

    url: str
    look: Engine
    hand: Hand = field(default_factory=Hand)
    calls: list[Call] = field(default_factory=list)  # that hang now
    sent: list[Claim] = field(default_factory=list)  # ever
    began: dict[tuple[str, int], int] = field(default_factory=dict)  # when, by event and attempt
    lost: list[Claim] = field(default_factory=list)  # by processes that were cut off
    answered: list[tuple[str, int, str]] = field(default_factory=list)  # event, attempt, outcome
    rules: dict[str, Rules] = field(default_factory=dict)  # today's, by source
    accepting: bool = False  # whether SuperOffice takes everything at once
    _seen: int = 0
    _asked: int = 0  # of the store, and not answered yet
    _answered: asyncio.Event = field(default_factory=asyncio.Event)  # by the store

    def __post_init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=lambda: Loop(self.hand))
        engine = database.writing_engine(self.url)
        with engine.begin() as connection:
            for table in (*metadata.sorted_tables, history):
                connection.execute(table.delete())
        engine.dispose()
        self.run(self._open())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        """Do something, and let come of it what may."""

        async def running() -> Any:
            done = await what
            await self._at_rest()
            return done

        return self._runner.run(running())

    def close(self) -> None:
        self._runner.run(self.cut_off())
        self._runner.close()

    # What happens to a bridge

    async def receive(self, webhook: Webhook, mapping: Mapped) -> Receipt:
        """A sender's request, verified and mapped."""
        receipt = await self.store.accept(webhook, mapping, WINDOW)
        self._forwarder.wake({event.target for event in mapping.events})
        return receipt

    async def turn(self, milliseconds: int) -> None:
        self.hand.at += milliseconds

    async def answer(self, call: Call, shown: Shown) -> None:
        call.answer.set_result(self._attempt(call.claim, shown))

    async def answer_late(self, claim: Claim, shown: Shown) -> None:
        """What another process learns of an attempt that it was given up for."""
        self.lost.remove(claim)
        await self.target_workers[claim.target].recover(claim, self._attempt(claim, shown))

    def _attempt(self, claim: Claim, shown: Shown) -> Attempt:
        began = self.began[claim.event_id, claim.attempt]
        attempt = attempted(shown, began, self.hand.running() - began)
        self.answered.append((claim.event_id, claim.attempt, attempt.outcome.value))
        return attempt

    async def restart(self, after: int) -> None:
        """Drained, but for what hangs, and started again."""
        await self._forwarder.drain(0)
        await self.cut_off()
        self.hand.at += after
        await self._open()

    async def crash(self, after: int) -> None:
        """Cut off and started again."""
        await self.cut_off()
        self.hand.at += after
        await self._open()

    async def set_wall(self, wrong: int) -> None:
        self.hand.set_wall(wrong)

    async def crash_of_machine(self, after: int, wrong: int) -> None:
        """Cut off with its machine, and started again on it."""
        await self.cut_off()
        self.hand.at += after
        self.hand.set_wall(wrong)
        self.hand.start_machine()
        await self._open()

    async def end_while_claiming(self, receiving: Coroutine[Any, Any, None]) -> None:
        """Told to stop between a claim of what just came and its answer: what was claimed in vain is given back."""
        sent = len(self.sent)
        async with self.at_once():
            received = asyncio.create_task(receiving)
            await _some_turns()
            self._forwarder.wake(ROOM)
            await _some_turns()
            draining = asyncio.create_task(self._forwarder.drain(0))
        await asyncio.gather(received, draining)
        assert len(self.sent) == sent
        await self.cut_off()
        await self._open()

    @asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """As of the store, when all that go on meanwhile have asked it."""
        async with at_once(self.store):
            yield
            await _some_turns()

    def look_again(self) -> Seen:
        """What the database shows now."""
        with self.look.connect() as connection:
            a = attempts.c
            tried = connection.execute(select(a.event_id, a.number, a.outcome, a.late, a.probe, a.detail))
            found = {row.id: row for row in connection.execute(select(*(events.c[name] for name in NOTED)))}
            versions = connection.execute(select(history).where(history.c.n > self._seen).order_by(history.c.n)).all()
            bodies = connection.execute(select(webhooks.c.id, webhooks.c.body)).all()
            seen = Seen(
                events=found,
                webhooks={row.id: bytes(row.body) for row in bodies},
                tried=[Tried(*row) for row in tried],
                targets=target_states.load(connection),
                versions=list(versions),
            )
        self._seen = max([self._seen, *(version.n for version in versions)])
        return seen

    # How it is made

    async def _open(self) -> None:
        self._engine = database.writing_engine(self.url)
        if self._engine.dialect.name == "sqlite":  # what is proven here survives no power cut, and need not
            event.listen(self._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        self.store = Store(self._engine, self.hand)
        self._count_what_is_asked()
        await self.store.start()
        self.target_workers = {
            name: target_worker(
                self.store,
                self._send,
                name=name,
                max_in_flight=room,
                bucket=Bucket(1_000_000, 1_000, lambda: self.hand.at / 1000),
                lease=LEASE,
                after=3,
                first_wait="2s",
                max_wait="1m",
                max_attempts=MAX_ATTEMPTS.get(name, "none"),
            )
            for name, room in ROOM.items()
        }
        self._forwarder = Forwarder(self.store, self.target_workers, SWEEP / 1000)
        await self._forwarder.recover()
        self._forwarder.start()
        self._timekeeping = asyncio.create_task(timekeeping.run(self.store))
        queries = Queries(
            reader=Reader(self.url),
            rules=self.rules,
            names=Names(source=frozenset(self.rules), rule=frozenset(), target=frozenset(ROOM), are_all=False),
            target_urls=dict.fromkeys(ROOM, "https://superoffice.example"),
        )
        self.operator = Operator(
            store=self.store, queries=queries, wake=self._forwarder.wake, changed=self._forwarder.changed
        )

    def _count_what_is_asked(self) -> None:
        run = self.store._writer.run

        async def counted(*asked: Any, **how: Any) -> Any:
            self._asked += 1
            try:
                return await run(*asked, **how)
            finally:
                self._asked -= 1
                self._answered.set()

        self.store._writer.run = counted  # type: ignore[method-assign]

    async def cut_off(self) -> None:
        """End as a killed process does. Nothing is being committed then, so closing the store commits nothing."""
        self.lost += [call.claim for call in self.calls]
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.store.close()
        self._engine.dispose()

    async def _send(self, claim: Claim) -> Attempt:
        call = Call(claim, asyncio.get_running_loop().create_future())
        self.sent.append(claim)
        self.began[claim.event_id, claim.attempt] = self.hand.running()
        if self.accepting:
            await self.answer(call, Outcome.DELIVERED)
        self.calls.append(call)
        try:
            return await call.answer
        finally:
            self.calls.remove(call)

    async def _at_rest(self) -> None:
        for _ in range(500):
            self._answered.clear()
            await _some_turns()
            if self._asked:
                await self._answered.wait()
            elif not self._answered.is_set():  # so everybody came to where they wait
                return
        raise AssertionError("the bridge never comes to rest")


async def _some_turns() -> None:
    """Give everybody who can go on the time to come to where they wait again."""
    for _ in range(10):
        await asyncio.sleep(0)


def new_webhook(world: World, source: str, items: list[dict[str, Any]], delivery: str | None) -> tuple[Webhook, Mapped]:
    """A webhook with such items, and what its source's first rules make of it."""
    webhook = Webhook(
        id=new_webhook_id(world.hand()),
        source=source,
        received_at=world.hand(),
        method="POST",
        query="",
        headers={"content-type": "application/json"},
        body=jsontext.encode(items),
        delivery_id=delivery,
    )
    return webhook, process(RULES["first"], webhook)
