"""The admin API on a real socket: who may ask, what is listed and changed, and a clear refusal for everything else."""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from forwarding.support import logged
from running import NO_TLS

from bridge.model import Event, Mapped, OnUnknown, Webhook, WebhookState, event_id, new_webhook_id
from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.operations.actions.operator import Operator
from bridge.operations.queries import Queries
from bridge.settings.configuration import Names
from bridge.settings.secrets import Secret
from bridge.store import reader
from bridge.store.reader import Reader
from bridge.store.store import Store, owned
from bridge.target_state import TargetState
from bridge.web import admin
from bridge.web.serving import Serving, listen

pytestmark = pytest.mark.anyio

TOKEN = "the-admin-token"
NOW = 1_700_000_000_000


@dataclass
class Port:
    client: httpx.AsyncClient
    store: Store
    url: str
    reasons: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    woken: list[set[str]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def post(self, path: str, payload: Any) -> httpx.Response:
        return await self.client.post(path, json=payload)

    async def receive(self, source: str = "shop", target: str = "crm") -> str:
        webhook = Webhook(
            id=new_webhook_id(NOW), source=source, received_at=NOW, method="POST", query="", headers={}, body=b"{}"
        )
        event = Event(
            id=event_id(webhook.id, "rule", target, "", 0),
            rule="rule",
            target=target,
            item_key="",
            type="SaleSold",
            text="größe=1",
            form="pairs",
            rest='{"größe":1}'.encode(),
            on_unknown=OnUnknown.RETRY,
            max_age=1000,
        )
        await self.store.accept(webhook, Mapped(state=WebhookState.MAPPED, events=(event,)), 1000)
        return event.id

    def states(self) -> list[str]:
        with reader.reading(self.url) as connection:
            return [event["state"] for event in reader.list_events(connection, reader.Filter())]


@pytest.fixture
async def port(sqlite_url: str) -> AsyncIterator[Port]:
    with owned(sqlite_url) as engine:
        store = Store(engine)
        await store.start()
        listener = listen("127.0.0.1", 0)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(
            base_url=address, headers=headers, trust_env=False, verify=NO_TLS, timeout=30
        ) as client:
            port = Port(client, store, sqlite_url)

            async def reasons() -> list[str]:
                return port.reasons

            def wake(targets: Iterable[str]) -> None:
                port.woken.append(set(targets))

            queries = Queries(
                reader=Reader(sqlite_url),
                rules={},
                names=Names(source=frozenset({"shop"}), rule=frozenset({"rule"}), target=frozenset({"crm"})),
                target_urls={"crm": "http://127.0.0.1:1/api"},
            )
            operator = Operator(store=store, queries=queries, wake=wake, changed=lambda _: None)
            guarded = admin.application(Secret(TOKEN), port.metrics, reasons, lambda: operator, lambda: port.failing)
            serving = Serving(guarded, listener, guarded.connections)
            serving.start()
            yield port
        await serving.stop()
        store.close()


def is_problem(answer: httpx.Response, status: int, told: str = "") -> bool:
    """Whether an answer is a problem as RFC 9457 has it, and says this."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert told in content["detail"], content
    return True


# who


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"bearer {TOKEN}", f"Basic {TOKEN}", TOKEN],
)
async def test_without_the_token_nothing_is_answered_or_done(shown: str, port: Port) -> None:
    await port.receive()
    for method, path in (
        *(("GET", path) for path in ("/readyz", "/metrics", "/api/events", "/api/targets/crm", "/nothing")),
        *(("POST", path) for path in ("/api/events/discard", "/api/targets/crm/pause", "/api/nothing")),
    ):
        content = {"filter": {"source": "shop"}, "yes": True} if method == "POST" else None
        answer = await port.client.request(method, path, json=content, headers={"Authorization": shown})
        assert is_problem(answer, 401, "admin token")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert port.states() == ["pending"]
    assert await port.store.target("crm") == TargetState(name="crm")


# what is listed


async def test_lists_are_those_of_the_commands(port: Port) -> None:
    made = [await port.receive() for _ in range(3)]
    with reader.reading(port.url) as connection:
        for kind, list_ in (("events", reader.list_events), ("webhooks", reader.list_webhooks)):
            assert await port.get(f"/api/{kind}") == list_(connection, reader.Filter())
        shown = await port.get(f"/api/events/{made[1]}")
        assert shown == reader.show_event(connection, made[1])
        webhook = shown["webhook_id"]
        assert await port.get(f"/api/webhooks/{webhook}") == reader.show_webhook(connection, webhook) | {"note": None}
    story = await port.get(f"/api/explain/{made[1]}")
    assert (story["webhook"]["id"], [event["id"] for event in story["events"]]) == (webhook, [made[1]])
    assert [event["id"] for event in await port.get("/api/events")] == made[::-1]


async def test_filters_are_those_of_the_commands(port: Port) -> None:
    await port.receive("forms")
    await port.receive("shop", "erp")
    assert len(await port.get("/api/events", limit=1)) == 1
    assert len(await port.get("/api/events", source="forms", state="pending", rule="rule", target="crm")) == 1
    assert await port.get("/api/events", target="erp", source="forms") == []
    assert await port.get("/api/events", state="dead") == []
    assert len(await port.get("/api/webhooks", since=NOW)) == 2
    assert await port.get("/api/webhooks", since=NOW + 1) == []
    assert len(await port.get("/api/webhooks", target="erp", limit=100_000)) == 1


async def test_targets_are_listed_and_shown(port: Port) -> None:
    await port.receive()
    (target,) = await port.get("/api/targets")
    assert (target["name"], target["state"], target["pending"]) == ("crm", "open", 1)
    assert await port.get("/api/targets/crm") == target


async def test_a_task_that_fails_is_named_and_makes_nothing_unready(port: Port) -> None:
    port.failing.append("retention")
    assert await port.get("/readyz") == {"ready": True, "reasons": [], "failing_tasks": ["retention"]}


async def test_readiness_is_told_with_its_reasons(port: Port) -> None:
    assert await port.get("/readyz") == {"ready": True, "reasons": []}
    port.reasons.append("the store cannot commit")
    answer = await port.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["the store cannot commit"]})


# what is done


async def test_a_change_is_shown_first_and_done_with_yes(port: Port) -> None:
    made = await port.receive()
    everything = {"filter": {"source": "shop"}}
    preview = (await port.post("/api/events/discard", everything)).json()
    assert (preview["count"], preview["done"], port.states()) == (1, 0, ["pending"])
    done = (await port.post("/api/events/discard", everything | {"yes": True})).json()
    assert (done["done"], done["ids"], port.states()) == (1, [made], ["discarded"])
    done = (await port.post("/api/events/replay", {"ids": [made], "yes": True})).json()
    assert (done["done"], port.states(), port.woken[-1]) == (1, ["pending"], {"crm"})
    assert (await port.post("/api/webhooks/erase", everything | {"yes": True})).json()["done"] == 1
    assert port.states() == []


async def test_a_target_is_paused_and_resumed(port: Port) -> None:
    paused = await port.post("/api/targets/crm/pause", {})
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert (await port.store.target("crm")).by_operator
    assert (await port.client.post("/api/targets/crm/resume")).json()["state"] == "open"  # a body says nothing here
    assert port.woken == [{"crm"}]


@pytest.mark.parametrize(
    ("header", "name"), [("Åse".encode(), "Åse"), ("Åse".encode("latin-1"), "Åse"), (b"", None), (None, None)]
)
async def test_who_asks_and_why_is_in_the_log(header: bytes | None, name: str | None, port: Port) -> None:
    headers = {} if header is None else {"X-Operator": header}
    with logged() as log:
        answer = await port.client.post("/api/targets/crm/pause", json={"note": "moving"}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 200
    (line,) = log.named(logs.OPERATOR_CHANGED)
    assert (line["action"], line["by"], line["note"], line["target"]) == ("pause", name, "moving", "crm")


@pytest.mark.parametrize("name", [b"x" * 65, b"a\tb", "\u202eanna".encode(), b"\xc2\x9b31m"])
async def test_a_name_that_no_line_can_hold_is_400_and_nothing_is_done(name: bytes, port: Port) -> None:
    headers: Any = {"X-Operator": name}
    answer = await port.client.post("/api/targets/crm/pause", json={}, headers=headers)
    assert is_problem(answer, 400, "at most 64 printable characters")
    assert await port.store.target("crm") == TargetState(name="crm")


# what is refused


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit must be a number from 1 to 100000"),
        ("limit=-1", "limit must be a number from 1 to 100000"),
        ("limit=100001", "limit must be a number from 1 to 100000"),
        ("limit=99999999999999999999999", "limit must be a number from 1 to 100000"),
        ("limit=ten", "limit must be a number from 1 to 100000"),
        ("limit=", "limit must be a number from 1 to 100000"),
        ("limit=" + "9" * 5000, "limit must be a number from 1 to 100000"),
        ("since=yesterday", "since must be a number from 0 to "),
        ("since=1e3", "since must be a number from 0 to "),
        ("since=99999999999999999999", "since must be a number from 0 to "),
        ("since=-1", "since must be a number from 0 to "),
        ("sate=dead", "unknown filter sate"),
        ("state=nope", "there is no state nope, the states are "),
        ("source=shpo", "there is no source shpo, did you mean shop? the sources are shop"),
        ("rule=nope", "there is no rule nope, the rules are rule"),
        ("target=", "there is no target , the targets are crm"),
        ("states=dead&x=1", "unknown filter states, x"),
    ],
)
@pytest.mark.parametrize("kind", ["events", "webhooks"])
async def test_a_list_that_nobody_can_make_is_400(kind: str, query: str, told: str, port: Port) -> None:
    assert is_problem(await port.client.get(f"/api/{kind}?{query}"), 400, told)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"NaN",
        b"[]",
        b'"all"',
        b"null",
        b"{}",
        b'{"yes": true}',
        b'{"ids": "ev_1"}',
        b'{"ids": [null]}',
        b'{"filter": {"stat": "dead"}}',
        b'{"filter": {"since": 1e400}}',
        b'{"filter": {"since": 99999999999999999999}}',
        b'{"filter": {"source": "shop"}, "force": true}',
        b'{"filter": {"state": "nope"}, "yes": true}',
        b'{"filter": {"source": "shpo"}, "yes": true}',
        b'{"filter": {"source": "shop"}, "yes": true, "note": "a\\u001bb"}',
    ],
)
async def test_a_change_that_nobody_can_make_is_400_and_changes_nothing(content: bytes, port: Port) -> None:
    await port.receive()
    for path in ("events/discard", "webhooks/erase", "webhooks/remap"):
        assert is_problem(await port.client.post(f"/api/{path}", content=content), 400)
    assert port.states() == ["pending"]


async def test_a_filter_that_is_empty_text_names_nothing_and_not_everything(port: Port) -> None:
    await port.receive()
    answer = await port.post("/api/webhooks/erase", {"filter": {"source": ""}, "yes": True})
    assert is_problem(answer, 400, "there is no source , the sources are shop")
    assert port.states() == ["pending"]


async def test_a_request_beyond_a_mebibyte_is_413(port: Port) -> None:
    ids = ["ev_" + "x" * 120] * 9_000
    assert len(json.dumps(ids)) > 1024 * 1024
    assert is_problem(await port.post("/api/events/discard", {"ids": ids}), 413, "larger than 1048576 bytes")


async def test_what_is_not_there_is_404(port: Port) -> None:
    for path in ("events/ev_gone", "webhooks/wh_gone", "targets/gone", "nothing", "nothing/at_all"):
        assert is_problem(await port.client.get(f"/api/{path}"), 404, "there is no")
    assert is_problem(await port.post("/api/events/replay", {"ids": ["ev_gone"], "yes": True}), 404, "ev_gone")
    assert is_problem(await port.post("/api/targets/gone/pause", {}), 404, "there is no target gone")
    for path in ("/", "/api", "/api/events/ev_1/attempts/1", "/console/"):
        answer = await port.client.get(path)
        assert is_problem(answer, answer.status_code)
        assert answer.status_code in (404, 405)


async def test_what_cannot_be_done_there_is_400_or_405(port: Port) -> None:
    assert is_problem(
        await port.post("/api/events/erase", {"filter": {"source": "s"}}), 400, "nothing to do by the name"
    )
    assert is_problem(await port.post("/api/events", {}), 400, "nothing to do by the name")
    for method in ("PUT", "PATCH", "DELETE"):
        for path in ("/api/events", "/api/events/ev_1", "/api/targets/crm/pause", "/readyz", "/metrics"):
            answer = await port.client.request(method, path)
            assert is_problem(answer, 405, "send by "), (method, path)
            assert answer.headers["allow"] in ("GET, HEAD", "POST")


async def test_odd_paths_never_break_it(port: Port) -> None:
    for path in ("/api/events/%00", "/api/events/%ff%fe", "/api/events/..%2f..", "/api/targets/%F0%9F%98%80", "/api//"):
        for method in ("GET", "POST"):
            answer = await port.client.request(method, path)
            assert is_problem(answer, answer.status_code)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
    assert await port.get("/api/events") == []


async def test_a_store_that_fails_is_503(port: Port) -> None:
    made = await port.receive()
    with sqlite3.connect(port.url.removeprefix("sqlite:///")) as broken:
        broken.execute("ALTER TABLE events RENAME TO lost")
    broken.close()
    for path in ("/api/events", "/api/webhooks", "/api/targets", f"/api/events/{made}"):
        assert is_problem(await port.client.get(path), 503, "the store cannot be read: no such table: events")
    for path in ("/api/events/discard", "/api/webhooks/erase"):
        assert is_problem(await port.post(path, {"filter": {"source": "shop"}, "yes": True}), 503, "no such table")
    assert is_problem(await port.post("/api/targets/crm/pause", {}), 503, "no such table")
