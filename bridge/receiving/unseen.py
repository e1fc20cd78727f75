"""Checks for rules that read redacted headers or query keys, and for kept ones that are credentials."""

from collections.abc import Iterator

from bridge.errors import Problem
from bridge.mapping.reads import Lookup, reads
from bridge.receiving.verification.credential_filter import CredentialFilter
from bridge.settings.configuration import Source

_KEEP = {"headers": "keep_headers", "query": "keep_query"}


def check(source: Source, credentials: CredentialFilter) -> Iterator[Problem]:
    """What is wrong with the names that a source reads and keeps."""
    for read in reads(source):
        if credentials.redacted_headers(read.kind, read.name):
            yield _unseen(read, credentials)
    for kind, key in _KEEP.items():
        for number, name in enumerate(getattr(source.settings, key, ())):
            if credentials.is_proof(kind, name):
                message = "is what the sender is proven by, or may be a user's credential, so nothing keeps it"
                yield source.section[key][number].problem(message, "take it out")


def _unseen(read: Lookup, credentials: CredentialFilter) -> Problem:
    what = f"{read.kind}['{read.name}']" if not read.hidden else f"something of {read.kind}"
    message = f"{what} is dropped before a rule can see it"
    if credentials.is_proof(read.kind, read.name):
        hint = "it is what the sender is proven by, or may be a user's credential: look at something else"
    else:
        name = "its name" if read.hidden else read.name
        hint = f"since its name looks like a secret's; where it is none, add {_KEEP[read.kind]}: [{name}]"
    return read.place.problem(message, hint, at=read.at)
