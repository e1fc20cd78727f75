"""Bearer tokens: only those that the provider signed, for us, and that are good now."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from authorities import rsa_key
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bridge.errors import NotVerified
from bridge.receiving.verification.proofs.bearer import key_set
from receiving.verification.genuine import ED25519, JWKS, SCHEMES, bearer_claims, refusal, verified
from receiving.verification.genuine import key_set as published_keys
from receiving.verification.support import NOW, request

VERIFIER = SCHEMES["bearer"].verifier()
P384 = ec.derive_private_key(0xCAFE, ec.SECP384R1())


def shown(
    claims: dict[str, Any], key: Any = None, algorithm: str = "RS256", word: str = "Bearer", kid: str = "one"
) -> str | None:
    token = jwt.encode(claims, key or rsa_key(), algorithm, headers={"kid": kid})
    return refusal(VERIFIER, request(b"{}", {"Authorization": f"{word} {token}"}))


def test_a_token_of_the_provider_for_us_is_verified() -> None:
    assert shown(bearer_claims(NOW)) is None
    assert shown(bearer_claims(NOW), word="bEARER") is None
    assert shown(bearer_claims(NOW, aud=["api://x", "api://bridge"])) is None
    for algorithm in ("RS384", "RS512", "PS256"):
        assert shown(bearer_claims(NOW), algorithm=algorithm) == "credential_malformed"  # the key is one for RS256


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://evil.example/"}, "claim_mismatch"),
        ({"iss": None}, "claim_mismatch"),
        ({"iss": ["https://login.example.com/"]}, "credential_malformed"),
        ({"aud": "api://bridge-of-others"}, "claim_mismatch"),
        ({"aud": []}, "claim_mismatch"),
        ({"aud": None}, "claim_mismatch"),
        ({"aud": {"api://bridge": 1}}, "claim_mismatch"),
        ({"appid": "another"}, "claim_mismatch"),
        ({"appid": None}, "claim_mismatch"),
        ({"exp": NOW // 1000 - 61}, "timestamp_stale"),
        ({"exp": None}, "claim_mismatch"),
        ({"exp": "soon"}, "timestamp_malformed"),
        ({"exp": True}, "timestamp_malformed"),
        ({"exp": float("nan")}, "timestamp_malformed"),
        ({"exp": float("inf")}, "timestamp_malformed"),
        ({"exp": 10**30}, "timestamp_malformed"),
        ({"exp": -1}, "timestamp_stale"),
        ({"nbf": NOW // 1000 + 61}, "timestamp_future"),
        ({"nbf": "soon"}, "timestamp_malformed"),
    ],
)
def test_a_token_that_says_something_else_is_refused(changed: dict[str, Any], reason: str) -> None:
    told = {name: value for name, value in (bearer_claims(NOW) | changed).items() if value is not None}
    if isinstance(changed.get("iss"), list):  # PyJWT itself would not write it
        token = jwt.api_jws.encode(json.dumps(told).encode(), rsa_key(), "RS256", headers={"kid": "one"})
        assert refusal(VERIFIER, request(b"{}", {"Authorization": f"Bearer {token}"})) in (reason, "claim_mismatch")
        return
    assert shown(told) == reason


def test_times_may_differ_by_a_minute() -> None:
    assert shown(bearer_claims(NOW, exp=NOW // 1000 - 59, nbf=NOW // 1000 + 59)) is None


def test_a_token_by_another_key_is_refused() -> None:
    assert shown(bearer_claims(NOW), rsa_key(1)) == "credential_mismatch"
    assert shown(bearer_claims(NOW), rsa_key(1), kid="two") == "key_unknown"


def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    pem = (
        rsa_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    assert shown(bearer_claims(NOW), pem.replace(b"-", b"x"), "HS256") == "credential_malformed"
    for secret in (b"x" * 32, b"0" * 64):
        assert shown(bearer_claims(NOW), secret, "HS256") == "credential_malformed"
    unsigned = jwt.api_jws.encode(b"{}", "", "none", headers={"kid": "one"})
    assert refusal(VERIFIER, request(b"{}", {"Authorization": f"Bearer {unsigned}"})) == "credential_malformed"


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "[" * 9000, "x." * 9000, "é"])
def test_what_is_no_token_is_refused(value: str) -> None:
    for word in ("Bearer ", "Basic "):
        assert refusal(VERIFIER, request(b"{}", {"Authorization": word + value})) == "credential_malformed"


@pytest.mark.parametrize(
    "head",
    [
        *(b"[]", b"[" * 5000, b"{}", b"\xff", b"9" * 5000),
        *(b'{"alg":"RS256","kid":5}', b'{"alg":"RS256","kid":"one","crit":["x"]}'),
    ],
)
def test_an_odd_head_of_a_token_is_refused(head: bytes) -> None:
    written = jwt.utils.base64url_encode(head).decode()
    assert refusal(VERIFIER, request(b"{}", {"Authorization": f"Bearer {written}.e30.AAAA"})) == "credential_malformed"


def test_a_key_that_the_provider_added_is_fetched_and_an_old_one_goes() -> None:
    moment = [0.0]
    verifier = SCHEMES["bearer"].verifier()
    assert verifier.remote_keys
    verifier.remote_keys._clock = lambda: moment[0]
    asked = [
        request(b"{}", {"Authorization": "Bearer " + jwt.encode(bearer_claims(NOW), rsa_key(n), "RS256", {"kid": kid})})
        for n, kid in enumerate(("one", "two"))
    ]
    before, after = {JWKS: published_keys(("one", rsa_key()))}, {JWKS: published_keys(("two", rsa_key(1)))}
    verified(verifier, asked[0], NOW, before)
    with pytest.raises(NotVerified, match="key_unknown"):
        verified(verifier, asked[1], NOW, after)  # too soon after the last question
    moment[0] = 30
    verified(verifier, asked[1], NOW, after)
    with pytest.raises(NotVerified, match="key_unknown"):
        verified(verifier, asked[0], NOW, after)


@pytest.mark.parametrize(
    ("algorithm", "key", "to_jwk"),
    [
        ("ES384", P384, jwt.algorithms.ECAlgorithm.to_jwk),
        ("EdDSA", ED25519, jwt.algorithms.OKPAlgorithm.to_jwk),
        ("PS512", rsa_key(), jwt.algorithms.RSAAlgorithm.to_jwk),
    ],
)
def test_every_kind_of_public_key_will_do(algorithm: str, key: Any, to_jwk: Callable[..., Any]) -> None:
    listed = {JWKS: json.dumps({"keys": [to_jwk(key.public_key(), as_dict=True) | {"alg": algorithm}]}).encode()}
    for head in ({}, {"kid": "#0"}):  # one key alone needs no name
        token = jwt.encode(bearer_claims(NOW), key, algorithm, headers=head)
        asked = request(b"{}", {"Authorization": f"Bearer {token}"})
        assert verified(SCHEMES["bearer"].verifier(), asked, NOW, listed).secret is None


def test_a_token_without_a_key_id_is_refused_where_there_are_several_keys() -> None:
    listed = {JWKS: published_keys(("one", rsa_key()), ("two", rsa_key(1)))}
    asked = request(b"{}", {"Authorization": "Bearer " + jwt.encode(bearer_claims(NOW), rsa_key(), "RS256")})
    with pytest.raises(NotVerified, match="key_unknown"):
        verified(SCHEMES["bearer"].verifier(), asked, NOW, listed)


def test_of_a_key_set_only_what_can_verify_is_kept() -> None:
    good = jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key().public_key(), as_dict=True)
    odd: list[Any] = [
        5,
        {},
        {"kty": "oct", "k": "AAAA", "kid": "shared"},
        good | {"use": "enc", "kid": "for others"},
        {"kty": "RSA", "kid": "half"},
        {"kty": "EC", "crv": "P-999", "kid": "strange"},
        good | {"alg": "HS256", "kid": "confused"},
        good | {"n": 5, "kid": "number"},
    ]
    kept = key_set(json.dumps({"keys": [*odd, good | {"kid": "good"}]}).encode())
    assert set(kept) == {"good"}


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b'{"keys": [5]}', b"<html>"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        key_set(document)


def test_a_short_key_is_not_believed() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    listed = {JWKS: published_keys(("one", weak))}
    told = ({"alg": "RS256", "kid": "one"}, bearer_claims(NOW))
    head, payload = (jwt.utils.base64url_encode(json.dumps(part).encode()) for part in told)
    content = head + b"." + payload
    made = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(content, weak)
    token = (content + b"." + jwt.utils.base64url_encode(made)).decode()
    with pytest.raises(NotVerified, match="secret_unusable"):
        verified(SCHEMES["bearer"].verifier(), request(b"{}", {"Authorization": f"Bearer {token}"}), NOW, listed)
