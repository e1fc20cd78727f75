"""What vendors publish as genuine is answered 202 by a running bridge, what they publish as forged 401."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from receiving.verification.test_vectors import VECTORS, body, verify
from running import Bridge, Superoffice

from bridge.receiving.senders.catalog import SENDERS

_FAR = "36500d"  # the vectors are years old


def source(vector: dict[str, Any]) -> str:
    """`sources/*.yaml` for the sender of a vector."""
    url = {"public_url": vector["url"]} if "url" in vector else {}
    return json.dumps({"verify": verify(vector) | {"tolerance": _FAR}, "rules": [], **url})


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> Bridge:
    sources = {f"vector-{number}": source(vector) for number, vector in enumerate(VECTORS)}
    return make_bridge({"crm": sandbox.target("vectors")}, sources).start()


def test_published_vectors_are_accepted_exactly_if_they_are_valid(bridge: Bridge) -> None:
    valid = {f"vector-{number}" for number, vector in enumerate(VECTORS) if vector["valid"]}
    assert len(valid) == 35
    for number, vector in enumerate(VECTORS):
        name = f"vector-{number}"
        answer = bridge.client.request(
            vector.get("method", "POST"), f"/webhooks/{name}", content=body(vector), headers=vector["headers"]
        )
        accepted = SENDERS[verify(vector)["scheme"]].status
        assert answer.status_code == (accepted if vector["valid"] else 401), (name, vector["scheme"], answer.text)
    assert {webhook["source"] for webhook in bridge.webhooks()} == valid
