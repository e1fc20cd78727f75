"""A target's TLS settings as an `ssl.SSLContext`, made anew when a certificate file changes.

What comes from files is followed: when a file changes, connections made from then on use what it holds now.
"""

import functools
import os
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from bridge.errors import BridgeError, Problem
from bridge.observing import logs
from bridge.observing.logs import log
from bridge.settings.document import Section
from bridge.settings.secrets import Secret
from bridge.settings.tls_and_proxy import TlsSettings

Trust = Callable[[], ssl.SSLContext]

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_WRONG = {
    "ca": ("holds no certificates in PEM", 'write "${file:PATH}", of a file with -----BEGIN CERTIFICATE-----'),
    "certificate": (
        "is no certificate in PEM that key belongs to",
        'write "${file:PATH}" for both, first the own certificate, then those up to its authority; key not encrypted',
    ),
}


@functools.cache
def system_trust() -> ssl.SSLContext:
    """The certificates that this machine trusts: an on-site SuperOffice often has one of the company's own."""
    return ssl.create_default_context()


class _Unusable(BridgeError):
    """One of the settings is not what OpenSSL takes; the text is the setting's name."""


class OwnTrust:
    """A target's own context, made anew when one of its files has changed."""

    def __init__(self, target: str, settings: TlsSettings) -> None:
        self._target = target
        self._settings = settings
        self._texts = self._read()
        self._context = self._made(*self._texts)

    def __call__(self) -> ssl.SSLContext:
        """The context as it is now. Certificate and key change one after the other: meanwhile the last one is good."""
        texts = self._read()
        if texts != self._texts:
            self._texts = texts
            try:
                self._context = self._made(*texts)
            except _Unusable as error:
                log.warning(logs.TARGET_CERTIFICATE_REFUSED, target=self._target, setting=str(error))
        return self._context

    def _read(self) -> tuple[str, str, str]:
        return _text(self._settings.ca), _text(self._settings.certificate), _text(self._settings.key)

    def _made(self, ca: str, certificate: str, key: str) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cadata=ca or None)
        except (ssl.SSLError, TypeError):  # the latter where it is no ASCII
            raise _Unusable("ca") from None
        context.minimum_version = _VERSIONS[self._settings.minimum]
        if certificate:
            try:
                _show(context, f"{key}\n{certificate}\n".encode())
            except ssl.SSLError:
                raise _Unusable("certificate") from None
        return context


def compile_trust(target: str, settings: TlsSettings | None, section: Section) -> tuple[Trust, list[Problem]]:
    """A target's `tls:` -> what gives its context, and what is wrong with it."""
    if settings is None:
        return system_trust, []
    try:
        return OwnTrust(target, settings), []
    except _Unusable as error:
        return system_trust, [section[str(error)].problem(*_WRONG[str(error)])]


def _text(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""


def _show(context: ssl.SSLContext, pem: bytes) -> None:
    """Show a certificate where a server asks for one. OpenSSL reads it only from a file: this one is in memory."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:  # readable by its owner only, and gone at once
            Path(file.name).write_bytes(pem)
            context.load_cert_chain(file.name, password=_no_password)
        return
    with os.fdopen(os.memfd_create("certificate"), "wb") as memory:
        memory.write(pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}", password=_no_password)


def _no_password() -> str:
    """In place of OpenSSL's question on the terminal."""
    return ""
