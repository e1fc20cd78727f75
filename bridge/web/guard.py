"""Middleware of the admin port: bearer token, body limits, rate limit of failures.

A right token is looked at and served at once, whatever came from its address before.
"""

import hmac
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.errors import Refused
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.observing.metrics import Metrics
from bridge.receiving.limits.address_limiter import AddressLimiter
from bridge.receiving.limits.log_limiter import LogLimiter
from bridge.receiving.limits.request_limits import Largest, Limits
from bridge.settings.secrets import Secret
from bridge.settings.source_schema import FailureSettings
from bridge.web.bodies import BodyReader
from bridge.web.problems import for_error, unauthorized
from bridge.web.protocol.connections import Connections
from bridge.web.protocol.request_reader import FIELDS

_LIMITS = Limits(connections=100)  # few people and scripts come here, and the public port needs the files
_LARGEST = Largest(1024 * 1024, "")
_FAILURES = FailureSettings()
_CHALLENGE = "Bearer"


class Guard:
    """Lets those requests to an application pass that show the token; `connections` are those to serve it on."""

    def __init__(
        self,
        app: ASGIApp,
        token: Secret,
        metrics: Metrics,
        limits: Limits = _LIMITS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._token = token
        self._metrics = metrics
        self._failures = AddressLimiter(monotonic)
        self._log_limiter = LogLimiter(monotonic)
        self.bodies = BodyReader(limits)
        self.connections = Connections(limits, self._log_refusal)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["client"][0]
        shown = scope[FIELDS].get(b"authorization")
        try:
            if shown is None or not self._is_right(shown):
                self._count_failure(client)
                self._log_refusal("token_missing" if shown is None else "token_mismatch", client)
                answer = unauthorized("send Authorization: Bearer and the admin token", _CHALLENGE)
                await self.bodies.leave(answer, receive, send)
                return
            body = await self.bodies.read(scope, scope["headers"], receive, client, _LARGEST, None)
        except Refused as error:
            self._log_refusal(error.reason, client)
            await self.bodies.leave(for_error(error, _CHALLENGE), receive, send)
            return
        await self._app(scope, _whole(body, receive), send)

    def _is_right(self, shown: bytes) -> bool:
        return hmac.compare_digest(shown, b"Bearer " + self._token.reveal().encode())

    def _count_failure(self, client: str) -> None:
        self._failures.check("", client)
        self._failures.add("", client, _FAILURES)

    def _log_refusal(self, reason: str, client: str) -> None:
        self._metrics.admin_refused[reason].inc()
        left_out = self._log_limiter.left_out("", reason)
        if left_out is not None:
            more = {"left_out": left_out} if left_out else {}
            log.warning(logs.ADMIN_REFUSED, reason=reason, client=client, **more)


def _whole(body: bytes, receive: Receive) -> Receive:
    """What an application receives of a request whose body was read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
