"""Verifies signatures made with a sender's private key, by its public keys.

The keys stand in `secrets`, where a sender's secrets would, though they are none.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bridge.errors import CannotSign, NotVerified
from bridge.model import Request
from bridge.receiving.senders.signature_spec import SignatureSpec
from bridge.receiving.verification.any_of import AnyOf
from bridge.receiving.verification.compilation import Compiled, SecretList, Tolerance, check_secrets
from bridge.receiving.verification.proofs.signature import Signature
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.secret_match import key_of
from bridge.receiving.verification.verifier import Proof
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse
from bridge.settings.secrets import Secret

MOST_SIGNATURES = 5  # of one request that are verified: each costs many times what a digest does

Check = Callable[[bytes, bytes], None]
"""Verifies a signature of a content; raises InvalidSignature where it is none."""


def ed25519_of(raw: bytes) -> Check:
    """Ed25519 by the 32 bytes of a public key (RFC 8032)."""
    return ed25519.Ed25519PublicKey.from_public_bytes(raw).verify


def p256_of(der: bytes) -> Check:
    """ECDSA with SHA-256 by a P-256 key as SubjectPublicKeyInfo in DER; signatures are DER, too."""
    key = load_der_public_key(der)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("no key of P-256")  # noqa: TRY004 - as for every text that is no key
    return lambda signed, content: key.verify(signed, content, ec.ECDSA(hashes.SHA256()))


def rsa_of(key: rsa.RSAPublicKey, algorithm: hashes.HashAlgorithm) -> Check:
    """RSA with PKCS #1 v1.5 padding."""
    return lambda signed, content: key.verify(signed, content, padding.PKCS1v15(), algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKind:
    """How a public key is written in `secrets`. `prefix` is what tells it from a secret that may stand beside it."""

    words: str
    decode: Callable[[str], bytes]
    check: Callable[[bytes], Check]
    prefix: str = ""


def _base64(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


ED25519_HEX = KeyKind(words="64 hexadecimal digits", decode=bytes.fromhex, check=ed25519_of)
ED25519_WHPK = KeyKind(words="whpk_ and base64 of 32 bytes", decode=_base64, check=ed25519_of, prefix="whpk_")
P256_SPKI = KeyKind(words="base64 of a P-256 key in DER", decode=_base64, check=p256_of)


@lru_cache(maxsize=256)
def check_of(kind: KeyKind, text: str) -> Check | None:
    """The check that a key's text stands for; None where it is no key of this kind."""
    if not text.startswith(kind.prefix):
        return None
    try:
        return kind.check(kind.decode(text.removeprefix(kind.prefix)))
    except (ValueError, UnsupportedAlgorithm):
        return None


class PublicKeys(Signature):
    """A recipe whose signatures are verified by any of `checks`, each a function that gives None where it has no key.

    Of the recipe, `algorithm` and `key` are not used.
    """

    def __init__(
        self, recipe: SignatureSpec, checks: Sequence[Callable[[], Check | None]], tolerance: int | None
    ) -> None:
        super().__init__(recipe, (), tolerance)
        self._checks = tuple(checks)
        self._decode = bytes.fromhex if recipe.encoding == "hex" else partial(b64decode, validate=True)

    def sign(self, _request: Request, _delivery_id: str) -> NoReturn:
        raise CannotSign(
            "only the sender has the private key that signs, so no genuine request of it can be made here: let it send"
        )

    def _match(self, content: bytes, candidates: Sequence[bytes]) -> int:
        shown = []
        for candidate in candidates[:MOST_SIGNATURES]:
            try:
                shown.append(self._decode(candidate.decode("latin-1")))
            except (ValueError, binascii.Error):
                continue
        if not shown:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        usable = 0
        for number, get in enumerate(self._checks, 1):
            check = get()
            usable += check is not None
            if check and any(_holds(check, signed, content) for signed in shown):
                return number
        raise NotVerified(Reason.SIGNATURE_MISMATCH if usable else Reason.SECRET_UNUSABLE)


def _holds(check: Check, signed: bytes, content: bytes) -> bool:
    try:
        check(signed, content)
    except InvalidSignature:
        return False
    return True


def by_secrets(kind: KeyKind, secrets: Sequence[Secret]) -> list[Callable[[], Check | None]]:
    """The checks of keys that stand in `secrets`, which may come from files that change."""
    return [partial(_current, kind, secret) for secret in secrets]


def _current(kind: KeyKind, secret: Secret) -> Check | None:
    return check_of(kind, secret.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecipe:
    """One sender's way to sign by a private key."""

    recipe: SignatureSpec
    kind: KeyKind


DAY = 24 * 3600 * 1000

KEY_RECIPES: Mapping[str, KeyRecipe] = {
    # docs.discord.com/developers/interactions/overview#setting-up-an-endpoint
    "discord": KeyRecipe(
        recipe=SignatureSpec(
            header="X-Signature-Ed25519",
            signed=("header:X-Signature-Timestamp", "body"),
            timestamp="header:X-Signature-Timestamp",
        ),
        kind=ED25519_HEX,
    ),
    # sendgrid-python, sendgrid/helpers/eventwebhook; it retries for a day, and may not sign anew when it does
    "sendgrid": KeyRecipe(
        recipe=SignatureSpec(
            header="X-Twilio-Email-Event-Webhook-Signature",
            encoding="base64",
            signed=("header:X-Twilio-Email-Event-Webhook-Timestamp", "body"),
            timestamp="header:X-Twilio-Email-Event-Webhook-Timestamp",
            tolerance=2 * DAY,
        ),
        kind=P256_SPKI,
    ),
}

# github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md; v1a are the asymmetric signatures
STANDARD_V1 = SignatureSpec(
    header="webhook-signature",
    separator=" ",
    prefix="v1,",
    encoding="base64",
    signed=("header:webhook-id", "lit:.", "header:webhook-timestamp", "lit:.", "body"),
    timestamp="header:webhook-timestamp",
    key="whsec",
    delivery_id="header:webhook-id",
)
STANDARD_V1A = replace(STANDARD_V1, prefix="v1a,")


class PublicKeySettings(Strict):
    """`verify` for a sender that signs by a private key."""

    scheme: str
    secrets: SecretList
    tolerance: Tolerance = None


def compile_key_recipe(name: str, section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: NAME, secrets: [...]}` for a row of `KEY_RECIPES`."""
    settings, problems = parse(section, PublicKeySettings)
    if settings is None:
        return None, problems
    row = KEY_RECIPES[name]
    problems += check_secrets(
        section, lambda text: check_of(row.kind, text) is not None, f"is no key: {row.kind.words}"
    )
    return PublicKeys(row.recipe, by_secrets(row.kind, settings.secrets), settings.tolerance), problems


def compile_standard_webhooks(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: standard-webhooks, secrets: [...]}`: secrets and public keys, side by side while one replaces
    the other.
    """
    settings, problems = parse(section, PublicKeySettings)
    if settings is None:
        return None, problems
    problems += check_secrets(section, _is_standard, "is neither whsec_ nor whpk_ and base64")
    public = [_is_public(secret.reveal()) for secret in settings.secrets if secret]  # a file yet to fill is as these
    by_key = PublicKeys(STANDARD_V1A, by_secrets(ED25519_WHPK, settings.secrets), settings.tolerance)
    by_secret = Signature(STANDARD_V1, settings.secrets, settings.tolerance)
    if all(public):
        return by_key, problems
    if not any(public):
        return by_secret, problems
    ways: list[Proof] = [by_key, by_secret] if public[0] else [by_secret, by_key]
    return AnyOf([(by_key.header, way) for way in ways]), problems


def _is_public(text: str) -> bool:
    return text.startswith(ED25519_WHPK.prefix)


def _is_standard(text: str) -> bool:
    if _is_public(text):
        return check_of(ED25519_WHPK, text) is not None
    return key_of("whsec", text) is not None
