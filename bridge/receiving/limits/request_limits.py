"""Limits of size and time for requests that are not yet verified.

docs/configuration.md lists these limits. They are settings only for tests: what they allow is far beyond any webhook.
What ops set for a source stands elsewhere: the size of a body (`max_body`, `max_unverified_body`), `failures`,
`addresses`.
"""

from dataclasses import dataclass
from typing import NamedTuple

from bridge.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    head: int = 64 * 1024  # the request line and all headers
    headers: int = 200  # how many of them
    head_within: float = 10  # from the connection, or the first byte of its next request, to the end of the headers
    idle: float = 75  # between an answer and the first byte of the next request
    body_within: float = 30  # from the end of the headers to the end of the body
    bodies: int = 64 * 1024 * 1024  # all bodies together of which a part has come and a part has not
    connections: int = 800  # that wait for their clients; below the 1,024 files that many systems allow a process
    pipelined: int = 32  # requests that wait on one connection for the answers before theirs
    linger: float = 2  # how long what follows a refusal is thrown away, so that the sender gets to read the answer


class Largest(NamedTuple):
    """The largest body that is read, in bytes, and the key of the source that says so, if one does."""

    size: int
    key: str = "max_body"

    def refusal(self) -> Refused:
        """What a larger one is answered."""
        detail = f"the body is larger than {self.size} bytes" + (f" ({self.key})" if self.key else "")
        if self.key == "max_unverified_body":
            return Refused("unverified_body_too_large", detail)
        return Refused("body_too_large", detail)
