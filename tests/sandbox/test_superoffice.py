"""The sandbox as a client sees it: on a real socket, on both event loops that it may run on."""

import asyncio
import json
import re
import shlex
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from running import HANG, NO_TLS, Stopwatch

from bridge.sandbox.faults import FAULTS, parse_fault
from bridge.sandbox.superoffice import Sandbox, application, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

SEND_EVENT = "/api/v1/Agents/Workflow/SendEvent"
DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"
HTML = "text/html; charset=utf-8"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(now=lambda: 1_764_003_600_000)


@pytest.fixture
async def client(sandbox: Sandbox, anyio_backend: object) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(sandbox) as url,
        httpx.AsyncClient(base_url=url, auth=("sandbox", "sandbox"), verify=NO_TLS, timeout=HANG) as client,
    ):
        yield client


async def send(
    client: httpx.AsyncClient, attributes: str = "a=1", *, tenant: str = "", patience: float = 10
) -> httpx.Response:
    body = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": attributes}}
    return await client.post(tenant + SEND_EVENT, json=body, timeout=patience)


def taken(sandbox: Sandbox, tenant: str | None = None) -> list[str | None]:
    return [event.attributes for event in sandbox.events(tenant)]


async def counted(client: httpx.AsyncClient, answer: str) -> None:
    """Ask until a request was counted with this answer."""
    while answer not in (await client.get("/sandbox/requests")).json().get("default", {}):
        pass


# The usual answer


