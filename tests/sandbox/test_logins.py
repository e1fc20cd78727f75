"""The sandbox's log-ins: what they give and refuse, and that it ends. That the bridge gets in is tested there."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from authorities import rsa_key
from clocks import Hand
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from running import HANG, NO_TLS

from bridge.sandbox.logins import AUTHENTICATE, JWKS, TOKENS, LogIns, pem
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.superoffice.login.private_key import private_key, sign

pytestmark = pytest.mark.anyio

NOW = 1_795_500_000_000  # 2026-11-24T06:00:00Z
HOUR = 3_600_000
GOOD = b'{"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "sale=17"}}'
FORM = {"grant_type": "refresh_token", "client_id": "sandbox", "client_secret": "sandbox", "refresh_token": "sandbox"}


def log_ins(hand: Hand | None = None, **settings: Any) -> LogIns:
    made = LogIns(now=hand or Hand(NOW), **settings)
    made.private_key, made.signing_key = rsa_key(0), rsa_key(1)
    return made


def a_token(known: LogIns, **changed: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(known.tokens(urlencode(FORM | changed).encode()).body)
    return answer


def asked(stamp: str = "202611240600", token: str = "sandbox", key: int = 0, **changed: Any) -> dict[str, Any]:
    text = f"{token}.{stamp}"
    signature = base64.b64encode(sign(rsa_key(key), text)).decode()
    return {
        "SignedSystemToken": f"{text}.{signature}",
        "ApplicationToken": "sandbox",
        "ContextIdentifier": "crm",
        "ReturnTokenType": "JWT",
    } | changed


def a_ticket(known: LogIns, **changed: Any) -> str:
    answer = json.loads(known.authenticate(json.dumps(asked(**changed)).encode()).body)
    assert answer["IsSuccessful"] is True
    told = jwt.decode(
        answer["Token"], rsa_key(1).public_key(), ["RS256"], audience="spn:1234567890", options={"verify_exp": False}
    )
    ticket: str = told["http://schemes.superoffice.net/identity/ticket"]
    return ticket


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {token}".encode())]


def by_ticket(ticket: str, app_token: str = "sandbox") -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"SOTicket {ticket}".encode()), (b"so-apptoken", app_token.encode())]


def test_a_refresh_token_gives_a_token_that_ends() -> None:
    hand = Hand(NOW)
    known = log_ins(hand)
    given = a_token(known)
    assert (given["token_type"], given["expires_in"], given.keys() & {"refresh_token"}) == ("Bearer", 3600, set())
    for passed, accepted in ((0, True), (HOUR - 1, True), (HOUR, False)):
        hand.at = NOW + passed
        assert known.accepts("crm", bearer(given["access_token"])) is accepted
    assert known.accepts("crm", bearer("8A:sandbox")) is None  # others decide


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "x"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_client"),
        ({"refresh_token": "x"}, "invalid_grant"),
    ],
)
def test_wrong_forms_are_refused(changed: dict[str, str], error: str) -> None:
    assert a_token(log_ins(), **changed) == {"error": error}


def test_a_service_that_rotates_takes_each_refresh_token_once() -> None:
    known = log_ins(rotates=True)
    second = a_token(known)["refresh_token"]
    assert a_token(known) == {"error": "invalid_grant"}
    assert a_token(known, refresh_token=second)["access_token"]


def test_a_ticket_lives_on_with_every_use() -> None:
    hand = Hand(NOW)
    known = log_ins(hand)
    ticket = a_ticket(known)
    for passed, accepted in ((0, True), (5 * HOUR, True), (10 * HOUR, True), (16 * HOUR, False)):
        hand.at = NOW + passed
        assert known.accepts("sod2/crm", by_ticket(ticket)) is accepted


def test_a_ticket_needs_its_tenant_and_the_app_token() -> None:
    known = log_ins()
    ticket = a_ticket(known)
    assert known.accepts("other", by_ticket(ticket)) is False
    assert known.accepts("crm", by_ticket(ticket, "wrong")) is False
    assert known.accepts("crm", by_ticket(ticket)[:1]) is False
    known.forget()
    assert known.accepts("crm", by_ticket(ticket)) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"token": "other"},
        {"key": 2},
        {"stamp": "202611240549"},
        {"stamp": "202611240611"},
        {"stamp": "20261124"},
        {"ApplicationToken": "x"},
        {"ReturnTokenType": "Saml"},
        {"ContextIdentifier": 7},
        {"SignedSystemToken": "sandbox.202611240600.AAAA"},
        {"SignedSystemToken": "sandbox.202611240600.!"},
    ],
)
def test_wrong_system_users_are_refused_in_a_200(changed: dict[str, Any]) -> None:
    answer = log_ins().authenticate(json.dumps(asked(**changed)).encode())
    refusal = json.loads(answer.body)
    assert (answer.status, refusal["IsSuccessful"], refusal["Token"]) == (200, False, None)
    assert refusal["ErrorMessage"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"SignedSystemToken": "a.b"}', b'{"SignedSystemToken": null}'])
def test_what_is_no_request_is_answered_400(body: bytes) -> None:
    assert log_ins().authenticate(body).status == 400


@pytest.fixture
async def sandbox() -> Sandbox:
    return Sandbox(log_ins=log_ins(), now=Hand(NOW))


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(sandbox) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=HANG) as opened,
    ):
        yield opened


async def test_all_of_it_is_there_over_http(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    token = (await client.post(TOKENS, data=FORM)).json()["access_token"]
    answer = (await client.post(AUTHENTICATE, json=asked())).json()
    assert answer["IsSuccessful"] is True
    (key,) = (await client.get(JWKS)).json()["keys"]
    assert jwt.decode(
        answer["Token"], jwt.PyJWK(key).key, ["RS256"], options={"verify_aud": False, "verify_exp": False}
    )
    event = await client.post(
        "/crm/api/v1/Agents/Workflow/SendEvent",
        content=GOOD,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert event.status_code == 200
    assert (await client.get("/sandbox/logins")).json() == {"oauth": 1, "system_user": 1}
    assert (await client.delete("/sandbox/logins")).status_code == 204
    assert sandbox.log_ins.accepts("crm", bearer(token)) is None
    assert sandbox.requests == {"log-in": {"200": 3}, "crm": {"200": 1}}


async def test_the_applications_key_can_be_had_in_both_ways(client: httpx.AsyncClient) -> None:
    text = (await client.get("/sandbox/private-key")).text
    assert text == pem(rsa_key(0))
    assert load_pem_private_key(text.encode(), None)
    xml = (await client.get("/sandbox/private-key?format=xml")).text
    assert private_key(xml).private_numbers() == rsa_key(0).private_numbers()


async def test_only_faults_that_name_the_log_in_are_for_it(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.script.add(["503", "429 tenant=log-in retry-after=3"])
    refused = await client.post(TOKENS, data=FORM)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert (await client.post(TOKENS, data=FORM)).status_code == 200
    assert [fault["fault"] for fault in sandbox.script.as_json()] == ["503"]
