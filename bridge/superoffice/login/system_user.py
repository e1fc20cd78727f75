"""Logs in as a system user of SuperOffice Online: a signed token is exchanged for a JWT that holds the ticket.

How each step looks is from SuperOffice's pages about the system user flow; what they leave open is said in
docs/log-ins.md.
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bridge import jsontext
from bridge.clock import Clock
from bridge.model import Outcome
from bridge.settings.secrets import Secret
from bridge.superoffice.login.private_key import private_key, sign
from bridge.superoffice.login.session import Grant
from bridge.superoffice.login.token_service import (
    TokenAnswer,
    TokenExchange,
    json_object,
    login_refused,
    plain_words,
    usable_credential,
)
from bridge.superoffice.outcome import NotSent

_AUTHENTICATE = "/Login/api/PartnerSystemUser/Authenticate"
_JWKS = "/login/.well-known/jwks"
_CLAIMS = "http://schemes.superoffice.net/identity/"
_KEYS_KEPT = 24 * 3_600_000  # milliseconds
_LEEWAY = 5 * 60_000  # milliseconds that a JWT's times may be off, beside the skew
_SKEW_FROM = 60_000  # milliseconds between the clocks from which the server's is gone by
_MOST_SKEW = 15 * 60_000
_FAR = 1e11  # seconds since 1970, in the year 5138
_OPTIONS: jwt.types.Options = {  # PyJWT looks at the machine's clock by itself: we look at ours
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "require": ["exp", "iss", "aud"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who logs in, where, and what the JWT must say."""

    environment: str
    tenant: str
    system_token: Secret
    app_token: Secret
    private_key: Secret
    issuer: str
    audience: str | None
    lifetime: int


