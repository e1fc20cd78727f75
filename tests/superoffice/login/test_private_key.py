"""Private keys as applications of SuperOffice get them, in PEM or RSA XML; what is wrong is said without quoting it."""

from typing import Any

import pytest
from authorities import rsa_key
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.logins import pem, rsa_xml
from bridge.superoffice.login.private_key import private_key, sign

KEY = rsa_key(0)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PKCS1 = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
XML = rsa_xml(KEY)


def as_pem(key: Any, encryption: Any = None) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return text.decode()


@pytest.mark.parametrize(
    "text",
    [
        pem(KEY),
        PKCS1,
        pem(KEY).replace("\n", "\r\n"),
        pem(KEY).replace("\n", "\\n"),
        "\n " + pem(KEY) + "\n",
        XML,
        '<?xml version="1.0"?>\n' + XML.replace("><", ">\n  <"),
    ],
)
def test_a_key_is_read_however_it_is_written(text: str) -> None:
    assert private_key(text).private_numbers() == KEY.private_numbers()


def test_what_is_signed_verifies_by_the_public_key() -> None:
    KEY.public_key().verify(
        sign(private_key(XML), "token.202611240600"), b"token.202611240600", padding.PKCS1v15(), hashes.SHA256()
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is neither a PEM nor an RSA XML key"),
        ("MIIEvgIBADANBgkqhkiG9w0", "is neither a PEM nor an RSA XML key"),
        (pem(KEY)[:300], "is not a private key in PEM"),
        (pem(KEY).replace("A", "B"), "is not a private key in PEM"),
        (PUBLIC, "is not a private key in PEM"),
        (as_pem(KEY, BestAvailableEncryption(b"pw")), "is encrypted"),
        (as_pem(ec.generate_private_key(ec.SECP256R1())), "is not an RSA key"),
        ("<RSAKeyValue/>", "is not a private key in RSA XML"),
        (XML[:-20], "is not a private key in RSA XML"),
        (XML.replace("<D>", "<D>AQAB"), "is not a private key in RSA XML"),
        (XML.split("<P>")[0] + "</RSAKeyValue>", "is not a private key in RSA XML"),
        (XML.replace("<P>", "<P>!"), "is not a private key in RSA XML"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><RSAKeyValue>&e;</RSAKeyValue>', "is not a private key in RSA XML"),
        ("<" + "a" * 100_000, "is too long for a private key"),
    ],
)
def test_what_is_no_key_is_said_so(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        private_key(text)
    assert str(caught.value) == problem
    assert caught.value.__cause__ is None


@given(st.one_of(st.text(), st.text().map(lambda text: "-----BEGIN " + text), st.text().map(lambda text: f"<{text}>")))
def test_whatever_it_is_a_key_or_a_problem_comes_out(text: str) -> None:
    with pytest.raises(ValueError):
        private_key(text)
