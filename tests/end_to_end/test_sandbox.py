"""`bridge sandbox` as a process, asked as with curl."""

import signal
from pathlib import Path

import httpx
from running import run, superoffice

_SEND_EVENT = "/crm/api/v1/Agents/Workflow/SendEvent"
_EVENT = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "sale=17"}}


def test_it_takes_events_lists_them_and_shows_faults() -> None:
    with superoffice(0, "--fault", "503 retry-after=1", "--fault", "401 tenant=other") as sandbox:
        with httpx.Client(base_url=sandbox.url, auth=("sandbox", "sandbox"), trust_env=False) as client:
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
        assert sandbox.process.wait(10) == 0


def test_a_fault_that_is_none_is_told_with_those_there_are() -> None:
    done = run("sandbox", "--port", "0", "--fault", "melt")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bridge: fault 'melt': ")
    assert "cut-after" in done.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with superoffice() as sandbox:
        port = sandbox.url.rpartition(":")[2]
        done = run("sandbox", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"bridge: cannot listen on 127.0.0.1:{port}: ")
