"""A handshake: a request of a sender that is no webhook, and the answer to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

from bridge.errors import Unreadable
from bridge.model import Request
from bridge.receiving.content.body import json as read_json
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.settings.secrets import Secret


class HandshakeRefusal(StrEnum):
    """Why a handshake is refused: words for the log; the sender hears a status only (web/problems)."""

    MALFORMED = "malformed"  # nothing that the sender would send, or too long
    NOT_REGISTERING = "not_registering"
    TOO_MANY_SECRETS = "too_many_secrets"  # nobody has read those handed over before
    VERIFY_TOKEN_UNSET = "verify_token_unset"  # noqa: S105
    VERIFY_TOKEN_MISMATCH = "verify_token_mismatch"  # noqa: S105
    URL_NOT_ALLOWED = "url_not_allowed"
    CONFIRMATION_FAILED = "confirmation_failed"
    CHALLENGE_AS_BODY = "challenge_as_body"  # what we once answered a challenge with, used as a signature
    STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a handshake; with a reason in `refused`, that it is none. `is_nothing`: that there is no content.

    `keep` is a secret to keep, and `visit` a URL to call, before this is answered.
    """

    is_nothing: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    body: bytes = b""
    refused: HandshakeRefusal | None = None
    keep: str = field(default="", repr=False)
    visit: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeKeys:
    """What a source's configuration says that a handshake needs."""

    secrets: tuple[Secret, ...] = ()
    verify_token: Secret | None = None
    registering: bool = False
    rate: int | None = None  # webhooks per minute that are accepted; None for any


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that looks like a handshake. `secret` is which of the source's secrets proved it, from 1."""

    request: Request
    keys: HandshakeKeys
    secret: int | None = None

    def header(self, name: bytes) -> str:
        """A header's value, repeated ones joined; empty where there is none."""
        return RequestHeaders(self.request.headers).get(name).decode("latin-1").strip()

    def parameter(self, name: str) -> str:
        """A query parameter, decoded; empty where there is none, or more than one."""
        try:
            values = parse_qs(self.request.query.decode("latin-1"), max_num_fields=20).get(name, [])
        except ValueError:
            return ""
        return values[0] if len(values) == 1 else ""

    def body(self) -> Any:
        """The body's JSON; None where it is none."""
        try:
            return read_json(self.request.body)
        except Unreadable:
            return None

    def member(self, name: str) -> Any:
        """A member of the object that the body is; None where there is none."""
        body = self.body()
        return body.get(name) if isinstance(body, dict) else None


def refused(reason: HandshakeRefusal) -> Reply:
    """No."""
    return Reply(refused=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a sender's handshake: how it is told from others, and the answer; None where it is none after all.

    `when` is asked of every request with that method (any, where `method` is empty), so it is quick. A `signed` one is
    proven genuine first.
    """

    answer: Callable[[Asked], Reply | None]
    when: Callable[[Request], bool] = lambda _: True
    method: str = "POST"
    signed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """A sender's handshake; `name` and `keys` where it is that of a source."""

    steps: tuple[Step, ...]
    name: str = ""
    keys: HandshakeKeys = HandshakeKeys()

    @property
    def methods(self) -> frozenset[str]:
        """The methods that it is asked by."""
        return frozenset(step.method for step in self.steps if step.method)

    def step(self, request: Request) -> Step | None:
        """The step that a request seems to be."""
        return next((step for step in self.steps if step.method in ("", request.method) and step.when(request)), None)
