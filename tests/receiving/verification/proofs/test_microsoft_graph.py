"""The clientState of Microsoft Graph: every item must show one, not just the first."""

import json
from typing import Any

import pytest

from bridge.receiving.verification.proofs.microsoft_graph import MOST_STATES
from receiving.verification.genuine import CLIENT_STATE, refusal, verified
from receiving.verification.support import compiled, request

VERIFIER = compiled({"scheme": "microsoft-graph", "secrets": ["another state", CLIENT_STATE]})


def shown(*states: Any) -> str | None:
    items = [{"clientState": state, "subscriptionId": "1"} for state in states]
    return refusal(VERIFIER, request(json.dumps({"value": items}).encode(), {}))


def test_every_item_must_show_one_of_the_states() -> None:
    assert shown(CLIENT_STATE) is None
    assert shown(CLIENT_STATE, "another state", CLIENT_STATE) is None
    assert shown(CLIENT_STATE, "a guess") == "credential_mismatch"
    assert shown("a guess", CLIENT_STATE) == "credential_mismatch"
    assert shown(CLIENT_STATE, CLIENT_STATE, CLIENT_STATE + " ") == "credential_mismatch"
    assert shown(CLIENT_STATE, None) == shown(CLIENT_STATE, "") == "credential_missing"
    assert shown(CLIENT_STATE, 5) == shown(CLIENT_STATE, [CLIENT_STATE]) == "body_malformed"


def test_no_items_prove_nothing() -> None:
    assert shown() == "credential_missing"


def test_it_is_told_which_state_the_first_item_shows() -> None:
    body = json.dumps({"value": [{"clientState": CLIENT_STATE}, {"clientState": "another state"}]}).encode()
    assert verified(VERIFIER, request(body, {})).secret == 2


def test_guesses_do_not_come_by_the_thousand() -> None:
    assert shown(*[f"guess {number}" for number in range(MOST_STATES)], CLIENT_STATE) == "credential_mismatch"
    assert shown(*[CLIENT_STATE] * 2_000) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"value": {}}', b'{"value": "x"}', b'{"value": [5]}', b"\xff"])
def test_what_is_no_notification_is_refused(body: bytes) -> None:
    assert refusal(VERIFIER, request(body, {})) == "body_malformed"
