"""Removes credentials and signatures from headers and query before rules and store see them.

Names of headers and of query parameters are looked at alike, whatever their values are: a name is words with anything
else between them, a leading X does not count. docs/configuration.md lists the words.
"""

import re
from collections.abc import Iterable, KeysView
from functools import lru_cache
from urllib.parse import unquote_plus

_WORDS = "apikey authorization credential credentials hmac jwt passwd password pwd secret sig signature token"
WORDS = frozenset(_WORDS.split())  # whatever stands beside one of them in a name
ALONE = frozenset(["auth", "code", "cookie", "key", "pass"])  # where there is no other word in it
_KEYS = """
access api app auth client functions license master private security service shared signing subscription webhook
"""
KEYS = frozenset(_KEYS.split())  # before `key`, at its end

PRIVATE_HEADERS = frozenset(["authorization", "proxy-authorization", "cookie"])  # nothing keeps them

_MOST_NAMES = 1000  # that are remembered of a source
_LONG = sorted(word for word in WORDS if len(word) > 4)  # short ones end words such as `design`
_JOINED = re.compile(f"(?:{'|'.join(_LONG)}|(?:{'|'.join(sorted(KEYS | {'secret'}))})key)$")
"""The end of words that were written in one, or came so: names of headers have no capitals any more."""
_BETWEEN = re.compile(r"[^0-9A-Za-z]+|(?<=[0-9a-z])(?=[A-Z])")


@lru_cache(2048)
def looks_secret(name: str) -> bool:
    """Whether a header or a parameter of this name is taken for a credential or a signature."""
    words = [word.lower() for word in _BETWEEN.split(name) if word]
    words = words[1:] if words[:1] == ["x"] else words
    match words:
        case [word] if word in ALONE:
            return True
        case [*_, before, "key"] if before in KEYS:
            return True
    return not WORDS.isdisjoint(words) or any(map(_JOINED.search, words))


class CredentialFilter:
    """What one source drops. `headers` and `parameters` are those of its scheme; of other names, the kept ones stay."""

    __slots__ = ("_dropped", "_headers", "_kept_headers", "_kept_parameters", "_parameters", "_seen")

    def __init__(
        self,
        headers: Iterable[str] = (),
        parameters: Iterable[str] = (),
        keep_headers: Iterable[str] = (),
        keep_query: Iterable[str] = (),
    ) -> None:
        self._headers = PRIVATE_HEADERS.union(map(str.lower, headers))
        self._parameters = frozenset(map(_plain, parameters))
        self._kept_headers = frozenset(map(str.lower, keep_headers))
        self._kept_parameters = frozenset(map(_plain, keep_query))
        # A sender's headers have the same names again and again, and those are looked at once.
        self._dropped = frozenset(name.encode() for name in self._headers)
        self._seen = self._dropped

    def is_proof(self, kind: str, name: str) -> bool:
        """Whether `headers` or the `query` of this name belongs to the scheme, so that nothing keeps it."""
        return name.lower() in self._headers if kind == "headers" else _plain(name) in self._parameters

    def redacted_headers(self, kind: str, name: str) -> bool:
        """Whether that of `headers` or of the `query` which has this name is dropped."""
        if self.is_proof(kind, name):
            return True
        kept = name.lower() in self._kept_headers if kind == "headers" else _plain(name) in self._kept_parameters
        return not kept and looks_secret(name)

    def headers(self, names: KeysView[bytes]) -> frozenset[bytes]:
        """Headers that are dropped, all of those that have these names among them."""
        if self._seen.issuperset(names):
            return self._dropped
        new = frozenset(names) - self._seen
        dropped = self._dropped.union(name for name in new if self.redacted_headers("headers", name.decode("latin-1")))
        if len(self._seen) < _MOST_NAMES:
            self._dropped, self._seen = dropped, self._seen | new
        return dropped

    def query(self, query: str) -> str:
        """A query without the parameters that are dropped."""
        return "&".join([pair for pair in query.split("&") if not self.redacted_headers("query", _parameter(pair))])


def _parameter(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0]).strip()


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
