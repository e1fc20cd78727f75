"""`bridge secrets`: what a sender handed over is shown to the operator once, and to nobody else."""

import hashlib
import hmac
import json
from collections.abc import Callable

from running import Bridge

HANDED_OVER = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
REGISTERING = 'verify: {scheme: asana, secrets: ["${ASANA_SECRET:-}"]}\nregistering: true\nrules: []\n'
REGISTERED = REGISTERING.replace("registering: true\n", "")
TARGETS = {
    "crm": {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "basic", "username": "u", "password": "p"}}
}


def test_a_secret_is_handed_over_read_once_and_then_verifies(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(TARGETS, {"asana": REGISTERING}).start()
    answer = bridge.post("asana", b"{}", {"X-Hook-Secret": HANDED_OVER})
    assert (answer.status_code, answer.headers["x-hook-secret"]) == (200, HANDED_OVER)
    body = b'{"events":[]}'
    signed = {"X-Hook-Signature": hmac.new(HANDED_OVER.encode(), body, hashlib.sha256).hexdigest()}
    assert bridge.post("asana", body, signed).status_code == 401

    shown = bridge.run("secrets", "asana")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert HANDED_OVER in shown.stdout.splitlines()
    assert "from 127.0.0.1 at " in shown.stdout
    again = bridge.run("secrets", "asana")
    assert (again.returncode, again.stdout) == (1, "")
    assert "there is no secret for source asana that nobody has read yet" in again.stderr

    assert bridge.stop() == 0
    bridge.environment["ASANA_SECRET"] = HANDED_OVER
    bridge.write_source("asana", REGISTERED)
    bridge.start()
    assert bridge.post("asana", b"{}", {"X-Hook-Secret": "another"}).status_code == 403
    assert bridge.post("asana", body, signed).status_code == 200
    assert [webhook["source"] for webhook in bridge.webhooks()] == ["asana"]

    bridge.told("operator.changed", action="secrets")
    everything = bridge.log.read_text() + bridge.admin.get("/metrics").text
    everything += bridge.admin.get("/api/webhooks").text + bridge.run("explain", bridge.webhooks()[0]["id"]).stdout
    assert HANDED_OVER not in everything
    (line,) = [line for line in bridge.lines() if line["event"] == "operator.changed"]
    assert (line["action"], line["source"], line["secrets"]) == ("secrets", "asana", 1)
    assert 'bridge_handshakes_total{outcome="answered",source="asana"} 1.0' not in everything, "that run has ended"
    assert 'bridge_handshakes_total{outcome="not_registering",source="asana"} 1.0' in everything
    kept = b"".join(path.read_bytes() for path in (bridge.root / "var").iterdir())
    assert b"X-Hook-Secret" not in kept


def test_secrets_are_read_without_a_running_bridge_too(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(TARGETS, {"asana": REGISTERING}).start()
    for secret in ("one", "two"):
        bridge.post("asana", b"", {"X-Hook-Secret": secret})
    assert oct(bridge.store.stat().st_mode & 0o777) == "0o600"
    assert bridge.stop() == 0
    shown = json.loads(bridge.run("secrets", "asana", "--json").stdout)
    assert [one["secret"] for one in shown] == ["one", "two"]
    assert {*shown[0]} == {"secret", "client", "received_at"}
    told = bridge.run("secrets", "asana", "--json")
    assert (told.returncode, told.stdout) == (1, "")
    told = bridge.run("secrets", "asama")
    assert (told.returncode, told.stdout) == (1, "")
    assert "there is no source asama, did you mean asana? the sources are asana" in told.stderr
