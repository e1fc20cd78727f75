"""The sandbox's logins: OAuth's token endpoint, system users, and the tokens they are given.

Paths and shapes are those that SuperOffice documents. The texts, and how old a signed time may be, are the sandbox's
own; so is `rotates`, since SuperOffice gives no new refresh token.
"""

import secrets
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import formatdate
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

import jwt
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bridge.sandbox.answers import HttpAnswer

CALLED = "log-in"  # the name under which faults are scripted and requests counted
TOKENS = "/login/common/oauth/tokens"
AUTHENTICATE = "/Login/api/PartnerSystemUser/Authenticate"
JWKS = "/login/.well-known/jwks"
_CLAIMS = "http://schemes.superoffice.net/identity/"
_SERIAL = "1234567890"
_STAMP_GOOD_FOR = 10 * 60_000  # milliseconds


class LogIns:
    """One application, one consent, one system user; and the tickets and tokens that they were given.

    Every account is called `sandbox`. `now` gives milliseconds since 1970, lifetimes are milliseconds.
    """

    def __init__(
        self,
        *,
        token_lifetime: int = 3_600_000,
        ticket_lifetime: int = 6 * 3_600_000,
        rotates: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.token_lifetime = token_lifetime
        self.ticket_lifetime = ticket_lifetime
        self.rotates = rotates
        self.key_id = "one"
        self.client_secret = "sandbox"
        self.refresh_token = "sandbox"
        self.count: Counter[str] = Counter()  # by scheme, of those that succeeded
        self._now = now
        self._tokens: dict[str, int] = {}  # token -> when it ends
        self._tickets: dict[str, tuple[str, int]] = {}  # ticket -> its tenant, when it ends

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        """The application's key, that the signed system user token must be signed by."""
        return rsa.generate_private_key(65537, 2048)

    @cached_property
    def signing_key(self) -> rsa.RSAPrivateKey:
        """The key that JWTs are signed by."""
        return rsa.generate_private_key(65537, 2048)

    def forget(self) -> None:
        """End every ticket and token that was given."""
        self._tokens.clear()
        self._tickets.clear()

    def accepts(self, tenant: str, headers: Iterable[tuple[bytes, bytes]]) -> bool | None:
        """Whether headers (names in lower case) log in to a tenant by what was given; None: by nothing that was."""
        if not self._tokens and not self._tickets:
            return None
        shown = dict(headers)
        scheme, _, value = shown.get(b"authorization", b"").decode("latin-1").partition(" ")
        match scheme.lower():
            case "bearer" if value in self._tokens:
                return self._now() < self._tokens[value]
            case "soticket" if value in self._tickets:
                of, ends_at = self._tickets[value]
                here = tenant.rpartition("/")[2].lower() == of.lower()
                good = self._now() < ends_at and here and shown.get(b"so-apptoken") == self.client_secret.encode()
                if good:
                    self._tickets[value] = (of, self._now() + self.ticket_lifetime)
                return good
        return None

    def tokens(self, body: bytes) -> HttpAnswer:
        """POST of the form `grant_type=refresh_token`."""
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        if form.get("grant_type") != "refresh_token":
            return self._answer(400, {"error": "unsupported_grant_type"})
        if (form.get("client_id"), form.get("client_secret")) != ("sandbox", self.client_secret):
            return self._answer(401, {"error": "invalid_client"})
        if form.get("refresh_token") != self.refresh_token:
            return self._answer(400, {"error": "invalid_grant"})
        token = "8A:" + secrets.token_urlsafe(24)
        self._tokens[token] = self._now() + self.token_lifetime
        self.count["oauth"] += 1
        given: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": token,
            "expires_in": self.token_lifetime // 1000,
        }
        if self.rotates:
            self.refresh_token = given["refresh_token"] = secrets.token_urlsafe(24)
        return self._answer(200, given)

    def authenticate(self, body: bytes) -> HttpAnswer:
        """POST of a signed system user token; refusals are answered 200, too."""
        try:
            asked = orjson.loads(body)
            token, stamp, signature = asked["SignedSystemToken"].rsplit(".", 2)
            tenant = asked["ContextIdentifier"]
            application, wanted = asked["ApplicationToken"], asked["ReturnTokenType"]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
            return self._refuse("The request is not complete.", 400)
        if token != "sandbox" or not self._is_signed(f"{token}.{stamp}", signature):
            return self._refuse("The system user token is not valid.")
        if not self._is_fresh(stamp):
            return self._refuse("The system user token was signed at another time.")
        if application != self.client_secret:
            return self._refuse("The application token is not valid.")
        if wanted != "JWT" or not isinstance(tenant, str):
            return self._refuse("Only JWT is given here.")
        ticket = "7T:" + b64encode(secrets.token_bytes(24)).decode()
        self._tickets[ticket] = (tenant, self._now() + self.ticket_lifetime)
        self.count["system_user"] += 1
        return self._answer(200, {"IsSuccessful": True, "Token": self._jwt(tenant, ticket), "ErrorMessage": None})

    def jwks(self) -> HttpAnswer:
        """The public keys of what signs JWTs."""
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.signing_key.public_key(), as_dict=True)
        return self._answer(
            200, {"keys": [{"kty": "RSA", "n": jwk["n"], "e": jwk["e"], "use": "sig", "kid": self.key_id}]}
        )

    def claims(self, tenant: str, ticket: str) -> dict[str, Any]:
        """What a JWT of now says."""
        seconds = self._now() // 1000
        return {
            "sub": f"system@{tenant}",
            _CLAIMS + "ctx": tenant,
            _CLAIMS + "serial": _SERIAL,
            _CLAIMS + "ticket": ticket,
            "nbf": seconds - 60,
            "exp": seconds + 300,
            "iss": "SuperOffice AS",
            "aud": f"spn:{_SERIAL}",
        }

    def _jwt(self, tenant: str, ticket: str) -> str:
        return jwt.encode(self.claims(tenant, ticket), self.signing_key, "RS256", headers={"kid": self.key_id})

    def _is_signed(self, text: str, signature: str) -> bool:
        try:
            given = b64decode(signature, validate=True)
            self.private_key.public_key().verify(given, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature):
            return False
        return True

    def _is_fresh(self, stamp: str) -> bool:
        try:
            signed_at = datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC).timestamp() * 1000
        except ValueError:
            return False
        return abs(self._now() - signed_at) <= _STAMP_GOOD_FOR

    def _refuse(self, message: str, status: int = 200) -> HttpAnswer:
        return self._answer(status, {"IsSuccessful": False, "Token": None, "ErrorMessage": message})

    def _answer(self, status: int, value: Any) -> HttpAnswer:
        date = formatdate(self._now() / 1000, usegmt=True).encode()
        return HttpAnswer(status, orjson.dumps(value), headers=((b"date", date),))


def pem(key: rsa.RSAPrivateKey) -> str:
    """A private key as PEM."""
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *formats).decode()


def rsa_xml(key: rsa.RSAPrivateKey) -> str:
    """A private key as .NET writes it."""
    numbers = key.private_numbers()
    public = numbers.public_numbers
    values = {
        "Modulus": public.n,
        "Exponent": public.e,
        "P": numbers.p,
        "Q": numbers.q,
        "DP": numbers.dmp1,
        "DQ": numbers.dmq1,
        "InverseQ": numbers.iqmp,
        "D": numbers.d,
    }
    parts = (f"<{name}>{_number(value)}</{name}>" for name, value in values.items())
    return f"<RSAKeyValue>{''.join(parts)}</RSAKeyValue>"


def _number(value: int) -> str:
    return b64encode(value.to_bytes((value.bit_length() + 7) // 8)).decode()
