"""Proves that a request comes from its source, and is the only maker of a `Webhook` from one.

A sender is a row of data (`recipes`) where it signs by HMAC (`signature`), or shows a credential (`credential`).
`schemes` compiles a source's `verify` mapping; `verifier` asks for the proof and strips what must not be stored.
"""

from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.schemes import compile_verifier
from bridge.receiving.verification.verifier import Verifier

__all__ = ["Reason", "Verifier", "compile_verifier"]
