"""What the tests of log-ins share: settings that lead to a sandbox, a clock to turn, and a service that tests play."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import jwt
import structlog
from authorities import rsa_key
from structlog.testing import capture_logs

from bridge.clock import Clock
from bridge.sandbox.logins import LogIns, pem, rsa_xml
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.superoffice.send_event import SuperOffice

from .support import Call, Server, opened, playing

NOW = 1_795_500_000_000
HOUR = 3_600_000
CLAIM = "http://schemes.superoffice.net/identity/"
TICKET = "7T:VGhlIHRpY2tldA=="


def a_sandbox(hand: Callable[[], int], faults: tuple[str, ...] = (), **log_ins: Any) -> Sandbox:
    """A sandbox by our clock, whose application has a key of the tests' own."""
    known = LogIns(now=hand, **log_ins)
    known.private_key = rsa_key(0)  # making one takes a while
    known.signing_key = rsa_key(1)
    return Sandbox(faults, log_ins=known, now=hand)


def oauth(environment: str, **changed: Any) -> dict[str, Any]:
    return {
        "scheme": "oauth",
        "environment": environment,
        "client_id": "sandbox",
        "client_secret": "sandbox",
        "refresh_token": "sandbox",
    } | changed


def system_user(environment: str, **changed: Any) -> dict[str, Any]:
    return {
        "scheme": "system_user",
        "environment": environment,
        "tenant": "crm",
        "system_token": "sandbox",
        "app_token": "sandbox",
        "private_key": pem(rsa_key(0)),
    } | changed


SETTINGS: dict[str, Callable[..., dict[str, Any]]] = {"oauth": oauth, "system_user": system_user}
XML = rsa_xml(rsa_key(0))


@asynccontextmanager
async def logging_in(
    sandbox: Sandbox, scheme: str, hand: Clock, changed: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[SuperOffice]:
    """A target that logs in to a sandbox, at which its events arrive, too."""
    async with serving(sandbox) as url:
        authorization = SETTINGS[scheme](url, **changed or {})
        async with opened(f"{url}/crm/api", clock=hand, authorization=authorization, **settings) as crm:
            yield crm


Log = Callable[[Call], Awaitable[None]]


@asynccontextmanager
async def service(behaviour: Callable[[Call], Awaitable[None]]) -> AsyncIterator[tuple[str, Server]]:
    """A log-in service that a test plays: its URL."""
    async with playing(behaviour) as server:
        yield server.url.removesuffix("/crm/api"), server


def path(call: Call) -> str:
    return call.head.split(" ")[1]


def claims(**changed: Any) -> dict[str, Any]:
    """What a good JWT says; None takes a claim out."""
    seconds = NOW // 1000
    told = {
        "iss": "SuperOffice AS",
        "aud": "spn:123",
        "exp": seconds + 300,
        "nbf": seconds - 60,
        CLAIM + "serial": "123",
        CLAIM + "ctx": "crm",
        CLAIM + "ticket": TICKET,
    } | changed
    return {name: value for name, value in told.items() if value is not None}


def a_jwt(told: dict[str, Any] | None = None, key: Any = None, algorithm: str = "RS256", kid: Any = "one") -> str:
    return jwt.encode(claims() if told is None else told, key or rsa_key(1), algorithm, headers={"kid": kid})


def key_set(**changed: Any) -> bytes:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(1).public_key(), as_dict=True)
    return json.dumps({"keys": [{**public, "kid": "one", "use": "sig"} | changed]}).encode()


def authenticated(token: str) -> bytes:
    return json.dumps({"IsSuccessful": True, "Token": token, "ErrorMessage": None}).encode()


def unsigned(told: dict[str, Any], algorithm: str = "none") -> str:
    """A JWT whose signature is left out."""
    parts = ({"alg": algorithm, "typ": "JWT", "kid": "one"}, told)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, ""))


@contextmanager
def logged() -> Iterator[list[Any]]:
    """The lines that are logged meanwhile."""
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines
