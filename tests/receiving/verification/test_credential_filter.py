"""What is never stored of a webhook: what its scheme proves it by, and what is named like a secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mapping.reads import reads
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification.credential_filter import CredentialFilter, looks_secret
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.settings.configuration import Source
from bridge.settings.document import Document, Section
from receiving.verification.genuine import SCHEMES
from receiving.verification.support import PROVING, compiled

EXAMPLES = {**{name: sender.settings for name, sender in SCHEMES.items()}, **PROVING}


@pytest.mark.parametrize(
    "name",
    [
        *("key", "Key", "X-Key", "code", "auth", "X-Auth", "pass", "token", "secret", "signature", "sig", "password"),
        *("api_key", "apikey", "apiKey", "X-Api-Key", "X-MBX-APIKEY", "access_token", "accessToken", "X-Auth-Token"),
        *("X-Hub-Signature-256", "X-Other-Signature", "x-acme-hmac-sha256", "client_secret", "hub.verify_token", "jwt"),
        *("authtoken", "x-webhooksignature", "X-MySignature", "clientsecret", "x-secretkey", "mypassword", "x-appkey"),
        *("subscription-key", "Ocp-Apim-Subscription-Key", "x-functions-key", "X-Webhook-Key", "X-Authorization"),
    ],
)
def test_names_of_secrets_are_dropped(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("X-Event-Key", "Idempotency-Key", "X-GitHub-Event", "X-Shopify-Topic", "X-Country-Code", "status_code", "X"),
        *(
            "tokens",
            "monkey",
            "x-secretary",
            "tokenized",
            "X-Request-Id",
            "author",
            "authority",
            "design",
            "keyword",
            "compass",
            "passenger",
            "",
            "order_key",
        ),
        *("X-Slack-Request-Timestamp", "x-github-delivery", "webhook-id", "user-agent", "x-auth-user"),
    ],
)
def test_other_names_are_kept(name: str) -> None:
    assert not looks_secret(name)


def source_of(verify: object, **more: object) -> Source:
    return Source("x", None, Section(Document("sources/x.yaml", {"verify": verify, **more})))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_a_scheme_proves_by_is_dropped_and_nothing_keeps_it(name: str) -> None:
    credentials = credential_filter_of(source_of(EXAMPLES[name]))
    proof = compiled(EXAMPLES[name], SCHEMES[name].public_url if name in SCHEMES else "")._proof
    assert all(credentials.is_proof("headers", header.decode()) for header in proof.redacted_headers)


def test_parameters_that_schemes_read_are_dropped_and_nothing_keeps_them() -> None:
    for name, row in SENDERS.items():
        for way in row.proof:
            if parameter := getattr(way, "parameter", ""):
                assert credential_filter_of(source_of({"scheme": name})).is_proof("query", parameter)


def test_no_senders_own_expressions_read_what_is_dropped() -> None:
    for name, row in SENDERS.items():
        source = source_of({"scheme": name}, dedupe=row.dedupe or "1", rules=[])
        event = source_of({"scheme": name}, dedupe=row.event or "1", rules=[])
        found = [*reads(source), *reads(event)]
        assert not any(credential_filter_of(source).redacted_headers(read.kind, read.name) for read in found), name


def test_what_is_kept_is_kept_in_any_case() -> None:
    credentials = CredentialFilter(["X-Proof"], ["token"], ["X-Auth-Token", "X-Proof", "Cookie"], ["Api-Key", "token"])
    names = dict.fromkeys([b"x-auth-token", b"x-other-token", b"x-proof", b"cookie", b"x-plain"]).keys()
    assert credentials.headers(names) & names == {b"x-other-token", b"x-proof", b"cookie"}
    assert credentials.query("api_key=1&token=2&secret=3&a=4") == "api_key=1&a=4"


@given(st.lists(st.lists(st.sampled_from(["x-auth-token", "x-a", "x-b-signature", "x-kept-key", "cookie", "x-c"]))))
def test_whatever_came_before_the_same_names_are_dropped(requests: list[list[str]]) -> None:
    credentials = CredentialFilter(keep_headers=["X-Kept-Signature"])
    for names in requests:
        given_ = dict.fromkeys(name.encode() for name in names).keys()
        expected = {name for name in given_ if credentials.redacted_headers("headers", name.decode())}
        assert credentials.headers(given_) & given_ == expected
