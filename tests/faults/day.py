"""Days of a bridge's life on a clock that a test turns: real targets over real sockets, a sandbox at the other end.

Nothing is faked but time: every timer of the bridge, of its connections and of the sandbox goes by the same hand.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from clocks import Hand
from forwarding.support import Base
from forwarding.world import Loop
from sqlalchemy import select

from bridge.forwarding.breaker import Breaker
from bridge.forwarding.forwarder import Forwarder
from bridge.forwarding.retry import Policy
from bridge.forwarding.target_worker import TargetWorker
from bridge.model import (
    Attempt,
    Claim,
    Event,
    Mapped,
    OnUnknown,
    Webhook,
    WebhookState,
    event_id,
    new_webhook_id,
)
from bridge.observing.metrics import Metrics
from bridge.rate import Bucket
from bridge.sandbox.faults import parse_fault
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.store import database
from bridge.store.tables import attempts, events
from bridge.superoffice.login.authorization import compile_authorization
from bridge.superoffice.send_event import SuperOffice

MINUTE = 60_000
HOUR = 60 * MINUTE
_TURNS = 40  # of the loop, in which nobody does anything more: then all wait for time to pass


class Day:
    """A bridge and its SuperOffice."""

    def __init__(self, path: Path, sandbox: Callable[[Hand], Sandbox]) -> None:
        self.hand = Hand()
        self.began = self.hand.at
        self.sandbox = sandbox(self.hand)
        self._base = Base(path, self.hand)
        self._at_work = 0  # attempts, and questions to the store
        self._began_work = 0

    def live(self, story: Callable[["Day"], Any]) -> None:
        """Run a story."""
        with asyncio.Runner(loop_factory=lambda: Loop(self.hand)) as runner:
            runner.run(story(self))

    @asynccontextmanager
    async def running(self, targets: Callable[[str], dict[str, Any]]) -> AsyncIterator[None]:
        """A bridge that runs. `targets` says what stands in `bridge.yaml`, by name, for the sandbox's URL."""
        async with serving(self.sandbox) as url, self._base.opened() as self.store:
            self._note_what_is_asked()
            offices = {name: self._office(name, settings) for name, settings in targets(url).items()}
            target_workers = {name: self._target_worker(name, *office) for name, office in offices.items()}
            self._forwarder = Forwarder(self.store, target_workers, sweep_every=300)
            await self._forwarder.recover()
            self._forwarder.start()
            yield
            assert await self._forwarder.drain(0) == 0
            for office, _ in offices.values():
                await office.close()

    async def accept(self, target: str, on_unknown: OnUnknown, max_age: int, order_key: str | None = None) -> str:
        """One webhook with one event."""
        webhook = Webhook(
            id=new_webhook_id(self.hand()),
            source="shop",
            received_at=self.hand(),
            method="POST",
            query="",
            headers={},
            body=b"{}",
        )
        id_ = event_id(webhook.id, "sold", target, "", 0)
        event = Event(
            id=id_,
            rule="sold",
            target=target,
            item_key="",
            type="SaleSold",
            text=f"bridge_id={id_}",
            form="pairs",
            rest=b"",
            on_unknown=on_unknown,
            max_age=max_age,
            order_key=order_key,
        )
        await self.store.accept(webhook, Mapped(state=WebhookState.MAPPED, events=(event,)), HOUR)
        self._forwarder.wake([target])
        return id_

    async def until(self, hours: float) -> None:
        """Let time pass, from one timer to the next, until so many hours after the beginning."""
        loop: Any = asyncio.get_running_loop()
        end = self.began + round(hours * HOUR)
        await self._at_rest()
        while self.hand.at < end:
            timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]
            wait = min(timers, default=math.inf) - loop.time()
            self.hand.at = min(end, self.hand.at + max(1, math.ceil(min(wait, HOUR) * 1000)))
            await self._at_rest()

    def script(self, fault: str) -> None:
        """Let the sandbox show a fault, in the words of its command line."""
        self.sandbox.script.add([parse_fault(fault)])

    # What came of it

    def records(self) -> tuple[dict[str, Any], list[Any]]:
        """Every event by its id, and every attempt in order."""
        engine = database.reading_engine(f"sqlite:///{self._base.path}")
        with engine.connect() as connection:
            found = {row.id: row for row in connection.execute(select(events))}
            tried = list(connection.execute(select(attempts).order_by(attempts.c.seq)))
        engine.dispose()
        return found, tried

    def received(self) -> list[str]:
        """The ids of the events that the sandbox took, in order."""
        return [(event.attributes or "").removeprefix("bridge_id=") for event in self.sandbox.events()]

    def how_often(self) -> Counter[str]:
        """How often it took each."""
        return Counter(self.received())

    # How it is made

    def _office(self, name: str, settings: dict[str, Any]) -> tuple[SuperOffice, TargetSettings]:
        section = Section(Document("bridge.yaml", dict(settings)))
        parsed, problems = parse(section, TargetSettings)
        assert parsed is not None, problems
        authorization, problems = compile_authorization(section["authorization"])
        assert authorization is not None, problems
        return SuperOffice(name, parsed, authorization, self.hand), parsed

    def _target_worker(self, name: str, office: SuperOffice, settings: TargetSettings) -> TargetWorker:
        async def send(claim: Claim) -> Attempt:
            with self._working():
                return await office.send(claim)

        policy = Policy(settings.retry, Random(name).uniform)
        return TargetWorker(
            name=name,
            send=send,
            policy=policy,
            breaker=Breaker(settings.breaker.after, policy),
            bucket=Bucket(settings.rate.count, settings.rate.per, lambda: self.hand.at / 1000),
            max_in_flight=settings.max_in_flight,
            lease=2 * settings.timeout + 10_000,
            store=self.store,
            metrics=Metrics(),
        )

    def _note_what_is_asked(self) -> None:
        run = self.store._writer.run

        async def noted(*asked: Any, **how: Any) -> Any:
            with self._working():
                return await run(*asked, **how)

        self.store._writer.run = noted  # type: ignore[method-assign]

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work += 1
        self._began_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    async def _at_rest(self) -> None:
        """Until everybody waits for time to pass. What goes over sockets of this loop needs no time, only turns."""
        quiet = 0
        while quiet < _TURNS:
            before = self._began_work
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._at_work == 0 and self._began_work == before else 0
