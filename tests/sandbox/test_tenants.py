"""The sandbox's tenants of SuperOffice Online, as a client and a test see them."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from running import HANG, NO_TLS

from bridge.sandbox.superoffice import Sandbox, serving
from bridge.sandbox.tenants import STATES, Tenants

pytestmark = pytest.mark.anyio

NOW = 1_764_003_600_000
ID = "Cust12345"
SEND_EVENT = "/api/v1/Agents/Workflow/SendEvent"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(now=lambda: NOW)


@pytest.fixture
async def client(sandbox: Sandbox, anyio_backend: object) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(sandbox) as url,
        httpx.AsyncClient(base_url=url, auth=("sandbox", "sandbox"), verify=NO_TLS, timeout=HANG) as client,
    ):
        yield client


async def state(client: httpx.AsyncClient, tenant: str = ID) -> dict[str, Any]:
    answer = await client.get(f"/api/state/{tenant}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    told: dict[str, Any] = answer.json()
    return told


async def send(client: httpx.AsyncClient, url: str) -> int:
    body = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "a=1"}}
    return (await client.post(f"{url}/v1/Agents/Workflow/SendEvent", json=body)).status_code


async def test_a_tenant_that_nobody_told_of_runs_on_the_first_host(client: httpx.AsyncClient) -> None:
    base = str(client.base_url).rstrip("/")
    assert await state(client) == {
        "ContextIdentifier": ID,
        "Endpoint": f"{base}/online1/{ID}",
        "State": "Running",
        "IsRunning": True,
        "ValidUntil": "2025-11-24T18:00:00.000Z",
        "Api": f"{base}/online1/{ID}/api",
    }
    assert await send(client, f"/online1/{ID}/api") == 200


@pytest.mark.parametrize("left_behind", [421, 404, 503])
async def test_a_tenant_that_moved_is_where_it_says_and_leaves_something_behind(
    sandbox: Sandbox, client: httpx.AsyncClient, left_behind: int
) -> None:
    told = await client.post("/sandbox/tenants", json={"tenant": ID, "host": "online2", "left_behind": left_behind})
    assert told.status_code == 200
    assert await send(client, f"/online1/{ID}/api") == left_behind
    assert await send(client, f"/online1/{ID.lower()}/api") == left_behind
    assert await send(client, (await state(client))["Api"]) == 200
    assert await send(client, f"/{ID}/api") == 200  # of no host: a target of its own
    assert await send(client, "/online1/Cust2/api") == 200
    assert [event.tenant for event in sandbox.events()] == [f"online2/{ID}", ID, "online1/Cust2"]


@pytest.mark.parametrize("its_state", STATES)
async def test_only_a_running_tenant_takes_events(client: httpx.AsyncClient, sandbox: Sandbox, its_state: str) -> None:
    sandbox.tenants.set(ID, state=its_state)
    told = await state(client)
    assert (told["State"], told["IsRunning"]) == (its_state, its_state == "Running")
    assert await send(client, told["Api"]) == (200 if its_state == "Running" else 503)


async def test_an_answer_can_be_over_before_it_comes_and_lead_elsewhere(
    client: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sandbox.tenants.set(ID, valid_for=-60, api="https://evil.example/api")
    told = await state(client)
    assert datetime.fromisoformat(told["ValidUntil"]).timestamp() * 1000 == NOW - 60_000
    assert told["Api"] == "https://evil.example/api"


async def test_faults_are_for_the_state_endpoint_where_they_name_it(
    client: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sandbox.script.add(["500", f"garbage tenant=state/{ID}"])
    assert (await client.get(f"/api/state/{ID}")).text == '{"EventType": '
    assert (await state(client))["IsRunning"]
    assert await send(client, f"/online1/{ID}/api") == 500
    assert sandbox.requests == {f"state/{ID}": {"garbage": 1, "200": 1}, f"online1/{ID}": {"500": 1}}


async def test_what_is_told_of_a_tenant_adds_up_until_it_is_forgotten(client: httpx.AsyncClient) -> None:
    await client.post("/sandbox/tenants", json={"tenant": ID, "host": "online2"})
    shown = await client.post("/sandbox/tenants", json={"tenant": ID, "state": "Suspended"})
    (told,) = shown.json()
    assert told == {
        "tenant": ID,
        "state": "Suspended",
        "host": "online2",
        "valid_for": 3600.0,
        "left_behind": 421,
        "api": None,
    }
    assert (await client.get("/sandbox/tenants")).json() == [told]
    assert (await client.delete("/sandbox/tenants")).status_code == 204
    assert (await client.get("/sandbox/tenants")).json() == []
    assert (await state(client))["IsRunning"]


@pytest.mark.parametrize(
    ("told", "detail"),
    [
        (b"{", "unexpected end of data"),
        (b"[]", "name the tenant"),
        (b"{}", "name the tenant"),
        (b'{"tenant": 7}', "name the tenant"),
        (b'{"tenant": "a/b"}', "tenant: String should match pattern"),
        (b'{"tenant": "a", "state": "Away"}', "state: Input should be 'Unknown', 'Provisioning'"),
        (b'{"tenant": "a", "host": "a/b"}', "host: String should match"),
        (b'{"tenant": "a", "left_behind": 500}', "left_behind: Input should be 404, 421 or 503"),
        (b'{"tenant": "a", "valid_for": 1e99}', "valid_for: Input should be less than"),
        (b'{"tenant": "a", "self": 1}', "self: Extra inputs are not permitted"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(client: httpx.AsyncClient, told: bytes, detail: str) -> None:
    answer = await client.post("/sandbox/tenants", content=told)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert (await client.get("/sandbox/tenants")).json() == []


async def test_what_can_be_no_tenant_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/state/a%20b")).status_code == 404
    assert (await client.get("/api/state/" + "a" * 65)).status_code == 404
    assert (await client.post(f"/api/state/{ID}")).status_code == 405


def test_so_many_tenants_and_no_more_are_told_of() -> None:
    tenants = Tenants(lambda: NOW)
    for number in range(1000):
        tenants.set(f"Cust{number}")
    with pytest.raises(ValueError, match="more than 1000 tenants"):
        tenants.set("Cust1000")
    tenants.set("CUST999", host="online2")
    assert len(tenants.as_json()) == 1000
    assert json.loads(tenants.state("cust999", "http://x").body)["Api"] == "http://x/online2/CUST999/api"
