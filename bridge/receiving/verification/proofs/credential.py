"""Schemes without a signature: a token in a header, HTTP Basic, and none at all.

They prove who called, not what was sent: they rest on TLS all the way to the bridge.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import key_of, position_of_match, signing
from bridge.receiving.verification.verifier import Proven
from bridge.settings.secrets import Secret


class Token:
    """A header whose value is one of the secrets, after `word` and a blank where there is one (such as Bearer).

    `Authorization` with `Bearer ...` in the secret itself will do, too.
    """

    def __init__(self, header: str, secrets: Sequence[Secret], word: str = "") -> None:
        self.header = header.lower().encode()
        self.redacted_headers = frozenset([self.header])
        self.tolerance = None
        self.delivery_id = None
        self._secrets = tuple(secrets)
        self._word = word.encode()

    def prove(self, _request: Request, headers: RequestHeaders, _now: int) -> Proven:
        shown = headers.one(self.header, Reason.CREDENTIAL_MISSING)
        if self._word:
            word, _, shown = shown.partition(b" ")
            if word.lower() != self._word.lower() or not shown:
                raise NotVerified(Reason.CREDENTIAL_MALFORMED)
        return _proven(self._secrets, shown)

    def sign(self, _request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        begin = self._word + b" " if self._word else b""
        return {self.header: begin + signing(self._secrets).reveal().encode()}


class Parameter:
    """A query parameter whose value is one of the secrets. `name` is one of those that are never stored."""

    redacted_headers: frozenset[bytes] = frozenset()
    tolerance = None
    delivery_id = None

    def __init__(self, name: str, secrets: Sequence[Secret]) -> None:
        self._name = name
        self._secrets = tuple(secrets)

    def prove(self, request: Request, _headers: RequestHeaders, _now: int) -> Proven:
        # A stranger's query may have thousands of pairs, so only those of this name are cut out.
        query = f"&{request.query.decode('latin-1')}&"
        _, *found = query.split(f"&{self._name}=")
        if not found or (len(found) == 1 and found[0].startswith("&")):
            raise NotVerified(Reason.CREDENTIAL_MISSING)
        if len(found) > 1 or f"&{self._name}&" in query:
            raise NotVerified(Reason.CREDENTIAL_MALFORMED)
        shown, _, _ = found[0].partition("&")
        return _proven(self._secrets, unquote_to_bytes(shown.replace("+", " ")))

    def sign(self, _request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        return {}


def _proven(secrets: Sequence[Secret], shown: bytes) -> Proven:
    genuine = (key_of("utf8", secret.reveal()) for secret in secrets)
    return Proven(position_of_match(genuine, (shown,), Reason.CREDENTIAL_MISMATCH))


class Basic:
    """HTTP Basic (RFC 7617, in UTF-8): one user name, one of the secrets as its password."""

    redacted_headers = frozenset([b"authorization"])
    tolerance = None
    delivery_id = None

    def __init__(self, username: str, secrets: Sequence[Secret]) -> None:
        self._username = username
        self._secrets = tuple(secrets)

    def prove(self, _request: Request, headers: RequestHeaders, _now: int) -> Proven:
        word, _, encoded = headers.one(b"authorization", Reason.CREDENTIAL_MISSING).partition(b" ")
        try:
            shown = b64decode(encoded.strip(), validate=True)
        except ValueError:
            shown = b""
        if word.lower() != b"basic" or not shown:
            raise NotVerified(Reason.CREDENTIAL_MALFORMED)
        genuine = (key_of("utf8", self._pair(secret)) for secret in self._secrets)
        return Proven(position_of_match(genuine, (shown,), Reason.CREDENTIAL_MISMATCH))

    def sign(self, _request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        return {b"authorization": b"Basic " + b64encode(self._pair(signing(self._secrets)).encode())}

    def _pair(self, secret: Secret) -> str:
        text = secret.reveal()
        return f"{self._username}:{text}" if text else ""  # without a password, nobody is let in


class Anyone:
    """No proof: whoever knows the URL can send."""

    redacted_headers: frozenset[bytes] = frozenset()
    tolerance = None
    delivery_id = None

    def prove(self, _request: Request, _headers: RequestHeaders, _now: int) -> Proven:
        return Proven()

    def sign(self, _request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        return {}
