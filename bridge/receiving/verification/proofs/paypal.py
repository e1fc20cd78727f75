"""PayPal: RSA over the transmission's id and time, the webhook's id and the body's CRC-32, by PayPal's certificate.

Facts: PayPal-Python-SDK, paypalrestsdk/notifications.py; PayPal-Java-SDK, SSLUtil (the certificate's names). A CRC-32
is no protection against who changes a body on purpose: a body can be made to have any.
"""

import re
import zlib
from typing import Annotated, Literal, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.x509 import verification
from msgspec.structs import replace
from pydantic import Field

from bridge.errors import CannotSign
from bridge.model import Request
from bridge.receiving.content import cloud_events
from bridge.receiving.senders.signature_spec import SignatureSpec
from bridge.receiving.verification.compilation import Compiled, Tolerance
from bridge.receiving.verification.proofs.certificates import Chain, chain_of, public_roots, roots_of, trusted_key
from bridge.receiving.verification.proofs.public_key import DAY, PublicKeys, rsa_of
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.remote_keys import RemoteKeys
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse

TOLERANCE = 4 * DAY  # it tries again for three days, and may not sign anew when it does
_URLS = r"https://api(-m)?{}\.paypal\.com/v1/notifications/certs/CERT-[0-9A-Za-z-]{{1,100}}"
_NAMES = "messageverificationcerts{}.paypal.com"


class PayPalSettings(Strict):
    """`verify` for PayPal."""

    scheme: Literal["paypal"]
    webhook_id: Annotated[str, Field(min_length=1)] = Field(description="the webhook's id, as PayPal shows it")
    sandbox: bool = Field(False, description="whether it is a webhook of PayPal's sandbox")
    roots: str = Field("", description="certificates to trust in PEM, instead of those that browsers trust")
    tolerance: Tolerance = None


class PayPal:
    """A transmission for one webhook. `roots` vouch for PayPal's certificates; None for those that browsers trust."""

    def __init__(
        self,
        webhook_id: str,
        *,
        sandbox: bool = False,
        roots: verification.Store | None = None,
        tolerance: int | None = None,
    ) -> None:
        self._recipe = SignatureSpec(
            header="PAYPAL-TRANSMISSION-SIG",
            encoding="base64",
            signed=(
                *("header:PAYPAL-TRANSMISSION-ID", "lit:|", "header:PAYPAL-TRANSMISSION-TIME", "lit:|"),
                *(f"lit:{webhook_id}|", "body"),
            ),
            timestamp="header:PAYPAL-TRANSMISSION-TIME",
            timestamp_unit="rfc3339",
            tolerance=TOLERANCE,
            delivery_id="header:PAYPAL-TRANSMISSION-ID",
        )
        self.tolerance = TOLERANCE if tolerance is None else tolerance
        self._roots = roots
        part = ".sandbox" if sandbox else ""
        self._name = _NAMES.format(part)
        self.remote_keys: RemoteKeys[Chain] = RemoteKeys(re.compile(_URLS.format(re.escape(part))), chain_of)
        self.redacted_headers = frozenset([b"paypal-transmission-sig", cloud_events.MARK.encode()])
        self.delivery_id = b"paypal-transmission-id"

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        headers.one(b"paypal-transmission-sig", Reason.SIGNATURE_MISSING)  # without one, no certificate is asked for
        url = headers.one(b"paypal-cert-url", Reason.SIGNED_HEADER_MISSING).decode("latin-1")
        key = trusted_key(self.remote_keys.get(url), self._roots or public_roots(), self._name, now)
        check = rsa_of(key, hashes.SHA256())
        summed = replace(request, body=str(zlib.crc32(request.body)).encode())
        PublicKeys(self._recipe, [lambda: check], self.tolerance).prove(summed, headers, now)
        self.remote_keys.proved(url)
        return Proven()

    def sign(self, _request: Request, _delivery_id: str) -> NoReturn:
        raise CannotSign("only PayPal has the private key that signs: send an event from its webhooks simulator")


def compile_paypal(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: paypal, webhook_id: ...}`."""
    settings, problems = parse(section, PayPalSettings)
    if settings is None:
        return None, problems
    roots = None
    if settings.roots:
        try:
            roots = roots_of(settings.roots.encode())
        except ValueError:
            problems.append(section["roots"].problem("holds no certificate", "give it PEM, such as by ${file:...}"))
    proof = PayPal(settings.webhook_id, sandbox=settings.sandbox, roots=roots, tolerance=settings.tolerance)
    return proof, problems
