"""OAuth 2.0 by a refresh token: POST /login/common/oauth/tokens, secrets in the body (RFC 6749, section 6)."""

from typing import Any

import httpx

from bridge.clock import Clock
from bridge.model import Outcome
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.settings.secrets import Secret
from bridge.superoffice.login.refresh_token import RefreshToken
from bridge.superoffice.login.session import Grant
from bridge.superoffice.login.token_service import TokenExchange, json_object, usable_credential
from bridge.superoffice.outcome import NotSent

_PATH = "/login/common/oauth/tokens"
_UNSAID = 20 * 60  # seconds that a token is good for where the answer does not say, the least that is documented
_SHORTEST, _LONGEST = 10, 30 * 24 * 3600
# What RFC 6749 (5.2) lets a service say about a refusal.
_ERRORS = frozenset({
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope",
})  # fmt: skip


class OAuth:
    """Logs in by a refresh token."""

    scheme = "oauth"

    def __init__(
        self, environment: str, client_id: str, client_secret: Secret, refresh_token: Secret, redirect_uri: str | None
    ) -> None:
        self._url = environment + _PATH
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self.refresh_token = RefreshToken(refresh_token, client_id)

    async def log_in(self, exchange: TokenExchange, clock: Clock) -> Grant:
        try:
            await self.refresh_token.save()
            used = await self.refresh_token.current()
        except Exception as error:
            # Without the kept token, the configured one would be sent that may be worth nothing any more.
            detail = f"the store cannot be asked for the refresh token ({type(error).__name__})"
            raise NotSent(Outcome.UNAVAILABLE, detail) from None
        form = {
            "grant_type": "refresh_token",
            "client_id": self._client_id,
            "client_secret": self._client_secret.reveal().strip(),
            "refresh_token": used,
        }
        if self._redirect_uri:
            form["redirect_uri"] = self._redirect_uri
        request = httpx.Request("POST", self._url, data=form, headers={"Accept": "application/json"})
        answer = json_object(await exchange(request), clock.wall(), _reason)
        given = answer.get("refresh_token")
        if isinstance(given, str) and given and given != used:
            await self._keep(given)
        if str(answer.get("token_type", "bearer")).lower() != "bearer":
            raise NotSent(Outcome.MISCONFIGURED, "the log-in gave no bearer token, check the environment")
        token = usable_credential(answer.get("access_token"))
        return Grant(headers={"Authorization": f"Bearer {token}"}, lifetime=_lifetime(answer) * 1000)

    async def _keep(self, token: str) -> None:
        try:
            await self.refresh_token.replace(token)
        except Exception as error:  # it is used from memory meanwhile; a restart would lose it
            log.error(logs.LOGIN_UNKEPT, client_id=self._client_id, error=type(error).__name__)


def _lifetime(answer: dict[str, Any]) -> int:
    """Seconds; `expires_in` may be a number or its text."""
    try:
        seconds = int(answer.get("expires_in", _UNSAID))
    except (ValueError, TypeError, OverflowError):
        seconds = _UNSAID
    return min(max(seconds, _SHORTEST), _LONGEST)


def _reason(answer: dict[str, Any]) -> str:
    error = answer.get("error")
    return error if isinstance(error, str) and error in _ERRORS else ""
