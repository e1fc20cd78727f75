"""What vendors publish as genuine is answered 202 by a running bridge, what they publish as forged 401."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from receiving.verification.test_vectors import SPELLED_OUT, VECTORS
from running import Bridge, Superoffice

from bridge.receiving.verification.recipes import RECIPES

_FAR = "36500d"  # the vectors are years old


def source(vector: dict[str, Any]) -> str:
    """`sources/*.yaml` for the sender of a vector."""
    scheme = vector["scheme"]
    verify = {"scheme": "hmac", **SPELLED_OUT[scheme]} if scheme in SPELLED_OUT else {"scheme": scheme}
    verify["secrets"] = [vector["secret"]]
    if "timestamp" in verify or (scheme in RECIPES and RECIPES[scheme].timestamp):
        verify["tolerance"] = _FAR
    return json.dumps({"verify": verify, "rules": []})


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> Bridge:
    sources = {f"vector-{number}": source(vector) for number, vector in enumerate(VECTORS)}
    return make_bridge({"crm": sandbox.target("vectors")}, sources).start()


def test_published_vectors_are_accepted_exactly_if_they_are_valid(bridge: Bridge) -> None:
    valid = {f"vector-{number}" for number, vector in enumerate(VECTORS) if vector["valid"]}
    assert {VECTORS[int(name.removeprefix("vector-"))]["scheme"] for name in valid} >= {
        "github",
        "standard-webhooks",
        "slack",
    }
    for number, vector in enumerate(VECTORS):
        repeated = vector.get("body_repeat")
        body = (repeated["char"] * repeated["count"] if repeated else vector["body"]).encode()
        answer = bridge.post(f"vector-{number}", body, vector["headers"])
        assert answer.status_code == (202 if vector["valid"] else 401), (number, vector["scheme"], answer.text)
    assert {webhook["source"] for webhook in bridge.webhooks()} == valid