async def test_an_event_is_answered_with_a_result_and_recorded(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    answer = await send(client, "sale=17", tenant="/crm")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["EventType"] == "SaleSold"
    assert answer.json()["Attributes"] == "number=1"
    assert answer.json()["TableRight"] is not None
    assert answer.json()["FieldProperties"] is not None
    (event,) = (await client.get("/sandbox/events")).json()
    headers = event.pop("headers")
    assert event == {
        "number": 1,
        "tenant": "crm",
        "event_type": "SaleSold",
        "attributes": "sale=17",
        "received_at": 1_764_003_600_000,
        "select": None,
    }
    assert headers["authorization"] == "Basic ***"
    assert headers["content-type"] == "application/json"


async def test_select_leaves_the_named_properties_and_nulls_the_others(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    answer = await client.post(
        SEND_EVENT + "?$select=EventType,%20attributes", json={"WorkflowEvent": {"EventType": "Run"}}
    )
    assert answer.json() == {
        "EventType": "Run",
        "Attributes": "number=1",
        "TableRight": None,
        "FieldProperties": None,
    }
    assert sandbox.events()[0].select == "EventType, attributes"


async def test_tenants_are_kept_apart_by_what_stands_before_api(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    for tenant in ("", "/crm", "/a/b", "/crm"):
        await send(client, tenant, tenant=tenant)
    assert [(event.number, event.tenant) for event in sandbox.events()] == [
        (1, "default"),
        (2, "crm"),
        (3, "a/b"),
        (4, "crm"),
    ]
    listed = (await client.get("/sandbox/events", params={"tenant": "crm"})).json()
    assert [event["number"] for event in listed] == [2, 4]
    assert (await client.get("/sandbox/requests")).json() == {
        "default": {"200": 1},
        "crm": {"200": 2},
        "a/b": {"200": 1},
    }


async def test_deleted_events_are_gone_and_numbers_start_anew(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    await send(client, "old")
    assert (await client.delete("/sandbox/events")).status_code == 204
    await send(client, "new")
    assert [(event.number, event.attributes) for event in sandbox.events()] == [(1, "new")]


async def test_a_body_of_more_than_4_mib_is_refused(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    fits = 4 * 1024 * 1024 - len('{"WorkflowEvent":{"EventType":"SaleSold","Attributes":""}}')
    assert (await send(client, "x" * fits)).status_code == 200
    assert (await send(client, "x" * (fits + 1))).status_code == 413
    assert len(sandbox.events()) == 1


async def test_a_long_url_is_refused(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    assert (await send(client, tenant="/" + "t" * 2048)).status_code == 414
    assert (await client.post(SEND_EVENT + "?" + "q" * 2048, json={})).status_code == 414
    assert sandbox.events() == []


async def test_other_methods_and_paths_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.put("/crm" + SEND_EVENT)).status_code == 405
    assert (await client.post("/crm/api/v1/Agents/Workflow/Other")).status_code == 404


async def test_refused_requests_are_counted_but_not_recorded(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    carrier = {"EventType": "SaleSold"}
    assert (await client.post(SEND_EVENT, json=carrier)).json()["ErrorType"] == "ArgumentException"
    assert (await client.post(SEND_EVENT, json=carrier, auth=("sandbox", "wrong"))).status_code == 401
    assert (await client.post(SEND_EVENT, data=carrier)).status_code == 415
    assert sandbox.events() == []
    assert sandbox.requests == {"default": {"400": 1, "401": 1, "415": 1}}


# Faults that are answers


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ("401", 401, "application/json; charset=utf-8", b'"Error":true'),
        ("403", 403, "application/json; charset=utf-8", b'"Error":true'),
        ("404", 404, "application/json; charset=utf-8", b'"Error":true'),
        ("408", 408, HTML, b"408 Request Timeout"),
        ("421", 421, HTML, b"421 Misdirected Request"),
        ("429", 429, HTML, b"429 Too Many Requests"),
        ("500", 500, "application/json; charset=utf-8", b'"Error":true'),
        ("502", 502, HTML, b"502 Bad Gateway"),
        ("503", 503, HTML, b"503 Service Unavailable"),
        ("504", 504, HTML, b"504 Gateway Timeout"),
        ("599", 599, HTML, b"599 Unknown"),
        ("null", 200, "application/json; charset=utf-8", b"null"),
        ("error", 200, "application/json; charset=utf-8", b'"Error":true'),
        ("rejected", 400, "application/json; charset=utf-8", b'"ErrorType":"ArgumentException"'),
        ("html404", 404, HTML, b"404 Not Found"),
        ("html200", 200, HTML, b"<html>"),
    ],
)
async def test_a_fault_is_answered_instead_of_the_result(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: str, status: int, content_type: str, body: bytes
) -> None:
    sandbox.script.add([fault])
    answer = await send(client)
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    assert body in answer.content
    assert sandbox.events() == []
    assert sandbox.requests == {"default": {fault: 1}}
    assert (await send(client)).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "coding"),
    [
        ("201", 201, "application/json; charset=utf-8", None),
        ("202", 202, "application/json; charset=utf-8", None),
        ("gzip", 200, "application/json; charset=utf-8", "gzip"),
        ("latin-1", 200, "application/json; charset=iso-8859-1", None),
        ("utf-16", 200, "application/json; charset=utf-16", None),
    ],
)
async def test_the_usual_answer_comes_in_another_guise(
    sandbox: Sandbox, client: httpx.AsyncClient, fault: str, status: int, content_type: str, coding: str | None
) -> None:
    sandbox.script.add([fault, fault])
    answer = await send(client)
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    assert answer.headers.get("content-encoding") == coding
    assert json.loads(answer.text)["Attributes"] == ("number=1;ræk=1" if fault == "latin-1" else "number=1")
    assert (await client.post(SEND_EVENT, json={})).status_code == 400
    assert len(sandbox.events()) == 1


@pytest.mark.parametrize("status", [204, 205])
async def test_a_2xx_without_a_body_took_the_event_all_the_same(
    sandbox: Sandbox, client: httpx.AsyncClient, status: int
) -> None:
    sandbox.script.add([str(status)])
    answer = await send(client)
    assert (answer.status_code, answer.content) == (status, b"")
    assert len(sandbox.events()) == 1


async def test_redirect_leads_to_a_login_page(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["redirect"])
    answer = await send(client)
    assert (answer.status_code, answer.headers["location"]) == (302, "/login")
    assert sandbox.events() == []


async def test_garbage_is_no_json(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["garbage"])
    answer = await send(client)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_huge_is_an_error_object_of_5_mb(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["huge"])
    answer = await send(client)
    assert answer.status_code == 200
    assert answer.json()["Error"] is True
    assert len(answer.content) > 5_000_000


@pytest.mark.parametrize("wait", ["1", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_retry_after_is_a_header_of_the_answer(sandbox: Sandbox, client: httpx.AsyncClient, wait: str) -> None:
    sandbox.script.add([f"503 retry-after='{wait}'"])
    assert (await send(client)).headers["retry-after"] == wait


# Faults in the manner of answering


async def test_cut_before_ends_without_an_answer_and_without_the_event(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.script.add(["cut-before"])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await send(client)
    assert sandbox.events() == []


async def test_cut_after_ends_without_an_answer_but_with_the_event(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["cut-after"])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await send(client, "once")
    assert taken(sandbox) == ["once"]


async def test_cut_middle_ends_within_the_body_and_records_the_event(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.script.add(["cut-middle"])
    body = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "once"}}
    async with client.stream("POST", SEND_EVENT, json=body) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()
    assert answer.num_bytes_downloaded == int(answer.headers["content-length"]) // 2
    assert taken(sandbox) == ["once"]


async def test_cuts_record_nothing_that_superoffice_would_refuse(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["cut-after"])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await client.post(SEND_EVENT, json={"EventType": "SaleSold"})
    assert sandbox.events() == []


async def test_hang_never_answers_and_records_nothing_when_the_client_leaves(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.script.add(["hang"])
    with pytest.raises(httpx.ReadTimeout):
        await send(client, "lost", patience=0.05)
    await send(client, "next")
    assert taken(sandbox) == ["next"]
    assert sandbox.requests == {"default": {"hang": 1, "200": 1}}


async def test_a_hanging_request_goes_on_when_the_faults_are_cleared(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    sandbox.script.add(["hang", "503*forever"])
    hanging = asyncio.ensure_future(send(client, "late"))
    await counted(client, "hang")
    assert taken(sandbox) == []
    assert (await client.delete("/sandbox/faults")).status_code == 204
    assert (await hanging).status_code == 200
    assert taken(sandbox) == ["late"]
    assert (await send(client)).status_code == 200


async def test_slow_records_at_once_and_answers_later(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["slow seconds=600", "slow seconds=600", "slow seconds=0.01"])
    with pytest.raises(httpx.ReadTimeout):
        await send(client, "1", patience=0.05)
    waiting = asyncio.ensure_future(send(client, "2"))
    while taken(sandbox) != ["1", "2"]:
        await client.get("/sandbox/requests")
    assert not waiting.done()
    sandbox.clear_faults()
    assert (await waiting).status_code == 200
    sandbox.script.add(["slow seconds=0.01"])
    assert (await send(client, "3")).status_code == 200
    assert taken(sandbox) == ["1", "2", "3"]


async def test_closing_cuts_hanging_requests_at_once(anyio_backend: object) -> None:
    sandbox = Sandbox(["hang"])
    async with httpx.AsyncClient(auth=("sandbox", "sandbox"), verify=NO_TLS, timeout=HANG) as client:
        with anyio.fail_after(5):
            async with serving(sandbox) as url:
                client.base_url = httpx.URL(url)
                hanging = asyncio.ensure_future(send(client, patience=600))
                await counted(client, "hang")
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                await hanging
            with pytest.raises(httpx.ConnectError):
                await send(client)
    assert sandbox.events() == []


async def test_closing_does_not_wait_for_a_client_that_never_ends_its_request(
    anyio_backend: object, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox = Sandbox()
    with anyio.fail_after(5):
        async with serving(sandbox) as url, httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=HANG) as client:
            address = httpx.URL(url)
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(f"POST {SEND_EVENT} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n12".encode())
            await writer.drain()
            await client.get("/sandbox/requests")
        writer.close()
    assert capfd.readouterr().err == ""


async def test_faults_leave_no_complaint_of_the_server(
    sandbox: Sandbox, client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    for fault in ("cut-before", "cut-after", "cut-middle", "hang"):
        sandbox.script.add([fault])
        with pytest.raises(httpx.TransportError):
            await send(client, patience=0.05 if fault == "hang" else 10)
    await client.get("/sandbox/requests")
    assert capfd.readouterr().err == ""


# The script


async def test_faults_are_used_up_in_order_then_the_usual_answer_is_back(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    script = [{"fault": "503", "times": 2}, {"fault": "200"}, {"fault": "null"}, {"fault": "500"}]
    assert (await client.post("/sandbox/faults", json=script)).status_code == 200
    answers = [await send(client, str(number)) for number in range(6)]
    assert [answer.status_code for answer in answers] == [503, 503, 200, 200, 500, 200]
    assert taken(sandbox) == ["2", "5"]
    assert (await client.get("/sandbox/faults")).json() == []


async def test_faults_of_a_tenant_leave_the_others_alone(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["503*forever tenant=crm", "500"])
    assert [(await send(client, tenant="/crm")).status_code for _ in range(3)] == [503, 503, 503]
    assert [(await send(client, tenant="/other")).status_code for _ in range(2)] == [500, 200]
    assert sandbox.requests == {"crm": {"503": 3}, "other": {"500": 1, "200": 1}}


async def test_the_script_is_listed_as_it_is_posted(client: httpx.AsyncClient) -> None:
    entry = {"fault": "503", "times": None, "tenant": "crm", "retry_after": 5, "seconds": None}
    await client.post("/sandbox/faults", json=[entry])
    again = await client.post("/sandbox/faults", json=(await client.get("/sandbox/faults")).json())
    assert again.json() == [entry, entry]


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"fault": "5030"}]', b'[{"fault": "503", "tymes": 2}]', b"\xff"])
async def test_a_script_that_is_none_is_refused_as_a_whole(
    sandbox: Sandbox, client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post("/sandbox/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert sandbox.script.as_json() == []


async def test_a_script_of_more_than_1_mib_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/sandbox/faults", content=b" " * (1024 * 1024 + 1))).status_code == 413


# Running it


async def test_answers_do_not_wait_for_acknowledgements(client: httpx.AsyncClient) -> None:
    """Without TCP_NODELAY an answer takes 40 ms once the kernel has left its quick start."""

    async def took() -> float:
        watch = Stopwatch()
        await send(client)
        return watch.seconds()

    assert statistics.median([await took() for _ in range(40)]) < 0.035


async def test_an_address_in_use_is_an_error(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    with pytest.raises(OSError, match="in use"):
        async with serving(Sandbox(), port=client.base_url.port or 0):
            pass


async def test_ipv6_addresses_work(anyio_backend: object) -> None:
    async with (
        serving(Sandbox(), host="::1") as url,
        httpx.AsyncClient(base_url=url, verify=NO_TLS, timeout=HANG) as client,
    ):
        assert url.startswith("http://[::1]:")
        assert (await client.get("/sandbox/events")).json() == []


async def test_the_application_runs_without_a_server_for_all_that_is_an_answer() -> None:
    transport = httpx.ASGITransport(application(Sandbox(["503"])))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://sandbox", auth=("sandbox", "sandbox"), verify=NO_TLS, timeout=HANG
    ) as client:
        assert [(await send(client)).status_code for _ in range(2)] == [503, 200]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_cleanly_on_a_signal_even_with_hanging_requests(number: signal.Signals) -> None:
    code = "from bridge.sandbox.superoffice import run; run(port=0, faults=['hang'], on_ready=print)"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().decode().strip()
        cut: list[Exception] = []

        def hang() -> None:
            try:
                httpx.post(url + SEND_EVENT, json={}, timeout=600)
            except httpx.TransportError as problem:
                cut.append(problem)

        hanging = threading.Thread(target=hang)
        hanging.start()
        while httpx.get(url + "/sandbox/requests", timeout=HANG).json() != {"default": {"hang": 1}}:
            pass
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        hanging.join(timeout=10)
        assert len(cut) == 1
        assert process.stderr.read() == b""


# The page for users


def _examples() -> list[tuple[str, str | None]]:
    """The commands of the page, each with the JSON that is shown after it."""
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return [
        (text, blocks[index + 1][1] if blocks[index + 1][0] == "json" else None)
        for index, (language, text) in enumerate(blocks)
        if language == "sh"
    ]


async def test_the_examples_of_the_page_do_what_it_shows(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    examples = _examples()
    assert len(examples) == 12
    place = f"127.0.0.1:{client.base_url.port}"
    for command, shown in examples:
        ran = await anyio.run_process(["bash", "-c", command.replace("127.0.0.1:8090", place)])
        got = ran.stdout.decode().replace(place, "127.0.0.1:8090")
        assert (json.loads(got) if shown else got) == (json.loads(shown) if shown else ""), command


def test_the_page_names_every_fault_and_its_command_lines_are_right() -> None:
    page = DOCS.read_text()
    assert [name for name in FAULTS if f"| `{name}`" not in page] == []
    commands = [shlex.split(line) for line in re.findall(r"^\$ (bridge sandbox.*)$", page, re.MULTILINE)]
    texts = [words[place + 1] for words in commands for place, word in enumerate(words) if word == "--fault"]
    texts += re.findall(r"`((?:503|slow)[^`]*)` \|$", page, re.MULTILINE)
    assert len(texts) == 7
    for text in texts:
        parse_fault(text)
