"""Whether a source's rules read what is dropped before they see it, and whether it keeps what must not be stored."""

from collections.abc import Iterator

from bridge.errors import Problem
from bridge.mapping.reads import Lookup, reads
from bridge.receiving.verification.redacted_headers import Dropping
from bridge.settings.configuration import Source

_KEEP = {"headers": "keep_headers", "query": "keep_query"}


def check(source: Source, dropping: Dropping) -> Iterator[Problem]:
    """What is wrong with the names that a source reads and keeps."""
    for read in reads(source):
        if dropping.drops(read.kind, read.name):
            yield _unseen(read, dropping)
    for kind, key in _KEEP.items():
        for number, name in enumerate(getattr(source.settings, key, ())):
            if dropping.is_proof(kind, name):
                message = "is what the sender is proven by, or may be a user's credential, so nothing keeps it"
                yield source.section[key][number].problem(message, "take it out")


def _unseen(read: Lookup, dropping: Dropping) -> Problem:
    what = f"{read.kind}['{read.name}']" if not read.hidden else f"something of {read.kind}"
    message = f"{what} is dropped before a rule can see it"
    if dropping.is_proof(read.kind, read.name):
        hint = "it is what the sender is proven by, or may be a user's credential: look at something else"
    else:
        name = "its name" if read.hidden else read.name
        hint = f"since its name looks like a secret's; where it is none, add {_KEEP[read.kind]}: [{name}]"
    return read.place.problem(message, hint, at=read.at)
