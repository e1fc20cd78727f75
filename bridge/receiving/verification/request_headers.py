"""A request's headers by name, built once per request: strict for what a proof reads, lenient for the rest."""

from collections.abc import KeysView
from itertools import chain

from bridge.errors import NotVerified
from bridge.receiving.verification.reasons import Reason


class RequestHeaders:
    """The headers of one request by lower-case name. A repeated header is joined with `, ` (RFC 9110, 5.3)."""

    __slots__ = ("_repeated", "_values")

    def __init__(self, pairs: tuple[tuple[bytes, bytes], ...]) -> None:
        self._values = dict(pairs)
        self._repeated: frozenset[bytes] = frozenset()
        if len(self._values) < len(pairs):
            gathered: dict[bytes, list[bytes]] = {}
            for name, value in pairs:
                gathered.setdefault(name, []).append(value)
            self._values = {name: b", ".join(values) for name, values in gathered.items()}
            self._repeated = frozenset(name for name, values in gathered.items() if len(values) > 1)

    @property
    def names(self) -> KeysView[bytes]:
        """All names."""
        return self._values.keys()

    def one(self, name: bytes, missing: Reason) -> bytes:
        """The value of a header that a proof rests on.

        Raises:
            NotVerified: it is missing or empty (for the reason `missing`), or repeated, so that nobody could say which
                of the values whoever signed or forwarded the request had seen.
        """
        if name in self._repeated:
            raise NotVerified(Reason.HEADER_REPEATED)
        value = self._values.get(name)
        if not value:
            raise NotVerified(missing)
        return value

    def get(self, name: bytes) -> bytes:
        """The value of a header that nothing is proven by; empty where it is missing."""
        return self._values.get(name, b"")

    def text(self, *, without: frozenset[bytes]) -> dict[str, str]:
        """All headers but some, as text: in UTF-8 where a value is, else in latin-1, which any bytes are."""
        kept = self._values.copy()
        for name in without.intersection(kept):
            del kept[name]
        # One long text is decoded and cut in a third of the time of many short ones.
        together = b"\n".join(chain.from_iterable(kept.items()))
        if together.isascii():
            texts = together.decode().split("\n")
            if len(texts) == 2 * len(kept):  # no line break in any of them: HTTP allows none
                return dict(zip(texts[::2], texts[1::2], strict=True))
        return {_text(name): _text(value) for name, value in kept.items()}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