class SystemUser:
    """Logs in as a system user."""

    scheme = "system_user"

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._keys: dict[str, RSAPublicKey] = {}
        self._keys_until = 0  # by the running clock
        self._skew = 0  # milliseconds that the server's clock is ahead

    async def log_in(self, exchange: TokenExchange, clock: Clock) -> Grant:
        now = clock.wall()
        app_token = usable_credential(self._identity.app_token.reveal().strip())
        token = await self._authenticate(exchange, app_token, now)
        claims = await self._verified(exchange, token, clock)
        ticket = usable_credential(claims.get(_CLAIMS + "ticket"))
        headers = {"Authorization": f"SOTicket {ticket}", "SO-AppToken": app_token}
        return Grant(headers=headers, lifetime=self._identity.lifetime, sliding=True)

    async def _authenticate(self, exchange: TokenExchange, app_token: str, now: int) -> str:
        """The JWT; nothing about it is proven."""
        used = self._skew
        try:
            return await self._ask(exchange, app_token, now + used, now)
        except NotSent as error:
            # The signed time may be what is refused, where the clocks differ.
            if error.outcome is not Outcome.UNAUTHORIZED or abs(self._skew - used) < _SKEW_FROM:
                raise
        return await self._ask(exchange, app_token, now + self._skew, now)

    async def _ask(self, exchange: TokenExchange, app_token: str, signed_at: int, now: int) -> str:
        system_token = self._identity.system_token.reveal().strip()
        signed = self._signed(system_token, signed_at)
        secrets = (system_token, app_token, signed)
        body = {
            "SignedSystemToken": signed,
            "ApplicationToken": app_token,
            "ContextIdentifier": self._identity.tenant,
            "ReturnTokenType": "JWT",
        }
        request = httpx.Request(
            "POST",
            self._identity.environment + _AUTHENTICATE,
            content=jsontext.encode(body),
            headers={"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"},
        )
        answer = await exchange(request)
        self._skew = _skew(answer, now)
        result = json_object(answer, now, lambda value: plain_words(_message(value), secrets))
        token = result.get("Token")
        if result.get("IsSuccessful") is True and isinstance(token, str):
            return usable_credential(token)
        if "IsSuccessful" not in result:
            raise NotSent(Outcome.MISCONFIGURED, "the answer is not a log-in's, check the environment of authorization")
        raise login_refused(f"(IsSuccessful is false) {plain_words(_message(result), secrets)}")

    def _signed(self, system_token: str, at: int) -> str:
        try:
            key = private_key(self._identity.private_key.reveal())
        except ValueError as error:  # it was good at the start
            raise NotSent(Outcome.UNAUTHORIZED, f"the private key {error}, check the target's authorization") from None
        stamped = f"{system_token}.{datetime.fromtimestamp(at / 1000, UTC):%Y%m%d%H%M}"
        return f"{stamped}.{b64encode(sign(key, stamped)).decode()}"

    async def _verified(self, exchange: TokenExchange, token: str, clock: Clock) -> dict[str, Any]:
        """What the JWT says, once it is proven to be SuperOffice's, for this tenant, and good at this time."""
        try:
            key = await self._key(exchange, jwt.get_unverified_header(token).get("kid"), clock)
            claims = jwt.decode(token, key, algorithms=["RS256"], options=_OPTIONS, issuer=self._identity.issuer)
        except (jwt.InvalidIssuerError, jwt.MissingRequiredClaimError):
            raise _unproven("is not by the issuer, or lacks exp, iss or aud") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _unproven("is not signed by a key of the environment") from None
        self._check(claims, clock.wall() + self._skew)
        return claims

    def _check(self, claims: dict[str, Any], now: int) -> None:
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        # Without a setting, it is the serial number that the token names itself, as in SuperOffice's own client.
        if (self._identity.audience or f"spn:{claims.get(_CLAIMS + 'serial', '')}") not in audiences:
            raise _unproven("is for another audience")
        if str(claims.get(_CLAIMS + "ctx", self._identity.tenant)).lower() != self._identity.tenant.lower():
            raise _unproven("is for another tenant")
        if not _number(claims["exp"]) or now >= claims["exp"] * 1000 + _LEEWAY:
            raise _unproven("has expired")
        if "nbf" in claims and (not _number(claims["nbf"]) or now < claims["nbf"] * 1000 - _LEEWAY):
            raise _unproven("is not valid yet")

    async def _key(self, exchange: TokenExchange, kid: Any, clock: Clock) -> RSAPublicKey:
        if kid not in self._keys or clock.running() >= self._keys_until:
            request = httpx.Request("GET", self._identity.environment + _JWKS, headers={"Accept": "application/json"})
            self._keys = _rsa_keys(json_object(await exchange(request), clock.wall()))
            self._keys_until = clock.running() + _KEYS_KEPT
        if kid not in self._keys:
            raise _unproven("is signed by a key that the environment does not publish")
        return self._keys[kid]


def _rsa_keys(document: dict[str, Any]) -> dict[str, RSAPublicKey]:
    """The RSA keys of a key set (RFC 7517) by their ids; shared secrets above all are left out."""
    keys: dict[str, RSAPublicKey] = {}
    listed = document.get("keys")
    for entry in listed[:100] if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") != "RSA" or not isinstance(entry.get("kid"), str):
            continue
        try:
            key = jwt.PyJWK.from_dict(entry, "RS256").key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if isinstance(key, RSAPublicKey):
            keys[entry["kid"]] = key
    return keys


def _unproven(why: str) -> NotSent:
    return NotSent(Outcome.UNAUTHORIZED, f"the log-in's JWT {why}, check the environment and tenant of authorization")


def _message(answer: dict[str, Any]) -> Any:
    return answer.get("ErrorMessage") or answer.get("Message")


def _number(value: Any) -> bool:
    """Whether it is a number of seconds; neither NaN nor what no calendar has."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR


def _skew(answer: TokenAnswer, now: int) -> int:
    """How far the server's clock is ahead, by its Date header; small differences count as none."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, OverflowError):
        return 0
    skew = round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000) - now
    return max(-_MOST_SKEW, min(skew, _MOST_SKEW)) if abs(skew) >= _SKEW_FROM else 0
