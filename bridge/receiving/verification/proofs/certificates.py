"""Parses X.509 signing certificates, and checks their dates and their chain of trust."""

import functools
import re
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import verification

from bridge.errors import NotVerified
from bridge.receiving.verification.reasons import Reason

MOST = 10  # certificates of a chain
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")

Chain = Sequence[x509.Certificate]
"""The sender's certificate first, then those that lead to one that we trust."""


def chain_of(pem: bytes) -> Chain:
    """The certificates of a PEM text.

    Raises:
        ValueError: there are none, too many, or one is broken.
    """
    found = _PEM.findall(pem)
    if not 0 < len(found) <= MOST:
        raise ValueError("no chain of certificates")
    return [x509.load_pem_x509_certificate(one) for one in found]


def roots_of(pem: bytes) -> verification.Store:
    """The certificates of a PEM text, as those to trust. What the library cannot read is left out.

    Raises:
        ValueError: nothing is left.
    """
    roots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some that everybody trusts are odd, such as by their serial number
        for one in _PEM.findall(pem):
            try:
                roots.append(x509.load_pem_x509_certificate(one))
            except ValueError:
                continue
    return verification.Store(roots)


@functools.cache
def public_roots() -> verification.Store:
    """Those that browsers trust, as certifi brings them."""
    return roots_of(Path(certifi.where()).read_bytes())


def current_key(certificate: x509.Certificate, now: int) -> rsa.RSAPublicKey:
    """The RSA key of a certificate that is good at `now`, in milliseconds.

    Raises:
        NotVerified: it is not good any more, or yet, or has another kind of key.
    """
    if not certificate.not_valid_before_utc <= _moment(now) <= certificate.not_valid_after_utc:
        raise NotVerified(Reason.KEY_UNTRUSTED)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotVerified(Reason.KEY_UNUSABLE)
    return key


def trusted_key(chain: Chain, roots: verification.Store, name: str, now: int) -> rsa.RSAPublicKey:
    """The RSA key of a chain's first certificate, if `roots` vouch for it under that DNS name at `now`.

    Raises:
        NotVerified: they do not, or it has another kind of key.
    """
    policy = verification.PolicyBuilder().store(roots).time(_moment(now)).max_chain_depth(MOST)
    certificate, *between = chain
    try:
        policy.build_server_verifier(x509.DNSName(name)).verify(certificate, between)
    except verification.VerificationError:
        raise NotVerified(Reason.KEY_UNTRUSTED) from None
    return current_key(certificate, now)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
