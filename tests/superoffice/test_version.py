"""`version: auto`: the server is asked beside everything else, and what its rules lack is told once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.model import Attempt, Claim, Outcome
from bridge.superoffice.login.token_service import TokenAnswer
from bridge.superoffice.version import VersionWatch, read_version

from .support import claim

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("status", "body", "version"),
    [
        (200, b'{"v1": "https://a.example/api/v1", "NetServerVersion": "8.1.6431.038"}', "8.1.6431.038"),
        (200, b'\xef\xbb\xbf{"NetServerVersion": "12.4"}', "12.4"),
        (200, '{"netServerVersion": "10.3"}'.encode("utf-16"), "10.3"),
        (401, b'{"NetServerVersion": "12.4"}', None),
        (200, b"<html>", None),
        (200, b"", None),
        (200, b"null", None),
        (200, b'["12.4"]', None),
        (200, b'{"NetServerVersion": 12.4}', None),
        (200, b'{"NetServerVersion": null}', None),
        (200, b'{"NetServerVersion": "12.4\\u001b[31m"}', None),
        (200, b'{"Version": "v1"}', None),
    ],
)
def test_the_version_is_read_with_care(status: int, body: bytes, version: str | None) -> None:
    assert read_version(TokenAnswer(status, httpx.Headers(), body)) == version


@given(st.binary(max_size=100))
def test_no_answer_breaks_it(body: bytes) -> None:
    assert read_version(TokenAnswer(200, httpx.Headers(), body)) is None


@dataclass
class Asked:
    """A server that tells one version after the other, and then goes on with the last one."""

    versions: list[str | None]
    count: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> str | None:
        version = self.versions[min(self.count, len(self.versions) - 1)]
        self.count += 1
        self.asked.set()
        return version

    async def times(self, count: int) -> None:
        async with asyncio.timeout(5):
            while self.count < count:
                self.asked.clear()
                await self.asked.wait()
        for _ in range(3):
            await asyncio.sleep(0)  # it tells what it learnt


@asynccontextmanager
async def watching(
    versions: Iterable[str | None], types: Iterable[str] = (), first_wait: float = 60, longest_wait: float = 3600
) -> AsyncIterator[tuple[VersionWatch, Asked, list[Any]]]:
    asked = Asked(list(versions))
    turns = asyncio.Semaphore(1)
    watch = VersionWatch("crm", asked, set(types), turns, first_wait=first_wait, longest_wait=longest_wait)
    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(watch.run())
        try:
            yield watch, asked, lines
        finally:
            task.cancel()
            await asyncio.wait([task])


def told(version: str | None, *unlisted: str, level: str = "warning") -> dict[str, Any]:
    return {
        "event": "target.version_read",
        "log_level": level,
        "target": "crm",
        "version": version,
        "unlisted": list(unlisted),
    }


async def test_it_is_asked_at_the_start_and_told() -> None:
    async with watching(["12.4"], ["SaleSold"]) as (_, asked, lines):
        await asked.times(1)
    assert lines == [told("12.4", level="info")]


async def test_types_that_the_version_does_not_list_are_a_warning() -> None:
    async with watching(["10.2.8"], ["SaleSold", "Run", "OrderPlaced"]) as (_, asked, lines):
        await asked.times(1)
    assert lines == [told("10.2.8", "OrderPlaced", "SaleSold")]


async def test_of_a_version_that_is_not_known_nothing_is_said_to_be_missing() -> None:
    async with watching(["8.1.6431.038"], ["SaleSold"]) as (_, asked, lines):
        await asked.times(1)
    assert lines == [told("8.1.6431.038", level="info")]


async def test_a_server_that_does_not_tell_is_asked_again_and_told_of_once() -> None:
    async with watching([None, None, None, "12.4"], first_wait=0.001) as (_, asked, lines):
        await asked.times(4)
    assert lines == [told(None), told("12.4", level="info")]


async def test_it_is_asked_again_after_a_while_and_a_change_is_told() -> None:
    async with watching(["12.3", "12.3", "12.4"], longest_wait=0.001) as (_, asked, lines):
        await asked.times(5)
    assert lines == [told("12.3", level="info"), told("12.4", level="info")]


def answering(outcome: Outcome) -> Callable[[Claim], Any]:
    async def send(_: Claim) -> Attempt:
        return Attempt(outcome=outcome, started_at=0, duration=1)

    return send


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.REJECTED])
async def test_it_is_asked_again_when_a_probe_gets_through(outcome: Outcome) -> None:
    async with watching(["10.2.8", "12.4"], ["SaleSold"]) as (watch, asked, lines):
        await asked.times(1)
        attempt = await watch.noticing(answering(outcome))(replace(claim(), probe=True))
        assert attempt.outcome is outcome
        await asked.times(2)
    assert lines == [told("10.2.8", "SaleSold"), told("12.4", level="info")]


@pytest.mark.parametrize(
    ("probe", "outcome"),
    [(False, Outcome.DELIVERED), (True, Outcome.UNAVAILABLE), (True, Outcome.UNAUTHORIZED), (True, Outcome.UNKNOWN)],
)
async def test_nothing_else_makes_it_ask(probe: bool, outcome: Outcome) -> None:
    async with watching(["12.4"]) as (watch, asked, _):
        await asked.times(1)
        await watch.noticing(answering(outcome))(replace(claim(), probe=probe))
        for _ in range(10):
            await asyncio.sleep(0)
        assert asked.count == 1


async def test_targets_take_turns() -> None:
    turns = asyncio.Semaphore(1)
    running = 0
    most = 0
    done = 0
    all_done = asyncio.Event()

    async def ask() -> str:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        done += 1
        if done == 20:
            all_done.set()
        return "12.4"

    tasks = [asyncio.create_task(VersionWatch(str(n), ask, (), turns).run()) for n in range(20)]
    async with asyncio.timeout(5):
        await all_done.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert most == 1
