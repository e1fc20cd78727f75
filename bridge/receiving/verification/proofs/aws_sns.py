"""AWS SNS: RSA over some fields of the message, by a certificate that the message names, of topics that ops name.

Facts: github.com/aws/aws-js-sns-message-validator. Any AWS account can make Amazon sign any message: only the topic
tells whose it is, so `topic_arns` is the secret's equal. Raw message delivery is not signed at all.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Collection
from typing import Annotated, Literal, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import Certificate
from msgspec import Struct
from pydantic import Field

from bridge.errors import CannotSign, NotVerified
from bridge.model import Request
from bridge.receiving.content import cloud_events
from bridge.receiving.senders.sns_urls import CERTIFICATES
from bridge.receiving.verification import timestamps
from bridge.receiving.verification.compilation import Compiled, Tolerance
from bridge.receiving.verification.proofs import unverified_body
from bridge.receiving.verification.proofs.certificates import chain_of, current_key
from bridge.receiving.verification.proofs.public_key import rsa_of
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.remote_keys import RemoteKeys
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.verifier import Proven
from bridge.settings.document import Section
from bridge.settings.parsing import Strict, parse

TOPIC = re.compile(r"arn:aws[a-z-]{0,10}:sns:[a-z0-9-]{1,30}:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
TOLERANCE = 24 * 3600 * 1000  # it tries again for hours, and the time is that of the first try

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - Amazon's default


class Message(Struct):
    """A message, as far as it proves itself; the names are Amazon's."""

    Message: str | None = None
    MessageId: str | None = None
    Signature: str | None = None
    SignatureVersion: str | None = None
    SigningCertURL: str | None = None
    Subject: str | None = None
    SubscribeURL: str | None = None
    Timestamp: str | None = None
    Token: str | None = None
    TopicArn: str | None = None
    Type: str | None = None


class SnsSettings(Strict):
    """`verify` for AWS SNS."""

    scheme: Literal["aws-sns"]
    topic_arns: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="the ARNs of the topics that may send here"
    )
    tolerance: Tolerance = None


class AwsSns:
    """A message of one of the topics, signed by Amazon."""

    redacted_headers = frozenset([cloud_events.MARK.encode()])
    delivery_id = None

    def __init__(self, topics: Collection[str], tolerance: int = TOLERANCE) -> None:
        self._topics = frozenset(topics)
        self.tolerance = tolerance
        self.remote_keys: RemoteKeys[Certificate] = RemoteKeys(CERTIFICATES, lambda pem: chain_of(pem)[0])

    def prove(self, request: Request, headers: RequestHeaders, now: int) -> Proven:
        if headers.get(b"x-amz-sns-rawdelivery").lower() == b"true":
            raise NotVerified(Reason.RAW_DELIVERY)
        message = unverified_body.members(request, headers, Message)
        if unverified_body.text(message.TopicArn) not in self._topics:
            raise NotVerified(Reason.TOPIC_REFUSED)
        algorithm = _HASHES.get(unverified_body.text(message.SignatureVersion))
        if algorithm is None:
            raise NotVerified(Reason.SIGNATURE_MALFORMED)
        try:
            shown = b64decode(unverified_body.text(message.Signature, Reason.SIGNATURE_MISSING), validate=True)
        except (ValueError, binascii.Error):
            raise NotVerified(Reason.SIGNATURE_MALFORMED) from None
        content = signed_content(message)
        url = unverified_body.text(message.SigningCertURL)
        certificate = self.remote_keys.get(url)
        try:
            rsa_of(current_key(certificate, now), algorithm)(shown, content)
        except InvalidSignature:
            raise NotVerified(Reason.SIGNATURE_MISMATCH) from None
        at = timestamps.milliseconds(unverified_body.text(message.Timestamp).encode(), "rfc3339")
        timestamps.check(at, now, self.tolerance)
        self.remote_keys.proved(url)
        return Proven()

    def sign(self, _request: Request, _delivery_id: str) -> NoReturn:
        raise CannotSign("only Amazon can sign a message of SNS: publish one to the topic")


def signed_content(message: Message) -> bytes:
    """What Amazon signs of a message: names and values of some fields, each on a line of its own.

    Raises:
        NotVerified: it is no message of SNS.
    """
    names = SIGNED.get(unverified_body.text(message.Type))
    if names is None:
        raise NotVerified(Reason.BODY_MALFORMED)
    present = [name for name in names if name != "Subject" or message.Subject is not None]
    values = [getattr(message, name) for name in present]
    if any(value is None for value in values):
        raise NotVerified(Reason.BODY_MALFORMED)
    if any("\n" in value for name, value in zip(present, values, strict=True) if name != "Message"):
        raise NotVerified(Reason.BODY_MALFORMED)  # one field could say what two do, and the signature would hold
    return "".join(f"{name}\n{value}\n" for name, value in zip(present, values, strict=True)).encode()


def compile_sns(section: Section, _public_url: str) -> Compiled:
    """`verify: {scheme: aws-sns, topic_arns: [...]}`."""
    settings, problems = parse(section, SnsSettings)
    if settings is None:
        return None, problems
    problems += [
        section["topic_arns"][index].problem(
            "is no ARN of a topic", "write one like arn:aws:sns:eu-west-1:123456789012:orders"
        )
        for index, topic in enumerate(settings.topic_arns)
        if not TOPIC.fullmatch(topic)
    ]
    return AwsSns(settings.topic_arns, TOLERANCE if settings.tolerance is None else settings.tolerance), problems
