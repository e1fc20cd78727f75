"""The peers in Python: a view that posts at once, and one that leaves it to a queue in SQLite.

It runs in the environment of requirements.txt, where nothing of the bridge is installed.
"""
# mypy: disable-error-code="import-not-found, import-untyped"
# What is imported here is not installed where mypy runs.

import hashlib
import hmac
import os
from collections.abc import Callable

import requests
from flask import Flask, Response, request
from huey import SqliteHuey
from requests.adapters import HTTPAdapter

_SECRET = os.environ["SECRET"].encode()
_URL = os.environ["STUB_URL"]
_USER, _, _PASSWORD = os.environ["CREDENTIALS"].partition(":")
_THREADS = 32  # as many as gunicorn has

_session = requests.Session()
_session.auth = (_USER, _PASSWORD)
_session.trust_env = False  # no proxy, no .netrc: they would be looked up for every request
_session.mount("http://", HTTPAdapter(pool_maxsize=_THREADS))

# fsync, since the bridge too answers only once a webhook is on the disk; no results, since nobody reads them.
queue = SqliteHuey(filename="queue.db", fsync=True, results=False)


def send(attributes: str) -> None:
    """POST an event to SuperOffice."""
    event = {"WorkflowEvent": {"EventType": "SaleSold", "Attributes": attributes}}
    _session.post(_URL, json=event, headers={"Accept": "application/json"}, timeout=30).raise_for_status()


send_later = queue.task()(send)


def _receive(deliver: Callable[[str], object]) -> Response:
    expected = "sha256=" + hmac.new(_SECRET, request.get_data(), hashlib.sha256).hexdigest()
    given = request.headers.get("X-Hub-Signature-256", "")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        return Response(status=401)
    body = request.get_json()
    if request.headers.get("X-GitHub-Event") == "push" and body["ref"].startswith("refs/heads/"):
        attributes = {
            "repository": body["repository"]["full_name"],
            "ref": body["ref"],
            "pusher": body["pusher"]["name"],
            "commit": body["head_commit"]["id"],
            "commits": len(body["commits"]),
        }
        deliver(";".join(f"{name}={value}" for name, value in attributes.items()))
    return Response(status=202)


def _app(deliver: Callable[[str], object]) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/webhooks/github", "webhook", lambda: _receive(deliver), methods=["POST"])
    return app


def inline() -> Flask:
    """The application that answers after SuperOffice has."""
    return _app(send)


def queued() -> Flask:
    """The application that answers once the queue has the event; `huey_consumer` sends it."""
    return _app(send_later)
