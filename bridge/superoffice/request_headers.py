"""The headers of a target's requests, without authorization: ours, the target's, then the event's."""

import httpx

from bridge import __version__
from bridge.model import Claim, Outcome
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.outcome import NotSent

_OWN = {
    "User-Agent": f"superoffice-bridge/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class TargetHeaders:
    """What a target's requests carry. Where nothing of it changes, it is made once."""

    def __init__(self, settings: TargetSettings) -> None:
        chosen = {
            "Accept-Language": settings.accept_language,
            "SO-Language": settings.language,
            "SO-Culture": settings.culture,
            "SO-TimeZone": settings.time_zone,
        }
        secrets = dict(settings.headers) | ({"SO-AppToken": settings.app_token} if settings.app_token else {})
        self._fixed = httpx.Headers(_OWN | {name: value for name, value in chosen.items() if value})
        self._fixed.update({name: secret.reveal() for name, secret in secrets.items() if not secret.follows_a_file})
        self._followed = {name: secret for name, secret in secrets.items() if secret.follows_a_file}
        self._correlation = settings.correlation_header
        self._of_events = httpx.Headers(self._fixed)
        self._of_events.update(_JSON)

    def of(self, claim: Claim) -> httpx.Headers:
        """Those of the request that sends an event; not to be changed.

        Raises:
            NotSent: a file has come to hold what no header can carry.
        """
        if claim.headers is None and self._correlation is None and not self._followed:
            return self._of_events
        headers = self._with_followed(self._of_events)
        if claim.headers is not None:
            headers.update(claim.headers)
        if self._correlation is not None:
            headers[self._correlation] = claim.event_id
        return headers

    def of_question(self) -> httpx.Headers:
        """Those of a GET; not to be changed.

        Raises:
            NotSent: as `of`.
        """
        return self._with_followed(self._fixed)

    def _with_followed(self, headers: httpx.Headers) -> httpx.Headers:
        headers = httpx.Headers(headers)
        for name, secret in self._followed.items():
            value = secret.reveal().strip()
            if not fits_header(value):
                raise NotSent(Outcome.MISCONFIGURED, f"the file for the header {name} holds what no header can carry")
            headers[name] = value
        return headers


def fits_header(value: str) -> bool:
    """Whether a header can carry a value."""
    return value.isascii() and value.isprintable()
