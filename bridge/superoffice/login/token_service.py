"""The client of a log-in service: sends token requests, reads the answers, never quotes a secret."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import httpx

from bridge.model import Outcome
from bridge.superoffice import decoding
from bridge.superoffice.http.transport import Transport
from bridge.superoffice.outcome import NotSent, judge_fault, retry_after

_MOST_READ = 256 * 1024  # bytes of an answer; a JWT or a key set has a few thousand
_MOST_SAID = 200  # characters of what the other side says
_WORD = re.compile(r"[A-Za-z'-]{1,20}[.,:;]?")


class TokenAnswer(NamedTuple):
    """What a log-in service answered; `body` is bounded."""

    status: int
    headers: httpx.Headers
    body: bytes


TokenExchange = Callable[[httpx.Request], Awaitable[TokenAnswer]]
"""Sends a request to a log-in service; raises NotSent where there is no answer."""


class LogInService:
    """Sends requests to a log-in service over connections of its own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def exchange(self, request: httpx.Request) -> TokenAnswer:
        """Send a request.

        Raises:
            NotSent: there is no answer, or one that is too long.
        """
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = await self._transport.handle_async_request(request)
            body = await decoding.body_of(response, _MOST_READ)
        except Exception as error:
            fault = judge_fault(error, sent=False, within="").detail
            raise NotSent(Outcome.UNAVAILABLE, f"the log-in cannot be reached: {fault}") from None
        if len(body) > _MOST_READ:
            raise NotSent(Outcome.MISCONFIGURED, "the answer is too long for a log-in's, check the environment")
        return TokenAnswer(response.status_code, response.headers, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def json_object(answer: TokenAnswer, now: int, explain: Callable[[Any], str] = lambda _: "") -> dict[str, Any]:
    """The JSON object that a log-in service answered; `explain` words a refusal's own reason, safe to log.

    Raises:
        NotSent: it answered something else.
    """
    status = answer.status
    if status >= 500 or status in (408, 429):
        wait = retry_after(answer.headers, now)
        raise NotSent(Outcome.UNAVAILABLE, f"the log-in answered {status}", wait)
    value = decoding.read(answer.headers, answer.body).value
    if status >= 400:
        raise login_refused(f"({status}) {explain(value) if isinstance(value, dict) else ''}")
    if status != 200 or not isinstance(value, dict):
        raise NotSent(
            Outcome.MISCONFIGURED, f"the answer ({status}) is not a log-in's, check the environment of authorization"
        )
    return value


def login_refused(why: str) -> NotSent:
    """What to raise where the log-in service says no."""
    return NotSent(Outcome.UNAUTHORIZED, f"the log-in was refused {why.strip()}, check the target's authorization")


def plain_words(text: Any, secrets: Iterable[str]) -> str:
    """What the other side says, as far as it is made of plain words: it may quote what it was sent, in any way."""
    if not isinstance(text, str):
        return ""
    hidden = [secret.lower() for secret in secrets]
    words = [
        word if _WORD.fullmatch(word) and not _reveals(word.rstrip(".,:;").lower(), hidden) else "..."
        for word in text[: 2 * _MOST_SAID].split()
    ]
    return " ".join(words)[:_MOST_SAID]


def _reveals(word: str, secrets: Iterable[str]) -> bool:
    """Whether a word is a secret, or a part of one that is too long to be there by chance."""
    return any(word == secret or (len(word) > 3 and word in secret) for secret in secrets)


def usable_credential(credential: Any, most: int = 16 * 1024) -> str:
    """A ticket or token that came from a log-in, if a header can carry it.

    Raises:
        NotSent: it cannot.
    """
    if (
        isinstance(credential, str)
        and 0 < len(credential) <= most
        and credential.isascii()
        and credential.isprintable()
        and " " not in credential
    ):
        return credential
    raise NotSent(Outcome.MISCONFIGURED, "the log-in gave no credential that can be sent, check the environment")
