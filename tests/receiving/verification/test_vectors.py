"""What vendors publish as genuine is accepted, what they publish as forged is not. Nobody here computed these."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotVerified

from .support import NOW, compiled, request

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))

SCHEMES = {"jira-hmac": "jira", "hubspot-v1": "hubspot", "hubspot-v2": "hubspot", "hubspot-v3": "hubspot"}
OTHER = "YW5vdGhlcg=="  # a key of every form
NAMES = [f"{index}-{vector['scheme']}" for index, vector in enumerate(VECTORS)]


def verify(vector: dict[str, Any], *secrets: str) -> dict[str, Any]:
    """The `verify` of a source whose sender made the vector."""
    return {"scheme": SCHEMES.get(vector["scheme"], vector["scheme"]), "secrets": [*secrets, vector["secret"]]}


def body(vector: dict[str, Any]) -> bytes:
    repeated = vector.get("body_repeat")
    text: str = repeated["char"] * repeated["count"] if repeated else vector["body"]
    return text.encode()


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_a_published_vector_is_accepted_exactly_if_it_is_valid(vector: dict[str, Any]) -> None:
    another = [] if vector["scheme"] == "sendgrid" else [OTHER]  # there, it would have to be a public key
    verifier = compiled(verify(vector, *another), vector.get("url", ""))
    now = vector.get("timestamp", NOW // 1000) * 1000
    sent = request(body(vector), vector["headers"], method=vector.get("method", "POST"))

    if not vector["valid"]:
        with pytest.raises(NotVerified):
            verifier.verify(sent, now)
        return
    webhook = verifier.verify(sent, now)
    assert webhook.body == body(vector)
    assert webhook.secret == len(another) + 1


def test_all_the_vectors_are_here() -> None:
    assert len(VECTORS) == 52
