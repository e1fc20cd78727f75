"""Certificates: read or refused, never half; the public roots are there."""

import pytest
from authorities import authority
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from bridge.receiving.verification.proofs.certificates import MOST, chain_of, public_roots, roots_of

ROOT = authority()


def test_a_chain_is_read_in_its_order() -> None:
    leaf = ROOT.issue("example.com")
    assert chain_of(b"# a comment\n" + leaf.pem + b"\r\n" + ROOT.pem) == [leaf.certificate, ROOT.certificate]
    assert len(chain_of(ROOT.pem * MOST)) == MOST


@pytest.mark.parametrize("pem", [b"", b"text", ROOT.pem[:-30], ROOT.key_pem, ROOT.pem * (MOST + 1)])
def test_what_is_no_chain_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError):
        chain_of(pem)


@given(st.binary())
def test_no_bytes_between_the_lines_break_it(content: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n" + content + b"\n-----END CERTIFICATE-----"
    for read in (chain_of, roots_of):
        with pytest.raises(ValueError):
            read(pem)
    assert roots_of(pem + ROOT.pem)


def test_the_public_roots_are_many_and_include_those_that_cannot_be_read() -> None:
    assert isinstance(public_roots(), x509.verification.Store)
    assert public_roots() is public_roots()
