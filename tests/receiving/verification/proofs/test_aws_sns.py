"""Messages of SNS: fields signed by Amazon, of topics that ops name, by a certificate from where Amazon keeps it."""

import json
from typing import Any

import pytest
from authorities import START, rsa_key
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import NotVerified
from bridge.receiving.senders.sns_urls import CERTIFICATES
from bridge.receiving.verification.proofs.aws_sns import TOPIC
from bridge.times import iso
from receiving.verification.genuine import (
    AMAZON,
    CERT_OF_SNS,
    ROOT,
    SCHEMES,
    refusal,
    signed_by_amazon,
    sns_message,
    verified,
)
from receiving.verification.genuine import TOPIC as ARN
from receiving.verification.support import NOW, request

VERIFIER = SCHEMES["aws-sns"].verifier()
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "Token": "2336412f37fb",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
}


def told(message: dict[str, Any], **headers: str) -> str | None:
    return refusal(VERIFIER, request(json.dumps(message).encode(), headers))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("changed", [{}, CONFIRMATION, CONFIRMATION | {"Type": "UnsubscribeConfirmation"}])
def test_each_kind_of_message_is_verified_by_each_hash(version: str, changed: dict[str, Any]) -> None:
    message = signed_by_amazon(sns_message(NOW, SignatureVersion=version, **changed))
    assert told(message) is None
    assert told(message | {"Message": "another"}) == "signature_mismatch"
    assert told(message | {"SignatureVersion": "2" if version == "1" else "1"}) == "signature_mismatch"


def test_a_message_without_a_subject_is_signed_without_it() -> None:
    message = sns_message(NOW)
    del message["Subject"]
    signed = signed_by_amazon(message)
    assert told(signed) is None
    assert told(signed | {"Subject": "x"}) == "signature_mismatch"
    assert told(signed | {"Subject": None}) is None


def test_no_field_says_what_two_of_a_genuine_message_do() -> None:
    """What is signed are lines, so an id with line breaks could take a subject in, and be another id."""
    genuine = signed_by_amazon(sns_message(NOW, Subject="hello"))
    shifted = {name: value for name, value in genuine.items() if name != "Subject"}
    shifted["MessageId"] = f"{genuine['MessageId']}\nSubject\nhello"
    assert told(genuine) is None
    assert told(shifted) == "body_malformed"
    assert told(signed_by_amazon(sns_message(NOW, Message="two\nlines"))) is None


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "Type", "TopicArn"])
def test_every_signed_field_is_covered(name: str) -> None:
    message = signed_by_amazon(sns_message(NOW))
    values: list[Any] = ["other", "", 5, ["x"], {}, True]
    for value in values:
        assert told(message | {name: value}) is not None
    assert told({key: value for key, value in message.items() if key != name}) is not None


@pytest.mark.parametrize("name", ["SubscribeURL", "Token"])
def test_what_confirms_a_subscription_is_covered(name: str) -> None:
    message = signed_by_amazon(sns_message(NOW, **CONFIRMATION))
    assert told(message | {name: "https://evil.example/"}) == "signature_mismatch"


def test_a_topic_that_is_not_configured_is_refused_before_anything_is_fetched() -> None:
    message = signed_by_amazon(sns_message(NOW, TopicArn=ARN + "-of-a-stranger"))
    with pytest.raises(NotVerified, match="topic_refused"):
        SCHEMES["aws-sns"].verifier().verify(request(json.dumps(message).encode(), {}), NOW)


def test_raw_delivery_is_not_signed_and_is_refused_by_name() -> None:
    assert told({"order": 1}, **{"x-amz-sns-rawdelivery": "true", "x-amz-sns-topic-arn": ARN}) == "raw_delivery"
    assert told({"order": 1}) == "body_malformed"


@pytest.mark.parametrize("value", ["", "x", "====", "é", None, 5])
def test_what_is_no_signature_is_refused(value: Any) -> None:
    assert told(sns_message(NOW) | {"Signature": value}) is not None
    for version in ("3", "", None, 2):
        assert told(signed_by_amazon(sns_message(NOW)) | {"SignatureVersion": version}) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123abcd.pem",
        "https://evil.example/SimpleNotificationService-0123abcd.pem",
        "https://evil.example/#sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0123abcd.pem",
        "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-0123abcd.pem",  # the bucket `sns` of somebody
        "https://sns.s3.amazonaws.com/SimpleNotificationService-0123abcd.pem",
        "https://s3.eu-west-1.amazonaws.com/sns/SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com/?x=SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-0123abcd.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem\n",
        "file:///SimpleNotificationService-0123abcd.pem",
    ],
)
def test_a_certificate_from_anywhere_else_is_never_asked_for(url: str) -> None:
    assert told(signed_by_amazon(sns_message(NOW)) | {"SigningCertURL": url}) == "key_url_refused"


@pytest.mark.parametrize(
    "region",
    ["us-east-1", "eu-central-2", "ap-southeast-10", "us-gov-west-1", "us-iso-east-1", "cn-north-1", "mx-central-1"],
)
def test_every_region_of_amazon_is_known(region: str) -> None:
    end = ".cn" if region.startswith("cn") else ""
    assert CERTIFICATES.fullmatch(f"https://sns.{region}.amazonaws.com{end}/SimpleNotificationService-0123abcd.pem")
    partition = "aws-cn" if end else "aws"
    assert TOPIC.fullmatch(f"arn:{partition}:sns:{region}:123456789012:orders.fifo")


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        (ROOT.issue("sns.amazonaws.com", key=rsa_key(), end=START.replace(year=2021)).pem, "key_untrusted"),
        (ROOT.issue("sns.amazonaws.com", key=rsa_key(1)).pem, "signature_mismatch"),
        (ROOT.issue("sns.amazonaws.com").pem, "key_unusable"),  # another kind of key
        (b"<html>", "key_unusable"),
        (b"", "key_unusable"),
        (AMAZON.pem[:300], "key_unusable"),
    ],
)
def test_another_certificate_proves_nothing(published: bytes, reason: str) -> None:
    asked = request(json.dumps(signed_by_amazon(sns_message(NOW))).encode(), {})
    with pytest.raises(NotVerified, match=reason):
        verified(SCHEMES["aws-sns"].verifier(), asked, NOW, {CERT_OF_SNS: published})


def test_the_time_is_read_as_amazon_writes_it() -> None:
    assert told(signed_by_amazon(sns_message(NOW, Timestamp=iso(NOW)))) is None
    for wrong in ("now", "2023-11-14", "1700000000", "2023-13-14T00:00:00Z", "2023-11-14T22:13:20"):
        assert told(signed_by_amazon(sns_message(NOW, Timestamp=wrong))) == "timestamp_malformed"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*sns_message(NOW), "Signature", "Token", "SubscribeURL"]), json_values))
def test_whatever_the_fields_are_it_is_refused_and_no_more(changed: dict[str, Any]) -> None:
    message = signed_by_amazon(sns_message(NOW))
    reason = told(message | changed)
    if any(changed[name] != message.get(name) for name in changed if name in message and name != "Subject"):
        assert reason is not None
