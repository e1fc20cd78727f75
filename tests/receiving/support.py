"""What the tests of this room share."""

from collections.abc import Mapping
from typing import Any

from bridge.model import Receipt, Request
from bridge.observing.metrics import Metrics
from bridge.receiving.handshakes.handshake import Reply
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.sources import CompiledSource
from bridge.store.store import Store


class Receiving:
    """An intake and its sources: each request is for the one that it names."""

    def __init__(
        self, sources: Mapping[str, CompiledSource], store: Store, metrics: Metrics, *arguments: Any, **options: Any
    ) -> None:
        self.sources = sources
        self.intake = Intake(store, IntakeReporter(metrics), *arguments, **options)

    async def start(self) -> None:
        await self.intake.start(self.sources)

    async def receive(self, asked: Request) -> Receipt:
        return await self.intake.receive(self.sources[asked.source], asked)

    async def shake(self, asked: Request) -> Reply | None:
        return await self.intake.shake(self.sources[asked.source], asked)
