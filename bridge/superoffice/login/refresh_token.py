"""The OAuth refresh token in use: the configured one, or the last one that the service gave in its place.

SuperOffice documents that no new one comes back. Where one does, the old one may be worth nothing from then on, so the
new one must outlive the process. It is kept sealed, under a key that is made of the configured token: whoever reads the
store learns nothing, and another token in the configuration replaces the kept one by itself (decision 0011).
"""

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bridge.settings.secrets import Secret

_NONCE = 12  # bytes


class TokenStore(Protocol):
    """Where the sealed token of one target is kept; both methods may raise."""

    async def load(self) -> bytes | None:
        """What was kept last."""

    async def save(self, sealed: bytes) -> None:
        """Keep it durably."""


class _Memory:
    """Keeps a token as long as the process lives, where there is no store."""

    def __init__(self) -> None:
        self._sealed: bytes | None = None

    async def load(self) -> bytes | None:
        return self._sealed

    async def save(self, sealed: bytes) -> None:
        self._sealed = sealed


class RefreshToken:
    """One target's refresh token."""

    def __init__(self, configured: Secret, client_id: str) -> None:
        self._configured = configured
        self._client_id = client_id
        self._unsaved: bytes | None = None  # what the store could not keep yet
        self.token_store: TokenStore = _Memory()

    async def current(self) -> str:
        """The token to use now. Whatever `token_store` raises is raised."""
        configured = self._configured.reveal().strip()
        sealed = self._unsaved or await self.token_store.load()
        return (sealed and self._opened(sealed, configured)) or configured

    async def replace(self, token: str) -> None:
        """Use another token from now on, also where `token_store` raises, which is raised."""
        nonce = os.urandom(_NONCE)
        cipher = self._cipher(self._configured.reveal().strip())
        self._unsaved = nonce + cipher.encrypt(nonce, token.encode(), None)
        await self.save()

    async def save(self) -> None:
        """Keep what could not be kept before. Whatever `token_store` raises is raised."""
        if self._unsaved is not None:
            await self.token_store.save(self._unsaved)
            self._unsaved = None

    def _cipher(self, configured: str) -> AESGCM:
        derived = HKDF(SHA256(), 32, None, b"refresh token of " + self._client_id.encode())
        return AESGCM(derived.derive(configured.encode()))

    def _opened(self, sealed: bytes, configured: str) -> str | None:
        """What is sealed, or None where it was sealed under another configured token."""
        try:
            return self._cipher(configured).decrypt(sealed[:_NONCE], sealed[_NONCE:], None).decode()
        except (InvalidTag, ValueError):
            return None
