"""A scheme with several alternatives: the first header that a request has decides, and nothing weaker is tried.

A request that brings the stronger header must pass by it: what is stripped or stale there is not made good elsewhere.
Ways that share a header are tried one after another.
"""

from collections.abc import Sequence

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.verifier import Proof, Proven


class AnyOf:
    """Proofs with the header by which a request shows that it follows them, the strongest first.

    The header is empty for a way that shows itself otherwise: it is what is left where no header is there.
    """

    def __init__(self, ways: Sequence[tuple[bytes, Proof]]) -> None:
        self._ways = tuple(ways)
        self.redacted_headers = frozenset[bytes]().union(*(proof.redacted_headers for _, proof in ways))
        self.tolerance = max((proof.tolerance for _, proof in ways if proof.tolerance is not None), default=None)
        self.delivery_id = next((proof.delivery_id for _, proof in ways if proof.delivery_id), None)

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        """As the proofs whose header is there; the first one's complaint where none is.

        Raises:
            NotVerified: none of them holds; the reason is that of the last one tried.
        """
        chosen = next((header for header, _ in self._ways if not header or headers.get(header)), self._ways[0][0])
        *before, last = [proof for header, proof in self._ways if header == chosen]
        for proof in before:
            try:
                return proof.prove(request, headers, now)
            except NotVerified:
                continue
        return last.prove(request, headers, now)

    def sign(self, request: Request, delivery_id: str) -> dict[bytes, bytes]:
        """As the first of them signs."""
        return self._ways[0][1].sign(request, delivery_id)
