"""Whatever goes wrong with a log-in, nothing secret is in a log line, an attempt, an exception or a repr."""

import base64
import json
import traceback
from typing import Any

import pytest
from authorities import rsa_key
from clocks import Hand

from bridge.model import Attempt, Outcome
from bridge.sandbox.logins import pem
from bridge.settings.document import Document, Section
from bridge.superoffice.login.authorization import compile_authorization
from bridge.superoffice.outcome import NotSent
from bridge.superoffice.send_event import SuperOffice

from .logging_in import CLAIM, NOW, a_jwt, authenticated, claims, key_set, logged, path, service
from .support import Call, claim, opened

pytestmark = pytest.mark.anyio

SECRETS = {
    "client_secret": "clientSecretOfOurs",
    "refresh_token": "refreshTokenOfOurs",
    "system_token": "systemTokenOfOurs",
    "app_token": "appTokenOfOurs",
}
GIVEN = {"access": "8A:accessTokenGiven", "ticket": "7T:ticketGiven", "another": "anotherRefreshTokenGiven"}
KEY = pem(rsa_key(0))
SCHEMES: dict[str, dict[str, Any]] = {
    "oauth": {
        "client_id": "the-app",
        "client_secret": SECRETS["client_secret"],
        "refresh_token": SECRETS["refresh_token"],
    },
    "system_user": {
        "tenant": "crm",
        "system_token": SECRETS["system_token"],
        "app_token": SECRETS["app_token"],
        "private_key": KEY,
    },
}
TOKEN = {"access_token": GIVEN["access"], "expires_in": 60, "refresh_token": GIVEN["another"]}
JWT = a_jwt(claims(**{CLAIM + "ticket": GIVEN["ticket"]}))


class Breaking:
    """Keeps nothing, and quotes what it is given."""

    async def load(self) -> bytes | None:
        return None

    async def save(self, sealed: bytes) -> None:
        raise RuntimeError(GIVEN["another"], sealed)


def echoing(call: Call) -> bytes:
    """An answer that quotes the whole request, in every field that somebody might show."""
    asked = call.head + call.body.decode()
    return json.dumps(dict.fromkeys(("error", "error_description", "ErrorMessage", "Message", "Token"), asked)).encode()


async def answer_as(how: str, call: Call) -> None:
    """Play the log-in service and SuperOffice at once."""
    if path(call).startswith("/crm/"):
        await call.answer(status=403 if how == "refuses events" else 200)
    elif path(call).endswith("/jwks"):
        await call.answer(key_set(kid="two" if how == "other keys" else "one"))
    elif how == "echoes in a refusal":
        await call.answer(echoing(call), status=400)
    elif how == "echoes in an answer":
        await call.answer(echoing(call))
    elif how == "says no and echoes":
        await call.answer(echoing(call).replace(b"{", b'{"IsSuccessful": false, ', 1))
    elif how == "gives garbage":
        await call.answer(call.body, headers="Retry-After: " + call.body.decode()[:200] + "\r\n", status=503)
    elif how == "gives what cannot be sent":
        bad = GIVEN["access"] + "\r\nX: 1"
        await call.answer(json.dumps({"access_token": bad, "IsSuccessful": True, "Token": bad}).encode())
    elif how == "hangs up":
        call.reset()
    elif "oauth" in path(call):
        await call.answer(json.dumps(TOKEN).encode())
    else:
        await call.answer(authenticated(JWT))


WAYS = [
    *("as it should", "refuses events", "other keys", "echoes in a refusal", "echoes in an answer"),
    *("says no and echoes", "gives garbage", "gives what cannot be sent", "hangs up"),
]


def told_by(error: BaseException) -> str:
    """All that an exception tells, with whatever led to it."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()) + repr(error.args)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("how", WAYS)
async def test_nothing_secret_is_told(scheme: str, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def answering(call: Call) -> None:
        await answer_as(how, call)

    shown: list[Any] = []
    with logged() as lines:
        async with service(answering) as (url, server):
            authorization = {"scheme": scheme, "environment": url} | SCHEMES[scheme]
            async with opened(server.url, authorization=authorization, clock=Hand(NOW)) as crm:
                crm.keep_by(Breaking())
                attempt = await crm.send(claim())
                shown += [attempt, repr(crm), repr(vars(crm)), *everything_of(crm)]
                try:
                    await crm.log_in()
                except NotSent as error:
                    shown.append(told_by(error))
            queries = [path(call) for call in server.calls if "?" in path(call)]
        compiled, _ = compile_authorization(
            Section(Document("bridge.yaml", {"authorization": authorization}))["authorization"]
        )
        shown += [repr(compiled)]
    assert isinstance(attempt, Attempt)
    assert attempt.outcome is not Outcome.UNKNOWN
    assert queries == []
    output = capfd.readouterr()
    text = "\n".join(map(str, [*shown, *map(repr, lines), output.out, output.err])).lower()
    signed = base64.b64encode(SECRETS["system_token"].encode()).decode()
    for secret in (*SECRETS.values(), *GIVEN.values(), signed, JWT[-40:], KEY.splitlines()[3]):
        assert secret.lower() not in text, secret
    assert "error_description" not in text


def everything_of(crm: SuperOffice) -> list[str]:
    """How the parts of a target show themselves."""
    authorization = crm.authorization
    parts = [authorization, vars(authorization), authorization.log_in, vars(authorization.log_in)]  # type: ignore[union-attr]
    return [repr(part) for part in parts]
