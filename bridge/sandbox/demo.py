"""The demo: starts a sandbox and a real `bridge serve`, sends signed webhooks, and shows the record.

Everything runs on loopback. The bridge is a process of its own, as in production; its log and store go to a directory.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bridge.errors import BridgeError
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.store import reader
from bridge.times import now

_SAMPLES = Path(__file__).parent / "samples"
_WITHIN = 30.0  # seconds for the whole demonstration
_FORGED = "a forger's guess"


@dataclass(slots=True, kw_only=True)
class _Sent:
    """One webhook of the demonstration: what should become of it, and what did."""

    what: str
    source: str
    expected_status: int
    expected_state: str
    expected_events: int
    duplicate_of: "_Sent | None" = None
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)

    def found(self, webhooks: dict[str, Any], events: dict[str, Any], recorded: list[str]) -> tuple[bool, list[str]]:
        """Whether all ended as it should, and the row that tells so."""
        webhook = webhooks.get(self.answer.get("id", ""))
        its_events = [events[id_] for id_ in self.answer.get("events", []) if id_ in events]
        state = (
            "refused"
            if self.status == 401
            else "duplicate"
            if self.answer.get("duplicate")
            else webhook and webhook["state"]
        )
        right = (
            self.status == self.expected_status
            and state == self.expected_state
            and len(its_events) == self.expected_events
            and all(event["state"] == "delivered" and recorded.count(event["id"]) == 1 for event in its_events)
            and (self.duplicate_of is None or self.answer.get("id") == self.duplicate_of.answer.get("id"))
        )
        became = [
            f"{event['id']} {event['state']} to {event['target']}, attempt {event['attempts']}" for event in its_events
        ]
        row = [
            "yes" if right else "NO",
            self.what,
            str(self.status),
            state or "not stored",
            self.answer.get("id", ""),
            "\n".join(became),
        ]
        return right, row


class DidNotStart(BridgeError):
    """The bridge did not start; `log` is what it said last."""

    def __init__(self, log: str) -> None:
        super().__init__("the bridge did not start")
        self.log = log


def run(config: Path, directory: Path | None, *, keep: bool) -> bool:
    """Show the main job; True when every webhook ended as it should.

    Raises:
        DidNotStart: the bridge did not.
    """
    if directory is not None:
        return asyncio.run(_demonstrate(config, directory, keep=keep))
    with tempfile.TemporaryDirectory(prefix="bridge-demo-") as made:
        return asyncio.run(_demonstrate(config, Path(made), keep=keep))


async def _demonstrate(config: Path, directory: Path, *, keep: bool) -> bool:
    directory.mkdir(parents=True, exist_ok=True)
    environment = _environment(directory)
    sandbox = Sandbox(["503*2 tenant=support retry-after=1"])
    async with serving(sandbox) as target, _bridge(config, directory, environment | _targets(target)) as url:
        sent = await _send_all(url, environment)
        right = await _outcome(sent, directory, sandbox)
        if keep:
            await _stay(url, target, directory, environment)
    return right


def _environment(directory: Path) -> dict[str, str]:
    """What the example configuration takes from the environment, made up for this run."""
    made_up = ("GITHUB_SECRET", "SHOP_SECRET", "STRIPE_SECRET", "SLACK_SIGNING_SECRET", "BRIDGE_ADMIN_TOKEN")
    return {name: secrets.token_urlsafe(24) for name in made_up} | {
        "BRIDGE_PORT": str(_free_port()),
        "BRIDGE_ADMIN_PORT": str(_free_port()),
        "BRIDGE_STORE": str(directory.resolve() / "bridge.db"),
        "BRIDGE_GRACE": "100ms",
        "CRM_USER": "sandbox",
        "CRM_PASSWORD": "sandbox",
        "SUPPORT_TICKET": "7T:sandbox",
        "SUPPORT_APP_TOKEN": "sandbox",
    }


def _targets(sandbox: str) -> dict[str, str]:
    return {"CRM_URL": f"{sandbox}/crm/api", "SUPPORT_URL": f"{sandbox}/support/api"}


def _free_port() -> int:
    """A port that nobody listens on, from below the range that connections take theirs from."""
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port


@contextlib.asynccontextmanager
async def _bridge(config: Path, directory: Path, environment: dict[str, str]) -> AsyncIterator[str]:
    """A `bridge serve` of its own, ready to receive; ended by SIGTERM."""
    log = directory / "bridge.log"
    command = (sys.executable, "-m", "bridge", "--config", str(config), "serve")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{environment['BRIDGE_PORT']}"
        await _ready(url, process, log)
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_WITHIN):
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    raise DidNotStart(log.read_text(errors="replace")[-2000:])


def _signer(source: str, secret: str) -> Verifier:
    """What signs like the example configuration's source."""
    recipe = {"scheme": {"github": "github", "shop": "shopify"}[source], "secrets": [secret]}
    verifier, _ = compile_verifier(Section(Document("demo", recipe)))
    assert verifier is not None  # noqa: S101 - the recipe is right
    return verifier


async def _send_all(url: str, environment: dict[str, str]) -> list[_Sent]:
    order = _Sent(what="a paid order", source="shop", expected_status=202, expected_state="mapped", expected_events=3)
    issue = _Sent(
        what="an issue, into a target that answers 503 twice",
        source="github",
        expected_status=202,
        expected_state="mapped",
        expected_events=1,
    )
    again = _Sent(
        what="the same issue again",
        source="github",
        expected_status=202,
        expected_state="duplicate",
        expected_events=1,
        duplicate_of=issue,
    )
    forged = _Sent(
        what="a forged signature", source="github", expected_status=401, expected_state="refused", expected_events=0
    )
    ping = _Sent(
        what="a ping, no rule's business",
        source="github",
        expected_status=202,
        expected_state="ignored",
        expected_events=0,
    )
    github, shop = environment["GITHUB_SECRET"], environment["SHOP_SECRET"]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        await _send(client, order, "shop-order.json", shop, "order-1", {"X-Shopify-Topic": "orders/paid"})
        await _send(client, issue, "github-issue.json", github, "issue-1", {"X-GitHub-Event": "issues"})
        await _send(client, again, "github-issue.json", github, "issue-1", {"X-GitHub-Event": "issues"})
        await _send(client, forged, "github-issue.json", _FORGED, "issue-2", {"X-GitHub-Event": "issues"})
        await _send(client, ping, "github-ping.json", github, "ping-1", {"X-GitHub-Event": "ping"})
    return [order, issue, again, forged, ping]


async def _send(
    client: httpx.AsyncClient, sent: _Sent, sample: str, secret: str, delivery_id: str, headers: dict[str, str]
) -> None:
    body = (_SAMPLES / sample).read_bytes()
    signed = _signer(sent.source, secret).sign(body, method="POST", at=now(), delivery_id=delivery_id)
    content_type = {"Content-Type": "application/json"}
    response = await client.post(f"/webhooks/{sent.source}", content=body, headers=headers | signed | content_type)
    sent.status = response.status_code
    sent.answer = response.json()


async def _outcome(sent: list[_Sent], directory: Path, sandbox: Sandbox) -> bool:
    """Wait until every event came to its end, then print what became of each webhook."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_WITHIN):
            while any(event["state"] in ("pending", "sending") for event in _events(directory)):
                await asyncio.sleep(0.1)
    events = {event["id"]: event for event in _events(directory)}
    with reader.reading(_url(directory)) as connection:
        webhooks = {webhook["id"]: webhook for webhook in reader.list_webhooks(connection, reader.Filter())}
    recorded = [id_ for event in sandbox.events() for id_ in events if id_ in (event.attributes or "")]
    found = [one.found(webhooks, events, recorded) for one in sent]
    table = Table("as expected", "sent", "answer", "webhook", "id", "events", box=None, pad_edge=False)
    for _, row in found:
        table.add_row(*row)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)
    right = all(ok for ok, _ in found) and len(recorded) == len(events)
    console.print(f"\n{len(recorded)} events reached the sandbox: {'all as expected' if right else 'NOT AS EXPECTED'}")
    return right


def _url(directory: Path) -> str:
    return f"sqlite:///{directory.resolve() / 'bridge.db'}"


def _events(directory: Path) -> list[dict[str, Any]]:
    with reader.reading(_url(directory)) as connection:
        return reader.list_events(connection, reader.Filter())


async def _stay(url: str, sandbox: str, directory: Path, environment: dict[str, str]) -> None:
    """Leave everything running until Ctrl-C, with something to try."""
    sample = _SAMPLES / "github-issue.json"
    signer = _signer("github", environment["GITHUB_SECRET"])
    signed = signer.sign(sample.read_bytes(), method="POST", at=now(), delivery_id="mine-1")
    headers = " ".join(f"-H '{name}: {value}'" for name, value in {**signed, "x-github-event": "issues"}.items())
    Console(highlight=False, soft_wrap=True).print(
        f"\nbridge    {url}/webhooks/github, {url}/webhooks/shop\n"
        f"admin     http://127.0.0.1:{environment['BRIDGE_ADMIN_PORT']}/metrics, "
        f"with -H 'Authorization: Bearer {environment['BRIDGE_ADMIN_TOKEN']}'\n"
        f"sandbox   {sandbox}/sandbox/events\n"
        f"log       {directory / 'bridge.log'}\n\n"
        f"Try:  curl -i {url}/webhooks/github {headers} --data-binary @{sample}\n"
        f"then: curl {sandbox}/sandbox/events\n\nCtrl-C ends it.",
        markup=False,
    )
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
