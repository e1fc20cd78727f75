"""PayPal's transmissions: one webhook's id, and a certificate that the roots vouch for under PayPal's own name."""

from functools import partial

import pytest
from authorities import START, Issued, authority, rsa_key
from msgspec.structs import replace

from bridge.errors import NotVerified
from receiving.verification.genuine import (
    BETWEEN,
    CERT_OF_PAYPAL,
    PAYPAL,
    ROOT,
    SCHEMES,
    paypal,
    refusal,
    verified,
    with_header,
)
from receiving.verification.support import NOW, compiled

NAME = "messageverificationcerts.paypal.com"
STRANGERS = authority("a root")
of_strangers = STRANGERS.issue("between", authority=True)


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ([PAYPAL, BETWEEN], None),
        ([PAYPAL, BETWEEN, ROOT], None),
        ([PAYPAL], "key_untrusted"),
        ([BETWEEN, PAYPAL], "key_untrusted"),
        ([of_strangers.issue(NAME, key=rsa_key()), of_strangers], "key_untrusted"),
        ([of_strangers.issue(NAME, key=rsa_key()), of_strangers, STRANGERS], "key_untrusted"),
        ([of_strangers.issue(NAME, key=rsa_key()), BETWEEN], "key_untrusted"),
        ([BETWEEN.issue("evil.example", key=rsa_key()), BETWEEN], "key_untrusted"),
        ([BETWEEN.issue("messageverificationcerts.sandbox.paypal.com", key=rsa_key()), BETWEEN], "key_untrusted"),
        ([BETWEEN.issue(NAME, key=rsa_key(), end=START.replace(year=2021)), BETWEEN], "key_untrusted"),
        ([BETWEEN.issue(NAME, key=rsa_key(), start=START.replace(year=2090)), BETWEEN], "key_untrusted"),
        ([PAYPAL.issue(NAME, key=rsa_key()), PAYPAL, BETWEEN], "key_untrusted"),  # one that may not issue any
        ([BETWEEN.issue(NAME), BETWEEN], "key_unusable"),
        ([BETWEEN.issue(NAME, key=rsa_key(1)), BETWEEN], "signature_mismatch"),
        ([PAYPAL] * 11, "key_unusable"),
        ([], "key_unusable"),
    ],
)
def test_only_a_chain_to_a_root_under_paypals_name_counts(chain: list[Issued], reason: str | None) -> None:
    verify = partial(verified, SCHEMES["paypal"].verifier(), paypal(b"{}", NOW), NOW)
    published = {CERT_OF_PAYPAL: b"\n".join(issued.pem for issued in chain)}
    if reason is None:
        assert verify(published).delivery_id == "69cd13f0"
        return
    with pytest.raises(NotVerified, match=reason):
        verify(published)


def test_without_roots_of_ones_own_only_those_that_browsers_trust_count() -> None:
    verifier = compiled({"scheme": "paypal", "webhook_id": "8PT597110X687430LKGECATA"})
    assert refusal(verifier, paypal(b"{}", NOW)) == "key_untrusted"


def test_a_transmission_for_another_webhook_is_refused() -> None:
    verifier = SCHEMES["paypal"].verifier()
    assert refusal(verifier, paypal(b"{}", NOW)) is None
    assert refusal(verifier, paypal(b"{}", NOW, "another")) == "signature_mismatch"
    assert refusal(verifier, paypal(b"{}", NOW, "8PT597110X687430LKGECATA|0")) == "signature_mismatch"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1/../../../../redirect",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?to=evil.example",
        "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",  # not what this webhook is of
    ],
)
def test_a_certificate_from_anywhere_else_is_never_asked_for(url: str) -> None:
    asked = with_header(paypal(b"{}", NOW), "paypal-cert-url", url.encode())
    assert refusal(SCHEMES["paypal"].verifier(), asked) == "key_url_refused"


def test_without_a_signature_no_certificate_is_asked_for() -> None:
    asked = with_header(paypal(b"{}", NOW), "paypal-transmission-sig")
    with pytest.raises(NotVerified, match="signature_missing"):
        SCHEMES["paypal"].verifier().verify(asked, NOW)


def test_the_sandbox_has_certificates_of_its_own() -> None:
    url = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1"
    asked = with_header(paypal(b"{}", NOW), "paypal-cert-url", url.encode())
    verifier = SCHEMES["paypal"].verifier(sandbox=True)
    its_own = BETWEEN.issue("messageverificationcerts.sandbox.paypal.com", key=rsa_key())
    assert verified(verifier, asked, NOW, {url: its_own.pem + BETWEEN.pem}).body == b"{}"
    assert refusal(verifier, paypal(b"{}", NOW)) == "key_url_refused"
    assert refusal(verifier, replace(asked, body=b"{ }")) == "signature_mismatch"
