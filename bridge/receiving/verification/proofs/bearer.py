"""Verifies bearer tokens by an identity provider's published keys: Entra ID and any OpenID Connect.

It proves who calls, not what was sent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

import jwt
from pydantic import BeforeValidator, Field, WithJsonSchema

from bridge import jsontext
from bridge.errors import CannotSign, NotVerified
from bridge.model import Request
from bridge.receiving.verification.compilation import Compiled, Tolerance
from bridge.receiving.verification.proofs import json_web_tokens
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.remote_keys import RemoteKeys
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.schema import Text

# Whoever verifies by a public key must not take it for a shared secret: no HS... here.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
KINDS = ("RSA", "EC", "OKP")
LEEWAY = 60_000  # milliseconds that the two clocks may differ by
MOST_KEYS = 100  # of a key set
_URL = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[!-~]*)?")

Names = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class BearerSettings(Strict):
    """`verify` by tokens of an identity provider."""

    scheme: Literal["bearer"]
    jwks_url: str = Field(description="the https URL of the provider's key set")
    issuer: Names = Field(description="who must have issued the token: its iss; a list where there are several")
    audience: Names = Field(description="whom the token must be for: its aud; a list where there are several")
    claims: dict[Text, str] = Field({}, description="further claims of the token, and what each must be")
    tolerance: Tolerance = None


class Bearer:
    """Tokens in `Authorization: Bearer`, signed by any key of the set at `url`."""

    redacted_headers = frozenset([b"authorization"])
    tolerance = None
    delivery_id = None

    def __init__(
        self,
        url: str,
        issuers: Sequence[str],
        audiences: Sequence[str],
        further: Mapping[str, str],
        leeway: int = LEEWAY,
    ) -> None:
        self._url = url
        self._issuers = tuple(issuers)
        self._audiences = tuple(audiences)
        self._further = dict(further)
        self._leeway = leeway
        self.remote_keys: RemoteKeys[Mapping[str, jwt.PyJWK]] = RemoteKeys(re.compile(re.escape(url)), key_set)

    def prove(self, _request: Request, headers: RequestHeaders, now: int) -> Proven:
        _, encoded = json_web_tokens.shown(headers, "bearer")
        kid = json_web_tokens.key_id(encoded)
        keys = self.remote_keys.get(self._url)
        key = keys.get(kid) if kid is not None else next(iter(keys.values())) if len(keys) == 1 else None
        if key is None:
            raise self.remote_keys.newer(self._url, Reason.KEY_UNKNOWN)
        told = json_web_tokens.claims(
            encoded,
            key,
            ALGORITHMS,
            required=("exp", "iss", "aud"),
            issuers=self._issuers,
            audiences=self._audiences,
        )
        if any(told.get(name) != value for name, value in self._further.items()):
            raise NotVerified(Reason.CLAIM_MISMATCH)
        json_web_tokens.check_times(told, now, self._leeway)
        self.remote_keys.proved(self._url)
        return Proven()

    def sign(self, _request: Request, _delivery_id: str) -> NoReturn:
        raise CannotSign("only the identity provider issues tokens: get one, and send it by curl")


def key_set(document: bytes) -> Mapping[str, jwt.PyJWK]:
    """The keys of a JSON Web Key Set (RFC 7517) that tokens can be verified by, by their ids.

    Raises:
        ValueError: there are none.
    """
    value = jsontext.decode(document)
    listed = value.get("keys") if isinstance(value, dict) else None
    keys: dict[str, jwt.PyJWK] = {}
    for number, key in enumerate(listed[:MOST_KEYS] if isinstance(listed, list) else []):
        if isinstance(key, dict) and key.get("kty") in KINDS and key.get("use", "sig") == "sig":
            _add(keys, str(key.get("kid", f"#{number}")), key)
    if not keys:
        raise ValueError("no keys")
    return keys


def _add(keys: dict[str, jwt.PyJWK], kid: str, key: dict[str, Any]) -> None:
    try:
        keys[kid] = jwt.PyJWK.from_dict(key)
    except (jwt.PyJWTError, ValueError, TypeError):  # of a kind that we do not know: others may do
        return


def compile_bearer(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: bearer, jwks_url: ..., issuer: ..., audience: ...}`."""
    settings, problems = parse(section, BearerSettings)
    if settings is None:
        return None, problems
    if not _URL.fullmatch(settings.jwks_url):
        problems.append(section["jwks_url"].problem("is no https URL", "give the jwks_uri that the provider publishes"))
    leeway = LEEWAY if settings.tolerance is None else settings.tolerance
    return Bearer(settings.jwks_url, settings.issuer, settings.audience, settings.claims, leeway), problems
