"""Microsoft Graph: every item of a notification shows the clientState that its subscription was made with.

Facts: learn.microsoft.com/graph/change-notifications-delivery-webhooks. It proves who calls, not what was sent. The
`validationTokens` of notifications with encrypted content are not looked at.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from bridge.errors import CannotSign, NotVerified
from bridge.model import Request
from bridge.receiving.verification.compilation import Compiled, SecretList, check_secrets
from bridge.receiving.verification.proofs import unverified_body
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.secret_match import key_of, position_of_match
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Secret

MOST_ITEMS = 50_000  # and objects in them, of one request: each takes a hundred times what a byte of text does
MOST_STATES = 20  # that differ, in one request: each is compared with each of ours
LONGEST = 128  # characters of a clientState, as Graph has it


class GraphSettings(Strict):
    """`verify` for Microsoft Graph."""

    scheme: Literal["microsoft-graph"]
    secrets: SecretList


class _Item(Struct):
    """A change, as far as it proves itself."""

    clientState: str | None = None  # noqa: N815 - as Graph has it


class _Notification(Struct):
    """Some changes."""

    value: list[_Item]


class MicrosoftGraph:
    """A body whose items all show one of the secrets. Items may show different ones."""

    redacted_headers: frozenset[bytes] = frozenset()
    tolerance = None
    delivery_id = None

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._secrets = tuple(secrets)

    def prove(self, request: Request, headers: RequestHeaders, _now: int) -> Proven:
        if request.body.count(b"{") > MOST_ITEMS:
            raise NotVerified(Reason.BODY_MALFORMED)
        items = unverified_body.members(request, headers, _Notification).value
        states = dict.fromkeys(unverified_body.text(item.clientState, Reason.CREDENTIAL_MISSING) for item in items)
        if not states:
            raise NotVerified(Reason.CREDENTIAL_MISSING)
        if len(states) > MOST_STATES:
            raise NotVerified(Reason.CREDENTIAL_MISMATCH)
        position, *_ = [self._position(state) for state in states]
        return Proven(position)

    def sign(self, request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        """No header: the clientState must stand in the body already.

        Raises:
            CannotSign: it does not.
        """
        try:
            self.prove(request, RequestHeaders(request.headers), request.received_at)
        except NotVerified:
            raise CannotSign("the clientState stands in the body: write it into every item of the payload") from None
        return {}

    def _position(self, state: str) -> int:
        genuine = (key_of("utf8", secret.reveal()) for secret in self._secrets)
        return position_of_match(genuine, (state.encode(),), Reason.CREDENTIAL_MISMATCH)


def compile_graph(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: microsoft-graph, secrets: [...]}`."""
    settings, problems = parse(section, GraphSettings)
    if settings is None:
        return None, problems
    message = f"is longer than the {LONGEST} characters that a clientState may have"
    problems += check_secrets(section, lambda text: len(text) <= LONGEST, message)
    return MicrosoftGraph(settings.secrets), problems
