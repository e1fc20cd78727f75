"""Verifies JSON web tokens (RFC 7519) of the Authorization header with PyJWT; algorithms and time are ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from bridge.errors import NotVerified
from bridge.receiving.verification import timestamps
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders

LONGEST = 16 * 1024  # bytes; one of Entra with many groups has 5 KB
_OPTIONS: jwt.types.Options = {
    "verify_exp": False,  # PyJWT looks at the clock by itself: we look at the request's
    "verify_nbf": False,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}


def shown(headers: RequestHeaders, *words: str) -> tuple[str, bytes]:
    """The word before the token in Authorization, one of `words` (in lower case), and the token.

    Raises:
        NotVerified: there is none.
    """
    word, _, rest = headers.one(b"authorization", Reason.CREDENTIAL_MISSING).partition(b" ")
    name = word.decode("latin-1").lower()
    if name not in words or not 0 < len(rest) <= LONGEST:
        raise NotVerified(Reason.CREDENTIAL_MALFORMED)
    return name, rest.strip()


def key_id(encoded: bytes) -> str | None:
    """Which key a token says that it is signed by; nothing about it is proven.

    Raises:
        NotVerified: it is no token.
    """
    try:
        kid: str | None = jwt.get_unverified_header(encoded).get("kid")
    except jwt.PyJWTError:
        raise NotVerified(Reason.CREDENTIAL_MALFORMED) from None
    return kid


def claims(
    encoded: bytes,
    key: jwt.PyJWK | str,
    algorithms: Sequence[str],
    *,
    required: Sequence[str],
    issuers: Sequence[str] | None = None,
    audiences: Sequence[str] | None = None,
) -> Mapping[str, Any]:
    """What a token says, once its signature, issuer and audience are right; not yet whether it is still good.

    Raises:
        NotVerified: they are not, or it lacks a claim that is required.
    """
    try:
        return jwt.decode(
            encoded,
            key,
            algorithms=list(algorithms),
            options=_OPTIONS | {"require": list(required), "verify_aud": audiences is not None},
            issuer=issuers,
            audience=audiences,
        )
    except jwt.InvalidSignatureError:
        raise NotVerified(Reason.CREDENTIAL_MISMATCH) from None
    except (jwt.InvalidIssuerError, jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
        raise NotVerified(Reason.CLAIM_MISMATCH) from None
    except jwt.InvalidKeyError:
        raise NotVerified(Reason.SECRET_UNUSABLE) from None
    except jwt.PyJWTError:
        raise NotVerified(Reason.CREDENTIAL_MALFORMED) from None


def check_times(told: Mapping[str, Any], now: int, leeway: int) -> None:
    """Refuse a token that is not good any more (`exp`) or yet (`nbf`) at `now`; both in milliseconds.

    Raises:
        NotVerified: it is not, or says no time where one should be.
    """
    if now >= _at(told["exp"]) + leeway:
        raise NotVerified(Reason.TIMESTAMP_STALE)
    if "nbf" in told and now < _at(told["nbf"]) - leeway:
        raise NotVerified(Reason.TIMESTAMP_FUTURE)


def _at(seconds: Any) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise NotVerified(Reason.TIMESTAMP_MALFORMED)
    try:
        return timestamps.milliseconds(str(max(0, int(seconds))).encode(), "s")
    except (ValueError, OverflowError):  # neither a number nor an end
        raise NotVerified(Reason.TIMESTAMP_MALFORMED) from None
