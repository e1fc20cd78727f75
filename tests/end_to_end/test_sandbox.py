"""`bridge sandbox` as a process, asked as with curl."""

import signal
import socket

import httpx
from running import HANG, NO_TLS, superoffice

from .conftest import Command

_SEND_EVENT = "/crm/api/v1/Agents/Workflow/SendEvent"
_EVENT = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "sale=17"}}


def test_it_takes_events_lists_them_and_shows_faults() -> None:
    with superoffice(0, "--fault", "503 retry-after=1", "--fault", "401 tenant=other") as sandbox:
        with httpx.Client(
            base_url=sandbox.url, auth=("sandbox", "sandbox"), trust_env=False, verify=NO_TLS, timeout=HANG
        ) as client:
            unavailable = client.post(_SEND_EVENT, json=_EVENT)
            assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "1")
            taken = client.post(_SEND_EVENT, json=_EVENT)
            assert taken.status_code == 200
            assert taken.json()["EventType"] == "SaleSold"
            assert client.post(_SEND_EVENT, json=_EVENT["WorkflowEvent"]).json()["Error"] is True
            assert client.post(_SEND_EVENT, json=_EVENT, auth=("sandbox", "guess")).status_code == 401
            (event,) = client.get("/sandbox/events").json()
            assert (event["tenant"], event["event_type"], event["attributes"]) == ("crm", "SaleSold", "sale=17")
            assert "sandbox:sandbox" not in str(event)
            assert client.get("/sandbox/requests").json() == {"crm": {"503": 1, "200": 1, "400": 1, "401": 1}}
            assert [fault["tenant"] for fault in client.get("/sandbox/faults").json()] == ["other"]
            assert client.post("/sandbox/faults", json=[{"fault": "melt"}]).status_code == 400
        sandbox.process.send_signal(signal.SIGTERM)
        assert sandbox.process.wait(HANG) == 0


def test_a_fault_that_is_none_is_told_with_those_there_are(command: Command) -> None:
    code, out, err = command("sandbox", "--port", "0", "--fault", "melt")
    assert (code, out) == (1, "")
    assert err.startswith("bridge: fault 'melt': ")
    assert "cut-after" in err


def test_a_port_that_is_taken_is_told(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, _, err = command("sandbox", "--port", str(port))
    assert code == 1
    assert err.startswith(f"bridge: cannot listen on 127.0.0.1:{port}: ")
