"""The version that the sandbox plays: what it tells of itself, and which event types it takes."""

from email.utils import parsedate_to_datetime

import httpx
import pytest
from running import HANG, NO_TLS

from bridge.sandbox.superoffice import Sandbox, serving
from bridge.sandbox.versions import known_to

pytestmark = pytest.mark.anyio

SEND_EVENT = "/crm/api/v1/Agents/Workflow/SendEvent"
JSON = {"Accept": "application/json"}
LOGIN = httpx.BasicAuth("sandbox", "sandbox")


@pytest.mark.parametrize(
    ("version", "type_", "status"),
    [
        ("12.4", "SaleSold", 200),
        ("12.4", "Click", 400),
        ("10.2.9", "SaleSold", 200),
        ("10.2.9", "Click", 400),
        ("10.2.8", "SaleSold", 400),
        ("10.2.8", "Click", 200),
        ("10.2.8", "Run", 200),
        ("10.2.8.4711", "SaleSold", 400),
        ("10.10", "SaleSold", 200),
    ],
)
async def test_each_version_takes_its_own_event_types(version: str, type_: str, status: int) -> None:
    sandbox = Sandbox(version=version)
    async with (
        serving(sandbox) as url,
        httpx.AsyncClient(base_url=url, auth=LOGIN, verify=NO_TLS, timeout=HANG) as client,
    ):
        answer = await client.post(SEND_EVENT, json={"WorkflowEvent": {"EventType": type_}})
    assert answer.status_code == status
    assert len(sandbox.events()) == (status == 200)


async def test_an_update_changes_what_it_takes_and_tells() -> None:
    sandbox = Sandbox(version="10.2.8")
    async with (
        serving(sandbox) as url,
        httpx.AsyncClient(base_url=url, auth=LOGIN, headers=JSON, verify=NO_TLS, timeout=HANG) as client,
    ):
        assert (await client.get("/crm/api")).json()["NetServerVersion"] == "10.2.8"
        sandbox.version = "12.4"
        assert (await client.get("/crm/api")).json()["NetServerVersion"] == "12.4"
        answer = await client.post(SEND_EVENT, json={"WorkflowEvent": {"EventType": "SaleSold"}})
    assert answer.status_code == 200


async def test_the_api_tells_its_version_and_the_time_to_everybody_who_wants_json() -> None:
    sandbox = Sandbox(now=lambda: 1_764_003_600_000)
    async with serving(sandbox) as url, httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=HANG) as client:
        for path in ("/api", "/crm/api", "/a/b/api"):
            answer = await client.get(path, headers=JSON)
            assert answer.json() == {"v1": f"{url}{path}/v1", "Version": "v1", "NetServerVersion": "12.4"}
            assert parsedate_to_datetime(answer.headers["date"]).timestamp() == 1_764_003_600
        page = await client.get("/crm/api", headers={"Accept": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_get_of_send_event_describes_it_to_whoever_is_logged_in_and_sends_nothing() -> None:
    sandbox = Sandbox()
    async with serving(sandbox) as url, httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=HANG) as client:
        assert (await client.get(SEND_EVENT)).status_code == 401
        assert (await client.get(SEND_EVENT, auth=httpx.BasicAuth("sandbox", "wrong"))).status_code == 401
        ticket = {"Authorization": "SOTicket 7T:sandbox"}
        assert (await client.get(SEND_EVENT, headers=ticket)).status_code == 401
        assert (await client.get(SEND_EVENT, headers=ticket | {"SO-AppToken": "sandbox"})).status_code == 200
        assert "POST" in (await client.get(SEND_EVENT, auth=LOGIN)).json()
    assert sandbox.events() == []
    assert sandbox.requests == {}


async def test_a_ticket_without_the_applications_token_sends_nothing() -> None:
    sandbox = Sandbox()
    body = {"WorkflowEvent": {"EventType": "SaleSold"}}
    async with serving(sandbox) as url, httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=HANG) as client:
        answer = await client.post(SEND_EVENT, json=body, headers={"Authorization": "SOTicket 7T:sandbox"})
    assert answer.status_code == 401
    assert answer.json()["Error"] is True
    assert sandbox.events() == []


@pytest.mark.parametrize("text", ["", "12", "twelve", "12.4 ", "12.4\n", "-1.2", "10.2.8.1.2.3"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        known_to(text)
    with pytest.raises(ValueError, match="is no version"):
        Sandbox(version=text)
