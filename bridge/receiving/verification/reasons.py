"""Why a request is not verified: a closed set of words, safe to log, none of them the sender's own."""

from enum import StrEnum


class Reason(StrEnum):
    """The reasons that `NotVerified` carries out of this room."""

    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"  # not in the form that the recipe describes
    SIGNATURE_MISMATCH = "signature_mismatch"
    SIGNED_HEADER_MISSING = "signed_header_missing"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    TIMESTAMP_STALE = "timestamp_stale"
    TIMESTAMP_FUTURE = "timestamp_future"
    CREDENTIAL_MISSING = "credential_missing"
    CREDENTIAL_MALFORMED = "credential_malformed"
    CREDENTIAL_MISMATCH = "credential_mismatch"
    HEADER_REPEATED = "header_repeated"  # a header that the proof reads stands there more than once
    SECRET_UNUSABLE = "secret_unusable"  # noqa: S105  # none of our secrets is a key any more: its file was changed
