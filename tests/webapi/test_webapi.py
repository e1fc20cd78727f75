"""SuperOffice's own client, run by Node.js: to it the sandbox is SuperOffice, and the bridge sends what it sends."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from superoffice.support import Call, claim, opened, playing

from bridge.sandbox.creators import CREATORS
from bridge.sandbox.superoffice import Sandbox, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

HERE = Path(__file__).parent
BASIC = ["authenticateWithPassword", "sandbox", "sandbox"]
EVENT = {"eventType": "SaleSold", "attributes": "sale=17;name=Blåbær"}
BLANK: dict[str, Any] = {"tableRight": None, "fieldProperties": {}}


async def client(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes of each job; client.js says what one is."""
    assert (HERE / "node_modules").exists(), "`make test` fetches the client"
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    node = shutil.which("node", path=path)  # the machine's, or what a wheel brought
    assert node, "`make test` brings Node.js"
    ran = await anyio.run_process(
        [node, "client.js"], input=json.dumps(jobs).encode(), cwd=HERE, env={"PATH": path}, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    results: list[dict[str, Any]] = json.loads(ran.stdout)
    return results


def method(creator: str) -> str:
    """What the client calls a creator."""
    return creator[0].lower() + creator[1:] + "Async"


async def test_the_sandbox_takes_what_the_client_sends_and_gives_what_it_creates() -> None:
    types = {
        "CreateDefaultWorkflowStepFromType": ["SendEmail"],
        "CreateDefaultWorkflowStepOptionFromType": ["FormData"],
    }
    creators = [[method(name), *types.get(name, [])] for name in CREATORS]
    sandbox = Sandbox()
    async with serving(sandbox) as url:
        options = {"baseUrl": f"{url}/crm/api"}
        ticket = [["authenticateWithTicket", "7T:sandbox"], ["applicationToken", "sandbox"]]
        made, ticketed, wrong, unknown = await client(
            {"options": options, "authorization": [BASIC], "creators": creators, "event": EVENT},
            {"options": options, "authorization": ticket, "event": EVENT, "blank": True},
            {"options": options, "authorization": [["authenticateWithToken", "8A:other"]], "event": EVENT},
            {"options": options, "authorization": [BASIC], "event": {"eventType": "Click"}},
        )

    sent = made["sent"]
    assert (sent["eventType"], sent["attributes"]) == ("SaleSold", "number=1")
    assert sent["tableRight"] == {"mask": 15, "reason": ""}  # which is everything
    assert ticketed["sent"]["attributes"] == "number=2"
    assert wrong["sent"]["status"] == 401
    assert unknown["sent"]["status"] == 400
    assert unknown["sent"]["error"]["ErrorType"] == "ArgumentException"
    assert [event.attributes for event in sandbox.events("crm")] == [EVENT["attributes"]] * 2

    created = made["created"]
    assert created[method("CreateDefaultWorkflowEvent")] == BLANK | {"eventType": "None", "attributes": ""}
    assert created[method("CreateDefaultWorkflowEventResult")] == BLANK | {"eventType": "None", "attributes": ""}
    assert created[method("CreateDefaultWorkflowFilter")] == BLANK | {"restrictionGroups": []}
    assert created[method("CreateDefaultWorkflowGoal")]["goalType"] == "None"
    assert created[method("CreateDefaultWorkflowTrigger")]["triggerType"] == "None"
    assert created[method("CreateDefaultWorkflowWaitForAction")]["actionType"] == "None"
    assert created[method("CreateDefaultWorkflowStepFromType")]["stepType"] == "SendEmail"
    assert created[method("CreateDefaultWorkflowStepOptionFromType")]["optionType"] == "FormData"
    flow = created[method("CreateDefaultEmailFlow")]
    assert (flow["status"], flow["fromType"], flow["replyToType"]) == (
        *("Stopped", "FromOnlySpecified", "ReplyToOnlySpecified"),
    )
    assert flow["selectedDays"] == 0
    assert flow["filter"] == BLANK | {"restrictionGroups": []}


SCHEMES: list[tuple[list[list[str]], dict[str, str]]] = [
    ([BASIC], {"scheme": "basic", "username": "sandbox", "password": "sandbox"}),
    (
        [["authenticateWithTicket", "7T:abc=="], ["applicationToken", "app"]],
        {"scheme": "ticket", "ticket": "7T:abc==", "app_token": "app"},
    ),
    ([["authenticateWithToken", "8A:Cust12345.abc"]], {"scheme": "bearer", "token": "8A:Cust12345.abc"}),
]
DIFFERENT = {
    "user-agent": "each says who it is",
    "content-type": "the bridge names the charset, as SuperOffice's page on SendEvent does",
    "accept-encoding": "the bridge asks for no compression",
    "connection": "HTTP/1.1 keeps connections without being told",
    "so-browser-tz-offset": "the bridge is no browser, and the page knows no such header",
}


async def test_the_bridge_sends_the_headers_that_the_client_sends() -> None:
    request = {"languageCode": "nb", "cultureCode": "nb-NO", "timezone": "W. Europe Standard Time"}
    settings = {
        "accept_language": "nb",
        "language": "nb",
        "culture": "nb-NO",
        "time_zone": "W. Europe Standard Time",
    }
    async with playing(Call.answer) as server:
        place = server.url.removesuffix("/crm/api")
        jobs = [
            {"options": {"baseUrl": f"{place}/crm/api"}, "authorization": credentials, "event": EVENT, "request": asked}
            for credentials, _ in SCHEMES
            for asked in (None, request)
        ]
        await client(*jobs)
        theirs = list(server.calls)
        for _, authorization in SCHEMES:
            for more in ({}, settings):
                async with opened(server.url, authorization=authorization, **more) as crm:
                    await crm.send(claim(str(EVENT["attributes"])))
        ours = server.calls[len(theirs) :]

    assert len(ours) == len(theirs) == 2 * len(SCHEMES)
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.head.split("\r\n")[0] == its.head.split("\r\n")[0]
        names = mine.headers.keys() | its.headers.keys()
        assert {name for name in names if mine.headers.get(name) != its.headers.get(name)} == DIFFERENT.keys()
        assert mine.headers["content-type"] == its.headers["content-type"] + "; charset=utf-8"
        assert mine.headers["accept-encoding"] == "identity"
        assert not mine.headers.keys() & {"connection", "so-browser-tz-offset"}
        assert in_lower_case(json.loads(mine.body)) == in_lower_case(json.loads(its.body))
    assert any("so-apptoken" in call.headers for call in ours)


def in_lower_case(value: Any) -> Any:
    """JSON with its names in lower case, as they count in any."""
    if not isinstance(value, dict):
        return value
    return {name.lower(): in_lower_case(member) for name, member in value.items()}
