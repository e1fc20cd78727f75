"""Reasons why a request is not verified: a closed set of words that are safe to log."""

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
    BODY_MALFORMED = "body_malformed"  # the proof stands in the body, which is not in the form that it has to be in
    TOO_MANY_FIELDS = "too_many_fields"  # before it is proven: `max_fields` of the source's `verify` may allow more
    BODY_MISMATCH = "body_mismatch"  # not the body whose hash is signed
    CLAIM_MISMATCH = "claim_mismatch"  # a genuine token, but not for this source, or not for this request
    RAW_DELIVERY = "raw_delivery"  # of SNS, which does not sign it
    TOPIC_REFUSED = "topic_refused"  # none of the configured ones
    KEY_URL_REFUSED = "key_url_refused"  # not where this sender keeps its keys
    KEY_UNAVAILABLE = "key_unavailable"  # cannot be fetched now: the sender is asked to come again
    KEY_UNUSABLE = "key_unusable"  # what was fetched is no key
    KEY_UNKNOWN = "key_unknown"  # the sender's key set has no such key
    KEY_UNTRUSTED = "key_untrusted"  # the certificate is out of date, or nobody we trust vouches for it
