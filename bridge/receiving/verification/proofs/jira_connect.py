"""Jira's web tokens: HS256 by the app's secret, in Authorization; those of Connect also bind method, path and query.

Facts: developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps; the npm package atlassian-jwt
(how the query is written). A token proves who calls, and for Connect to which URL; it says nothing about the body.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qsl, quote, urlsplit

import jwt
from pydantic import Field

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.verification.compilation import Compiled, SecretList, Tolerance, check_secrets, check_url
from bridge.receiving.verification.proofs import json_web_tokens
from bridge.receiving.verification.public_url import PublicUrl
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import position_of_match, signing
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Secret

LEEWAY = 60_000  # milliseconds that the two clocks may differ by
LIFE = 180  # seconds that the tokens are good for that we make
SHORTEST = 32  # bytes of a key of HS256 (RFC 7518, 3.2)
MOST_PARAMETERS = 100
_ALGORITHMS = ("HS256",)


class JiraConnectSettings(Strict):
    """`verify` for the apps of Jira."""

    scheme: Literal["jira-connect"]
    secrets: SecretList
    base_url: str = Field("", description="the baseUrl of the app's descriptor, where it has a path")
    tolerance: Tolerance = None


class JiraConnect:
    """`JWT ...` of Connect, whose `qsh` must be that of the request, or `Bearer ...` of an OAuth app, without one."""

    redacted_headers = frozenset([b"authorization"])
    tolerance = None
    delivery_id = None

    def __init__(self, secrets: Sequence[Secret], public_url: str, base_url: str = "", leeway: int = LEEWAY) -> None:
        self._secrets = tuple(secrets)
        self._url = PublicUrl(public_url)
        self._base = urlsplit(base_url).path.rstrip("/")
        self._leeway = leeway

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        word, encoded = json_web_tokens.shown(headers, "jwt", "bearer")
        wanted = ("exp", "qsh") if word == "jwt" else ("exp",)
        refusal = NotVerified(Reason.SECRET_UNUSABLE)
        for number, secret in enumerate(self._secrets, 1):
            if not (key := secret.reveal()):  # a file yet to fill
                continue
            try:
                told = json_web_tokens.claims(encoded, key, _ALGORITHMS, required=wanted)
            except NotVerified as error:
                refusal = error
                continue
            if "qsh" in told:
                if not isinstance(told["qsh"], str):
                    raise NotVerified(Reason.CLAIM_MISMATCH)
                ours = self._hash_of(request).encode()
                # JSON may hold half a surrogate pair, which UTF-8 cannot write.
                position_of_match((ours,), (told["qsh"].encode(errors="replace"),), Reason.CLAIM_MISMATCH)
            json_web_tokens.check_times(told, now, self._leeway)
            return Proven(number)
        raise refusal

    def sign(self, request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        """As Connect signs.

        Raises:
            NotVerified: the first secret is too short.
        """
        at = request.received_at // 1000
        told = {"iss": "bridge", "iat": at, "exp": at + LIFE, "qsh": self._hash_of(request)}
        key = signing(self._secrets).reveal()
        if len(key.encode()) < SHORTEST:
            raise NotVerified(Reason.SECRET_UNUSABLE)
        return {b"authorization": b"JWT " + jwt.encode(told, key, _ALGORITHMS[0]).encode()}

    def _hash_of(self, request: Request) -> str:
        parts = urlsplit(self._url.called(request).decode("latin-1"))
        path = parts.path.removeprefix(self._base).rstrip("/").replace("&", "%26") or "/"
        canonical = f"{request.method}&{path}&{canonical_query(parts.query)}"
        return hashlib.sha256(canonical.encode()).hexdigest()


def canonical_query(query: str) -> str:
    """A query as Atlassian hashes it: without `jwt`, percent-encoded (RFC 3986), sorted, the values of a name joined.

    Raises:
        NotVerified: it has too many parameters.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise NotVerified(Reason.CLAIM_MISMATCH) from None
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        if name != "jwt":
            gathered.setdefault(quote(name, safe="~"), []).append(quote(value, safe="~"))
    return "&".join(f"{name}={','.join(sorted(values))}" for name, values in sorted(gathered.items()))


def compile_jira_connect(section: Section, public_url: str) -> Compiled:
    """`verify: {scheme: jira-connect, secrets: [...]}`."""
    settings, problems = parse(section, JiraConnectSettings)
    if settings is None:
        return None, problems
    problems += check_url(section, public_url)
    problems += check_secrets(section, lambda text: len(text.encode()) >= SHORTEST, f"has less than {SHORTEST} bytes")
    leeway = LEEWAY if settings.tolerance is None else settings.tolerance
    return JiraConnect(settings.secrets, public_url, settings.base_url, leeway), problems
