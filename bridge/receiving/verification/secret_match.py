"""Decodes the text of a secret, and compares it with what a request shows in constant time."""

import hmac
from base64 import b64decode
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from bridge.errors import NotVerified
from bridge.receiving.senders.signature_spec import KeyForm
from bridge.receiving.verification.reasons import Reason
from bridge.settings.secrets import Secret


@lru_cache(maxsize=256)
def key_of(form: KeyForm, text: str) -> bytes | None:
    """The key bytes of a secret; None where the text is empty or is not of this form, so that nothing verifies by it.

    `whsec` is base64 after an optional `whsec_` (Standard Webhooks); base64 may lack its padding. The answer is kept
    by the text, since secrets that come from files are asked for their text at every request.
    """
    try:
        if form == "utf8":
            derived = text.encode()
        elif form == "hex":
            derived = bytes.fromhex(text)
        else:
            encoded = text.removeprefix("whsec_") if form == "whsec" else text
            derived = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return None
    return derived or None


def signing(secrets: Sequence[Secret]) -> Secret:
    """What we would sign by ourselves: the first secret that there is; later ones may be files yet to fill."""
    return next((secret for secret in secrets if secret.reveal()), secrets[0])


def position_of_match(genuine: Iterable[bytes | None], shown: Collection[bytes], mismatch: Reason) -> int:
    """Which of our values, from 1, is among those shown. Ours are one for each secret, None where it is unusable.

    Each of ours meets each of those shown, in constant time: the time taken does not tell which of them matched.

    Raises:
        NotVerified: none is (for the reason `mismatch`), or none of ours is usable.
    """
    position = usable = 0
    for number, ours in enumerate(genuine, 1):
        if ours is None:
            continue
        usable += 1
        for theirs in shown:
            if hmac.compare_digest(theirs, ours) and not position:
                position = number
    if not usable:
        raise NotVerified(Reason.SECRET_UNUSABLE)
    if not position:
        raise NotVerified(mismatch)
    return position
