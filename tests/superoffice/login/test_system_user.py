"""The system user flow, against the sandbox and against services that hand out what nobody should believe."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from authorities import rsa_key
from clocks import Hand
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model import Attempt, Outcome
from bridge.sandbox.logins import pem
from bridge.settings.expansion import Expansion
from bridge.settings.secrets import Secret
from bridge.superoffice.login.system_user import Identity, SystemUser
from bridge.superoffice.login.token_service import TokenAnswer
from bridge.superoffice.outcome import NotSent
from superoffice.logging_in import (
    CLAIM,
    HOUR,
    NOW,
    TICKET,
    XML,
    a_jwt,
    a_sandbox,
    authenticated,
    claims,
    key_set,
    logging_in,
    path,
    service,
    system_user,
    unsigned,
)
from superoffice.support import Call, Server, claim, opened

pytestmark = pytest.mark.anyio

AUTHENTICATE = "/Login/api/PartnerSystemUser/Authenticate"
JWKS = "/login/.well-known/jwks"
SEND_EVENT = "/crm/api/v1/Agents/Workflow/SendEvent"
PUBLIC = (
    rsa_key(1).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


USER = SystemUser(
    Identity(
        environment="http://127.0.0.1",
        tenant="crm",
        system_token=Secret("sandbox"),
        app_token=Secret("sandbox"),
        private_key=Secret(XML),
        issuer="SuperOffice AS",
        audience=None,
        lifetime=HOUR,
    )
)


async def attempt_with(
    answer: bytes, keys: bytes | None = None, *, headers: str = "", status: int = 200, **changed: Any
) -> tuple[Attempt, Server]:
    """What an attempt shows where the service answers so; SuperOffice itself would take the event."""

    async def answering(call: Call) -> None:
        if path(call) == AUTHENTICATE:
            await call.answer(answer, status=status, headers=headers)
        elif path(call) == JWKS:
            await call.answer(key_set() if keys is None else keys)
        else:
            await call.answer()

    async with (
        service(answering) as (url, server),
        opened(server.url, clock=Hand(NOW), authorization=system_user(url, **changed)) as crm,
    ):
        return await crm.send(claim()), server


async def why_not(token: str, keys: bytes | None = None, **changed: Any) -> str:
    """Why a JWT is not believed; no event may be sent then. Empty where it is."""
    attempt, server = await attempt_with(authenticated(token), keys, **changed)
    went_out = SEND_EVENT in map(path, server.calls)
    assert went_out == (attempt.outcome is Outcome.DELIVERED)
    if went_out:
        return ""
    assert (attempt.outcome, attempt.status, attempt.result) == (Outcome.UNAUTHORIZED, None, None)
    begin, _, rest = attempt.detail.partition("the log-in's JWT ")
    assert begin == ""
    return rest.removesuffix(", check the environment and tenant of authorization")


# As it should be


@pytest.mark.parametrize("key", [pem(rsa_key(0)), XML])
async def test_one_log_in_gives_the_ticket_for_all_events(key: str) -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "system_user", Hand(NOW), {"private_key": key}) as crm:
        attempts = await asyncio.gather(*(crm.send(claim()) for _ in range(100)))
    assert {attempt.outcome for attempt in attempts} == {Outcome.DELIVERED}
    assert sandbox.log_ins.count == {"system_user": 1}
    assert sandbox.requests == {"log-in": {"200": 2}, "crm": {"200": 100}}


async def test_what_is_asked_is_what_the_pages_of_superoffice_show() -> None:
    attempt, server = await attempt_with(authenticated(a_jwt()))
    assert attempt.outcome is Outcome.DELIVERED
    ask, keys, event = server.calls
    assert ask.head.startswith(f"POST {AUTHENTICATE} HTTP/1.1\r\n")
    assert ask.headers["content-type"] == "application/json; charset=utf-8"
    body = json.loads(ask.body)
    token, stamp, signature = body.pop("SignedSystemToken").split(".")
    assert (token, stamp) == ("sandbox", "202611240600")
    rsa_key(0).public_key().verify(
        base64.b64decode(signature), b"sandbox.202611240600", padding.PKCS1v15(), hashes.SHA256()
    )
    assert body == {"ApplicationToken": "sandbox", "ContextIdentifier": "crm", "ReturnTokenType": "JWT"}
    assert keys.head.startswith(f"GET {JWKS} HTTP/1.1\r\n")
    assert event.headers["authorization"] == f"SOTicket {TICKET}"
    assert event.headers["so-apptoken"] == "sandbox"


async def test_a_ticket_that_is_used_lives_on_and_one_that_was_not_is_replaced() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "system_user", hand) as crm:
        for _ in range(5):
            assert (await crm.send(claim())).outcome is Outcome.DELIVERED
            hand.at += 5 * HOUR
        assert sandbox.log_ins.count == {"system_user": 1}
        hand.at += 2 * HOUR
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.log_ins.count == {"system_user": 2}
    assert sandbox.requests["crm"] == {"200": 6}


async def test_a_ticket_that_ended_early_is_replaced_and_the_event_sent_once_more() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "system_user", hand) as crm:
        await crm.send(claim())
        sandbox.log_ins.forget()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.requests["crm"] == {"200": 2, "401": 1}
    assert sandbox.requests["log-in"] == {"200": 3}  # the keys are still known


async def test_keys_are_asked_for_again_after_a_day_and_where_one_is_missing() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "system_user", hand) as crm:
        await crm.send(claim())
        hand.at += 24 * HOUR
        await crm.send(claim())
        assert sandbox.requests["log-in"] == {"200": 4}
        sandbox.log_ins.key_id = "two"
        sandbox.log_ins.signing_key = rsa_key(2)
        sandbox.log_ins.forget()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.requests["log-in"] == {"200": 6}


@pytest.mark.parametrize("step", [48 * HOUR, -48 * HOUR])
async def test_no_setting_of_the_wall_clock_asks_for_the_keys_again(step: int) -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "system_user", hand) as crm:
        await crm.send(claim())
        hand.set_wall(step)
        sandbox.log_ins.forget()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.requests["log-in"] == {"200": 3}


async def test_a_key_that_is_rotated_in_its_file_is_used_by_the_next_log_in(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(rsa_key(2)))
    text, _ = Expansion({}, tmp_path).expand("${file:key.pem}")
    hand = Hand(NOW)
    sandbox = a_sandbox(hand)
    async with logging_in(sandbox, "system_user", hand, {"private_key": text}) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNAUTHORIZED
        file.write_text(XML)
        hand.at += 2_000
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
        file.write_text("half a ke")
        sandbox.log_ins.forget()
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.detail) == (
        Outcome.UNAUTHORIZED,
        "the private key is neither a PEM nor an RSA XML key, check the target's authorization",
    )


# Clocks that differ


@pytest.mark.parametrize("ahead", [-14 * 60_000, -90_000, -59_000, 59_000, 90_000, 14 * 60_000])
async def test_a_server_whose_clock_differs_lets_us_in(ahead: int) -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(lambda: hand.at + ahead)
    async with logging_in(sandbox, "system_user", hand) as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


async def test_a_skew_that_is_known_is_signed_by_from_then_on() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(lambda: hand.at + 14 * 60_000)
    async with logging_in(sandbox, "system_user", hand) as crm:
        await crm.send(claim())
        assert sandbox.requests["log-in"] == {"200": 3}  # refused at first, then with the server's time
        sandbox.log_ins.forget()
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert sandbox.requests["log-in"] == {"200": 4}


async def test_a_clock_that_is_hours_off_is_not_followed() -> None:
    hand = Hand(NOW)
    sandbox = a_sandbox(lambda: hand.at + 3 * HOUR)
    async with logging_in(sandbox, "system_user", hand) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNAUTHORIZED
    assert sandbox.requests["log-in"] == {"200": 2}


async def test_a_date_header_cannot_revive_what_expired_long_ago() -> None:
    old = claims(exp=NOW // 1000 - 3600, nbf=NOW // 1000 - 7200)
    attempt, _ = await attempt_with(authenticated(a_jwt(old)), headers="Date: Tue, 24 Nov 2026 04:59:00 GMT\r\n")
    assert attempt.detail.startswith("the log-in's JWT has expired")


# Refusals


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"system_token": "other"}, "The system user token is not valid."),
        ({"private_key": pem(rsa_key(2))}, "The system user token is not valid."),
        ({"app_token": "other"}, "The application token is not valid."),
    ],
)
async def test_a_refusal_in_a_200_is_unauthorized_and_says_what_the_service_says(
    changed: dict[str, Any], said: str
) -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "system_user", Hand(NOW), changed) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.detail) == (
        Outcome.UNAUTHORIZED,
        f"the log-in was refused (IsSuccessful is false) {said}, check the target's authorization",
    )
    assert "crm" not in sandbox.requests


async def test_a_ticket_is_good_for_its_tenant_only() -> None:
    sandbox = a_sandbox(Hand(NOW))
    async with logging_in(sandbox, "system_user", Hand(NOW), {"tenant": "Cust999"}) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNAUTHORIZED
    assert sandbox.requests["crm"] == {"401": 2}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"IsSuccessful": "true", "Token": a_jwt()}, Outcome.UNAUTHORIZED),
        ({"IsSuccessful": False, "Token": a_jwt()}, Outcome.UNAUTHORIZED),
        ({"IsSuccessful": True}, Outcome.UNAUTHORIZED),
        ({"IsSuccessful": True, "Token": ["x"]}, Outcome.UNAUTHORIZED),
        ({"IsSuccessful": False, "ErrorMessage": {"a": ["b"]}}, Outcome.UNAUTHORIZED),
        ({"IsSuccessful": True, "Token": ""}, Outcome.MISCONFIGURED),
        ({"IsSuccessful": True, "Token": "a b"}, Outcome.MISCONFIGURED),
        ({"Token": a_jwt()}, Outcome.MISCONFIGURED),
        ({}, Outcome.MISCONFIGURED),
    ],
)
async def test_an_answer_without_a_token_sends_no_event(answer: dict[str, Any], outcome: Outcome) -> None:
    attempt, server = await attempt_with(json.dumps(answer).encode())
    assert attempt.outcome is outcome
    assert [path(call) for call in server.calls] == [AUTHENTICATE]


# JWTs that nobody should believe


async def test_a_good_one_is_believed() -> None:
    assert await why_not(a_jwt()) == ""
    assert await why_not(a_jwt(claims(aud=["other", "spn:123"]))) == ""
    assert await why_not(a_jwt(claims(**{CLAIM + "ctx": "CRM"}))) == ""
    assert await why_not(a_jwt(claims(**{CLAIM + "ctx": None}))) == ""
    assert await why_not(a_jwt(claims(nbf=None))) == ""
    assert await why_not(a_jwt(claims(exp=NOW // 1000 - 299))) == ""
    assert await why_not(a_jwt(claims(nbf=NOW // 1000 + 299))) == ""


UNSIGNED = "is not signed by a key of the environment"
NO_KEY = "is signed by a key that the environment does not publish"
NO_ISSUER = "is not by the issuer, or lacks exp, iss or aud"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (a_jwt(key=rsa_key(2)), UNSIGNED),
        (a_jwt(kid="two"), NO_KEY),
        (jwt.encode(claims(), rsa_key(1), "RS256"), NO_KEY),
        (a_jwt(algorithm="RS512"), UNSIGNED),
        (a_jwt(algorithm="PS256"), UNSIGNED),
        (unsigned(claims()), UNSIGNED),
        (unsigned(claims(), "None"), UNSIGNED),
        (unsigned(claims(), "RS256"), UNSIGNED),
        (a_jwt()[:-8], UNSIGNED),
        (a_jwt() + "A", UNSIGNED),
        ("a.b.c", UNSIGNED),
        ("abc", UNSIGNED),
        (a_jwt(claims(iss="SuperOffice")), NO_ISSUER),
        (a_jwt(claims(iss=None)), NO_ISSUER),
        (a_jwt(claims(exp=None)), NO_ISSUER),
        (a_jwt(claims(aud=None)), NO_ISSUER),
        (a_jwt(claims(aud="spn:124")), "is for another audience"),
        (a_jwt(claims(aud=[])), "is for another audience"),
        (a_jwt(claims(aud={"spn:123": 1})), "is for another audience"),
        (a_jwt(claims(**{CLAIM + "serial": None})), "is for another audience"),
        (a_jwt(claims(**{CLAIM + "serial": "124"})), "is for another audience"),
        (a_jwt(claims(**{CLAIM + "ctx": "Cust999"})), "is for another tenant"),
        (a_jwt(claims(exp=NOW // 1000 - 300)), "has expired"),
        (a_jwt(claims(exp=float("inf"))), "has expired"),
        (a_jwt(claims(exp=float("nan"))), "has expired"),
        (a_jwt(claims(exp=10**400)), "has expired"),
        (a_jwt(claims(exp="9999999999")), "has expired"),
        (a_jwt(claims(exp=True)), "has expired"),
        (a_jwt(claims(nbf=NOW // 1000 + 301)), "is not valid yet"),
        (a_jwt(claims(nbf="soon")), "is not valid yet"),
    ],
)
async def test_one_that_is_not_proven_is_not_believed(token: str, why: str) -> None:
    assert await why_not(token) == why


def by_public_key() -> str:
    """Signed by HS256, with the public key as its secret. PyJWT refuses to make such a thing, so it is made by hand."""
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signing_input = unsigned(claims(), "HS256").removesuffix(".")
    signature = base64.urlsafe_b64encode(key.sign(signing_input.encode(), PUBLIC)).rstrip(b"=").decode()
    return f"{signing_input}.{signature}"


async def test_a_public_key_is_not_taken_for_a_shared_secret() -> None:
    assert await why_not(by_public_key()) == UNSIGNED


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_a_shared_secret_that_is_published_verifies_nothing(algorithm: str) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    keys = json.dumps({"keys": [{"kty": "oct", "k": secret, "kid": "one", "alg": algorithm}]}).encode()
    assert await why_not(a_jwt(key=b"s" * 32, algorithm="HS256"), keys) == NO_KEY


@pytest.mark.parametrize(
    "keys",
    [
        b'{"keys": []}',
        b'{"keys": null}',
        b'{"keys": "one"}',
        b"{}",
        b'{"keys": [null, 7, {"kid": "one"}, {"kty": "RSA", "kid": "one"}]}',
        b'{"keys": [{"kty": "RSA", "kid": "one", "n": 1, "e": 2}]}',
        key_set(kid=7),
        key_set(kid=None),
        key_set(n="AQAB"),
        key_set(n="!"),
        b'{"keys": [' + b"{}," * 200 + key_set().removeprefix(b'{"keys": ['),
    ],
)
async def test_a_key_set_without_the_key_proves_nothing(keys: bytes) -> None:
    assert await why_not(a_jwt(), keys) in (NO_KEY, UNSIGNED)


async def test_a_private_key_that_is_published_is_not_used() -> None:
    private = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(1), as_dict=True)
    assert await why_not(a_jwt(), json.dumps({"keys": [{**private, "kid": "one"}]}).encode()) == NO_KEY


@pytest.mark.parametrize("ticket", [None, 7, "", "a b", "7T:x\r\nX-Injected: 1", "ä"])
async def test_a_ticket_that_no_header_can_carry_is_misconfigured(ticket: Any) -> None:
    attempt, server = await attempt_with(authenticated(a_jwt(claims(**{CLAIM + "ticket": ticket}))))
    assert attempt.outcome is Outcome.MISCONFIGURED
    assert SEND_EVENT not in map(path, server.calls)


async def test_the_issuer_and_the_audience_can_be_set() -> None:
    token = a_jwt(claims(iss="Another", aud="spn:9"))
    assert await why_not(token, issuer="Another", audience="spn:9") == ""
    assert await why_not(token, issuer="Another") == "is for another audience"
    assert await why_not(token, audience="spn:9") == NO_ISSUER
    assert await why_not(a_jwt(), audience="spn:9") == "is for another audience"


@settings(max_examples=25)  # each signs
@given(st.binary(max_size=200), st.sampled_from([200, 400]))
async def test_whatever_is_answered_is_no_log_in_and_never_unknown(body: bytes, status: int) -> None:
    async def exchange(_: httpx.Request) -> TokenAnswer:
        return TokenAnswer(status, httpx.Headers(), body)

    with pytest.raises(NotSent) as caught:
        await USER.log_in(exchange, Hand(NOW))
    assert caught.value.outcome in (Outcome.MISCONFIGURED, Outcome.UNAUTHORIZED)
