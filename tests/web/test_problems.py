"""Which error is which answer."""

import ast
import json
from http import HTTPStatus
from pathlib import Path

import pytest

from bridge.errors import BridgeError, KeyUnavailable, NotVerified, Refused, StoreError, StoreUnavailable
from bridge.web import problems
from bridge.web.protocol.heads import VERSION_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotVerified("signature_mismatch"), 401),
        (KeyUnavailable("key_unavailable"), 503),
        (Refused("body_too_large", "the body is larger than 5 bytes"), 413),
        (Refused("content_encoding", "send the body plain"), 415),
        (Refused("too_many_webhooks", "too many webhooks", 0.2), 429),
        (Refused("body_too_slow", "the body did not arrive within 30 s"), 408),
        (StoreUnavailable("OperationalError: disk I/O error"), 503),
        (StoreError("there is no webhook wh_1"), 503),
        (BridgeError("confidential"), 503),
    ],
)
def test_every_error_has_its_answer(error: BridgeError, status: int) -> None:
    found, headers, body = problems.for_error(error, 'Signature realm="webhooks"')
    content = json.loads(body)
    assert (found, content["status"], content["title"]) == (status, status, HTTPStatus(status).phrase)
    assert (content["type"], bool(content["detail"]), len(content)) == ("about:blank", True, 4)
    fields = dict(headers)
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"content-length"] == str(len(body)).encode()
    assert fields.get(b"retry-after") == {503: b"5", 429: b"1"}.get(status)
    assert fields.get(b"www-authenticate") == {401: b'Signature realm="webhooks"'}.get(status)
    assert fields.get(b"accept-encoding") == {415: b"gzip, deflate, br, zstd"}.get(status)
    for told in ("signature", "disk", "wh_1", "confidential"):
        assert told not in body.decode()


def test_every_reason_of_a_refusal_has_its_status_and_no_other() -> None:
    root = Path(problems.__file__).parents[1]
    raised = {
        node.args[0].value
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
        if isinstance(node.args[0], ast.Constant)
    }
    assert {*raised, VERSION_NOT_SUPPORTED} == set(problems.REFUSALS)
