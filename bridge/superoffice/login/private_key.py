"""The RSA private key of an application, as SuperOffice hands it out: PEM, or .NET's RSA XML."""

from base64 import b64decode
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from defusedxml import DefusedXmlException, ElementTree

_LONGEST = 64 * 1024  # characters; a key of 4,096 bits has 3,300


@lru_cache(maxsize=64)  # to check a key takes 30 ms, and all tenants of an application log in by one
def private_key(text: str) -> rsa.RSAPrivateKey:
    r"""Read a key. In PEM, `\n` may stand for a line's end, as in environment variables.

    Raises:
        ValueError: what is wrong with it; nothing of it is quoted.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        raise ValueError("is too long for a private key")
    if text.startswith("<"):
        return _from_xml(text)
    if not text.startswith("-----BEGIN "):
        raise ValueError("is neither a PEM nor an RSA XML key")
    try:
        key = load_pem_private_key(text.replace("\\n", "\n").encode(), None)
    except TypeError:
        raise ValueError("is encrypted") from None
    except Exception:  # cryptography raises its own for what it does not support
        raise ValueError("is not a private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("is not an RSA key")  # noqa: TRY004  # one kind of error for whatever is wrong
    return key


def sign(key: rsa.RSAPrivateKey, text: str) -> bytes:
    """The RSA PKCS#1 v1.5 signature over SHA-256 of a text."""
    return key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())


def _from_xml(text: str) -> rsa.RSAPrivateKey:
    """`<RSAKeyValue>` with Modulus, Exponent, P, Q, DP, DQ, InverseQ and D, each a big-endian number in base64."""
    try:
        root = ElementTree.fromstring(text)
        modulus, exponent, p, q, dp, dq, inverse, d = (
            int.from_bytes(b64decode("".join((root.findtext(name) or "").split()), validate=True))
            for name in ("Modulus", "Exponent", "P", "Q", "DP", "DQ", "InverseQ", "D")
        )
        public = rsa.RSAPublicNumbers(exponent, modulus)
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, inverse, public).private_key()
    except (ElementTree.ParseError, DefusedXmlException, ValueError, OverflowError):
        raise ValueError("is not a private key in RSA XML") from None
