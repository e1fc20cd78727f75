"""What vendors publish as genuine is accepted, what they publish as forged is not. Nobody here computed these."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotVerified

from .support import NOW, compiled, request

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))

HUB = {"header": "X-Hub-Signature", "prefix": "sha256="}
KEYED = {"signed": ["item:t", "lit:.", "body"], "timestamp": "item:t", "item": "v1", "separator": ","}
SPELLED_OUT: dict[str, dict[str, Any]] = {
    "bitbucket": HUB,
    "jira-hmac": HUB,
    "svix": {
        "header": "svix-signature",
        "separator": " ",
        "prefix": "v1,",
        "encoding": "base64",
        "signed": ["header:svix-id", "lit:.", "header:svix-timestamp", "lit:.", "body"],
        "timestamp": "header:svix-timestamp",
        "key": "whsec",
        "delivery_id": "header:svix-id",
    },
    "paddle": {
        "header": "Paddle-Signature",
        "separator": ";",
        "item": "h1",
        "signed": ["item:ts", "lit::", "body"],
        "timestamp": "item:ts",
    },
    "pagerduty": {"header": "X-PagerDuty-Signature", "separator": ",", "prefix": "v1="},
    "notion": {"header": "X-Notion-Signature", "prefix": "sha256="},
    "mux": {"header": "Mux-Signature", **KEYED},
    "razorpay": {"header": "X-Razorpay-Signature"},
}
OTHER = "YW5vdGhlcg=="  # a key of every form
NAMES = [f"{index}-{vector['scheme']}" for index, vector in enumerate(VECTORS)]


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_a_published_vector_is_accepted_exactly_if_it_is_valid(vector: dict[str, Any]) -> None:
    scheme = vector["scheme"]
    spelled = {"scheme": "hmac", **SPELLED_OUT[scheme]} if scheme in SPELLED_OUT else {"scheme": scheme}
    verifier = compiled({**spelled, "secrets": [OTHER, vector["secret"]]})
    repeated = vector.get("body_repeat")
    body = (repeated["char"] * repeated["count"] if repeated else vector["body"]).encode()
    now = vector.get("timestamp", NOW // 1000) * 1000

    if not vector["valid"]:
        with pytest.raises(NotVerified):
            verifier.verify(request(body, vector["headers"]), now)
        return
    webhook = verifier.verify(request(body, vector["headers"]), now)
    assert webhook.body == body
    assert webhook.secret == 2
