"""The peers in Python: a view that posts at once, and one that leaves it to a queue in SQLite.

It runs in the environment of requirements.txt, where nothing of the bridge is installed.
"""
# mypy: disable-error-code="import-not-found, import-untyped"
# What is imported here is not installed where mypy runs.

import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Callable

import requests
from flask import Flask, Response, request
from huey import SqliteHuey
from requests.adapters import HTTPAdapter

_SECRET = os.environ["SECRET"].encode()
_URL = os.environ["STUB_URL"]
_USER, _, _PASSWORD = os.environ["CREDENTIALS"].partition(":")
_THREADS = 32  # as many as gunicorn has
_MOST_SEEN = 100_000
_seen: dict[str, None] = {}  # delivery ids, the oldest first

_session = requests.Session()
_session.auth = (_USER, _PASSWORD)
_session.trust_env = False  # no proxy, no .netrc: they would be looked up for every request
_session.mount("http://", HTTPAdapter(pool_maxsize=_THREADS))

# fsync, since the bridge too answers only once a webhook is on the disk; no results, since nobody reads them.
queue = SqliteHuey(filename="queue.db", fsync=True, results=False)


def _tell(event: str, **fields: object) -> None:
    """A line of JSON, as the bridge logs it."""
    print(json.dumps({"event": event, **fields, "timestamp": time.time()}), flush=True)


def send(webhook_id: str, event_id: str, attributes: str) -> None:
    """POST an event to SuperOffice, and tell what came of it."""
    event = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": attributes}}
    began = time.time()
    response = _session.post(_URL, json=event, headers={"Accept": "application/json"}, timeout=30)
    delivered = response.status_code == 200 and "EventType" in response.json()
    its = {"event_id": event_id, "webhook_id": webhook_id, "source": "github", "rule": "push", "target": "crm"}
    outcome, seconds = "delivered" if delivered else "failed", time.time() - began
    _tell("attempt.finished", **its, outcome=outcome, status=response.status_code, duration_ms=seconds * 1000)
    _tell("event.delivered" if delivered else "event.dead", **its, attempts=1, seconds=seconds)


send_later = queue.task()(send)


def _receive(deliver: Callable[[str, str, str], object]) -> Response:
    expected = "sha256=" + hmac.new(_SECRET, request.get_data(), hashlib.sha256).hexdigest()
    given = request.headers.get("X-Hub-Signature-256", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        return Response(status=401)
    webhook_id, delivery = str(uuid.uuid4()), request.headers.get("X-GitHub-Delivery", "")
    body = request.get_json()
    matches = request.headers.get("X-GitHub-Event") == "push" and not body["deleted"]
    state = "duplicate" if delivery in _seen else "mapped" if matches else "ignored"
    _seen[delivery] = None
    if len(_seen) > _MOST_SEEN:
        del _seen[next(iter(_seen))]
    _tell("webhook.accepted", webhook_id=webhook_id, source="github", state=state, client=request.remote_addr)
    if state == "mapped":
        event_id = str(uuid.uuid4())
        attributes = {
            "repository": body["repository"]["full_name"],
            "ref": body["ref"],
            "pusher": body["pusher"]["name"],
            "commit": f"{body['head_commit']['id']} by {body['head_commit']['author']['name']}",
            "bridge_id": event_id,
        }
        deliver(webhook_id, event_id, ";".join(f"{name}={value}" for name, value in attributes.items()))
    return Response(status=202)


def _app(deliver: Callable[[str, str, str], object]) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/webhooks/github", "webhook", lambda: _receive(deliver), methods=["POST"])
    return app


def inline() -> Flask:
    """The application that answers after SuperOffice has."""
    return _app(send)


def queued() -> Flask:
    """The application that answers once the queue has the event; `huey_consumer` sends it."""
    return _app(send_later)
