"""Proves that a request comes from its source, and is the only maker of a `Webhook` from one.

Every sender is a row of `receiving/senders`: a recipe of what it signs (carried out by `proofs/signature`), the
credential that it shows (`proofs/credential`), or the name of a proof that is code (`special`). `schemes` compiles a
source's `verify` mapping; `verifier` asks for the proof and strips what must not be stored.
"""

from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.schemes import compile_max_unverified_body, compile_verifier
from bridge.receiving.verification.verifier import Verifier

__all__ = ["Reason", "Verifier", "compile_max_unverified_body", "compile_verifier"]
