"""How a bridge starts, stops and starts again, and that one store has one bridge."""

import signal
import socket
import time
from collections.abc import Callable

import httpx
import pytest
from running import HANG, Bridge, Superoffice, by_github, eventually

from .test_delivery import ISSUES, got, issue


def hanging(sandbox: Superoffice, tenant: str) -> bool:
    """Whether a request of this tenant is in flight, and stays so until the faults are cleared."""
    return bool(sandbox.requests(tenant).get("hang"))


def accepted(bridge: Bridge, number: int) -> str:
    """The id of the one event of an accepted webhook."""
    answer = bridge.post("github", issue(number), by_github(issue(number), f"n-{number}"))
    assert answer.status_code == 202
    (event_id,) = answer.json()["events"]
    return str(event_id)


def test_sigterm_drains_and_the_next_start_goes_on(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    assert any(drains_and_goes_on(make_bridge, sandbox, grace) for grace in (1, 4, 16, 64))


def drains_and_goes_on(make_bridge: Callable[..., Bridge], sandbox: Superoffice, grace: int) -> bool:
    """Whether all was as it should be; False says that this machine was too slow for so many seconds of grace."""
    tenant = f"drained-{grace}"
    target = sandbox.target(tenant, max_in_flight=1)
    drain = {"grace": f"{grace}s", "timeout": f"{HANG:g}s"}
    bridge = make_bridge({"crm": target}, {"github": ISSUES}, drain=drain).start()
    sandbox.script(tenant, {"fault": "hang"})
    in_flight = accepted(bridge, 1)
    eventually(lambda: hanging(sandbox, tenant))

    bridge.send_signal(signal.SIGTERM)
    signalled = time.monotonic()
    eventually(lambda: bridge.client.get("/readyz").status_code == 503)
    assert bridge.admin.get("/readyz").json() == {"ready": False, "reasons": ["the bridge is stopping"]}
    assert bridge.client.get("/healthz").status_code == 200
    answer = bridge.post("github", issue(2), by_github(issue(2), "n-2"))
    if time.monotonic() - signalled >= grace:
        return False
    assert answer.status_code == 202
    (waiting,) = answer.json()["events"]

    def refusal() -> httpx.Response | None:
        answer = bridge.post("github", issue(3), by_github(issue(3), "n-3"))
        return answer if answer.status_code == 503 else None

    refused = eventually(refusal)
    assert refused is not None
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"] == "application/problem+json"
    assert time.monotonic() - signalled >= grace
    assert bridge.process is not None
    assert bridge.process.poll() is None, "an attempt is still in flight"
    sandbox.clear()
    assert bridge.ended() == 0

    states = {event["id"]: event["state"] for event in bridge.events()}
    assert states[in_flight] == "delivered"
    assert states[waiting] == "pending"
    assert bridge.lines()[-1]["event"] == "bridge.stopped"
    assert bridge.lines()[-1]["unfinished"] == 0
    bridge.start()
    assert {event["state"] for event in bridge.settled()} == {"delivered"}
    assert got(sandbox, tenant) == dict.fromkeys((event["id"] for event in bridge.events()), 1)
    return True


def test_a_second_signal_ends_at_once_and_the_attempt_is_known_as_unknown(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge(
        {"crm": sandbox.target("cut-short")}, {"github": ISSUES}, drain={"grace": "60s", "timeout": "60s"}
    ).start()
    sandbox.script("cut-short", {"fault": "hang"})
    event_id = accepted(bridge, 1)
    eventually(lambda: hanging(sandbox, "cut-short"))

    bridge.send_signal(signal.SIGTERM)
    eventually(lambda: bridge.client.get("/readyz").status_code == 503)
    assert bridge.process is not None
    assert bridge.process.poll() is None
    assert bridge.stop(signal.SIGINT) == 1

    sandbox.clear()
    assert [event["state"] for event in bridge.events()] == ["sending"]
    bridge.start()
    assert [event["state"] for event in bridge.settled()] == ["delivered"]
    first, second = bridge.event(event_id)["attempts"]
    assert (first["outcome"], second["outcome"]) == ("unknown", "delivered")
    assert first["detail"].startswith("the bridge ended during the attempt")


def test_attempts_that_outlast_the_drain_are_left_for_the_next_start(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge(
        {"crm": sandbox.target("outlasted")}, {"github": ISSUES}, drain={"grace": "0ms", "timeout": "200ms"}
    ).start()
    sandbox.script("outlasted", {"fault": "hang"})
    accepted(bridge, 1)
    eventually(lambda: hanging(sandbox, "outlasted"))
    assert bridge.stop() == 0
    assert bridge.lines()[-1]["unfinished"] == 1
    assert [event["state"] for event in bridge.events()] == ["sending"]
    sandbox.clear()


def test_a_store_belongs_to_one_bridge(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    target = sandbox.target("owned")
    first = make_bridge({"crm": target}, {"github": ISSUES}).start()
    store = {"url": f"sqlite:///{first.store}"}
    second = make_bridge({"crm": target}, {"github": ISSUES}, store=store)
    second.spawn()
    assert second.ended() == 1
    told = (second.root / "bridge.err").read_text()
    assert told == (
        f"bridge: {first.store} belongs to a running bridge, stop it first or give this one a store of its own\n"
    )
    assert "bridge.started" not in second.log.read_text()
    migrating = second.run("migrate")
    assert (migrating.returncode, migrating.stderr) == (1, told)
    accepted(first, 1)
    assert [event["state"] for event in first.settled()] == ["delivered"]


def test_a_port_that_is_taken_is_told(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    bridge = make_bridge({"crm": sandbox.target("taken")}, {"github": ISSUES})
    with socket.create_server(("127.0.0.1", bridge.port)):
        bridge.spawn()
        assert bridge.ended() == 1
    told = (bridge.root / "bridge.err").read_text()
    assert told.startswith(f"bridge: cannot listen on 127.0.0.1:{bridge.port}: ")


@pytest.mark.parametrize(("value", "said"), [(None, "is not set"), ("", "empty")], ids=["unset", "empty"])
def test_a_missing_secret_refuses_to_start_and_says_where(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice, value: str | None, said: str
) -> None:
    bridge = make_bridge({"crm": sandbox.target("refused")}, {"github": ISSUES})
    bridge.environment.pop("SECRET")
    if value is not None:
        bridge.environment["SECRET"] = value
    bridge.spawn()
    assert bridge.ended() == 1
    lines = (bridge.root / "bridge.err").read_text().splitlines()
    (told,) = [line for line in lines if not line.startswith("warning: ")]  # one mistake is told once
    assert told.startswith(f"error: {bridge.config}/sources/github.yaml:2:")
    assert "verify.secrets" in told
    assert said in told
    assert not bridge.store.exists()
