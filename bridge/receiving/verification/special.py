"""A registry of schemes with code of their own; a module is imported when its scheme is first used.

(cryptography, PyJWT and httpx take a quarter of a second and 12 MB, which `bridge test` has better uses for.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from bridge.receiving.content.cloud_events import MARK
from bridge.receiving.verification.compilation import Compiled, SchemeEntry
from bridge.settings.document import Section
from bridge.settings.parsing import Strict


@dataclass(frozen=True, slots=True)
class Special:
    """One scheme. `redacted_headers` are the headers, in lower case, that must not be stored."""

    load: Callable[[], SchemeEntry]
    redacted_headers: frozenset[str] = frozenset()

    @property
    def model(self) -> type[Strict]:
        """What may stand under `verify`."""
        return self.load().model

    def compile(self, section: Section, public_url: str) -> Compiled:
        """The proof that a source's `verify` describes, or problems."""
        return self.load().compile(section, public_url)


def _by_key(name: str) -> SchemeEntry:
    from bridge.receiving.verification.proofs.public_key import PublicKeySettings, compile_key_recipe

    return SchemeEntry(PublicKeySettings, partial(compile_key_recipe, name))


def _standard_webhooks() -> SchemeEntry:
    from bridge.receiving.verification.proofs.public_key import PublicKeySettings, compile_standard_webhooks

    return SchemeEntry(PublicKeySettings, compile_standard_webhooks)


def _paypal() -> SchemeEntry:
    from bridge.receiving.verification.proofs.paypal import PayPalSettings, compile_paypal

    return SchemeEntry(PayPalSettings, compile_paypal)


def _sns() -> SchemeEntry:
    from bridge.receiving.verification.proofs.aws_sns import SnsSettings, compile_sns

    return SchemeEntry(SnsSettings, compile_sns)


def _twilio() -> SchemeEntry:
    from bridge.receiving.verification.proofs.twilio import TwilioSettings, compile_twilio

    return SchemeEntry(TwilioSettings, compile_twilio)


def _mailgun() -> SchemeEntry:
    from bridge.receiving.verification.proofs.mailgun import MailgunSettings, compile_mailgun

    return SchemeEntry(MailgunSettings, compile_mailgun)


def _graph() -> SchemeEntry:
    from bridge.receiving.verification.proofs.microsoft_graph import GraphSettings, compile_graph

    return SchemeEntry(GraphSettings, compile_graph)


def _jira_connect() -> SchemeEntry:
    from bridge.receiving.verification.proofs.jira_connect import JiraConnectSettings, compile_jira_connect

    return SchemeEntry(JiraConnectSettings, compile_jira_connect)


def _bearer() -> SchemeEntry:
    from bridge.receiving.verification.proofs.bearer import BearerSettings, compile_bearer

    return SchemeEntry(BearerSettings, compile_bearer)


SPECIAL: Mapping[str, Special] = {
    "discord": Special(partial(_by_key, "discord"), frozenset(["x-signature-ed25519", MARK])),
    "sendgrid": Special(partial(_by_key, "sendgrid"), frozenset(["x-twilio-email-event-webhook-signature", MARK])),
    "standard-webhooks": Special(_standard_webhooks, frozenset(["webhook-signature", MARK])),
    "paypal": Special(_paypal, frozenset(["paypal-transmission-sig", MARK])),
    "aws-sns": Special(_sns, frozenset([MARK])),
    "twilio": Special(_twilio, frozenset(["x-twilio-signature", MARK])),
    "mailgun": Special(_mailgun, frozenset([MARK])),
    "microsoft-graph": Special(_graph),
    "jira-connect": Special(_jira_connect),
    "bearer": Special(_bearer),
}
