"""Whatever stands where a proof reads, the answer is that it is not proven: text that no encoding can write, numbers
without end, values of other types, nests without bottom.
"""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from authorities import rsa_key
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from .genuine import SCHEMES, SHARED, bearer_claims, refusal, with_header
from .support import NOW, request
from .test_forgery import ALL

HUGE = 10**4000
texts = st.sampled_from(["\ud83d", "\udc00a", "\0", "", " ", "é", "\u202e", "٣", "1e5", "-1", "0x1"]) | st.text(
    st.characters(exclude_categories=[]), max_size=8
)
numbers = st.sampled_from([0, -1, HUGE, -HUGE, 2**63, 1e308, float("inf"), float("-inf"), float("nan"), 1.5])
values = st.recursive(
    texts | numbers | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
header_values = st.binary(max_size=40) | st.sampled_from(
    [
        *(
            b"\xed\xa0\xbd",
            b"=",
            b",",
            b";",
            b"t=",
            b"t=,v1=",
            b"v1=\xff",
            b"9" * 5000,
            b"t=" + b"9" * 5000 + b",v1=00",
        ),
        *("t=\u0663,v1=00".encode(), b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"+inf", b"nan"),
        *(b"Basic \xff", b"Bearer ..", b"JWT e30.e30.", b"Bearer " + b"." * 5000, b"sha256=" + b"zz" * 32),
    ]
)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20)
@given(data=st.data())
def test_any_header_is_no_more_than_not_proven(name: str, data: st.DataObject) -> None:
    one = ALL[name]
    asked = one.make(b"a body", NOW)
    for header in one.headers:
        if data.draw(st.booleans()):
            asked = with_header(asked, header, *data.draw(st.lists(header_values, max_size=2)))
    asked = replace(asked, query=data.draw(st.binary(max_size=30) | st.just(asked.query)))
    refusal(one.verifier(), asked)


BODIES = {name: json.loads(SCHEMES[name].make(b"a body", NOW).body) for name in ("aws-sns", "microsoft-graph")}
BODIES["mailgun"] = json.loads(SCHEMES["mailgun"].make(b"a body", NOW).body)["signature"]


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
def test_any_value_in_a_body_that_carries_its_proof_is_no_more_than_not_proven(name: str, data: st.DataObject) -> None:
    written = BODIES[name] | {key: data.draw(values) for key in BODIES[name] if data.draw(st.booleans())}
    if name == "microsoft-graph":
        written = {"value": [item | {"clientState": data.draw(values)} for item in BODIES[name]["value"]]}
    body = json.dumps({"signature": written} if name == "mailgun" else written).encode()
    refusal(SCHEMES[name].verifier(), request(body, {"content-type": "application/json"}))


@pytest.mark.parametrize("name", ["mailgun", "twilio"])
@given(pairs=st.lists(st.tuples(st.sampled_from([b"token", b"timestamp", b"signature", b"x"]), header_values)))
def test_any_form_that_carries_its_proof_is_no_more_than_not_proven(
    name: str, pairs: list[tuple[bytes, bytes]]
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": "AAAA"}
    body = b"&".join(key + b"=" + value for key, value in pairs)
    refusal(SCHEMES[name].verifier(), request(body, headers))


def _part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def token(name: str, header: bytes, payload: bytes) -> str:
    """A token of what stands there, signed as it should be."""
    signing = _part(header) + b"." + _part(payload)
    if name == "jira-connect":
        signed = hmac.digest(SHARED.encode(), signing, hashlib.sha256)
    else:
        signed = rsa_key().sign(signing, padding.PKCS1v15(), hashes.SHA256())
    return (signing + b"." + _part(signed)).decode()


TOKENS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "jira-connect": ("JWT", {"alg": "HS256", "typ": "JWT"}, {"iss": "jira", "exp": NOW // 1000 + 180, "qsh": "0"}),
    "bearer": ("Bearer", {"alg": "RS256", "kid": "one"}, bearer_claims(NOW)),
}


@pytest.mark.parametrize("name", TOKENS)
@given(data=st.data())
def test_any_claim_of_a_token_is_no_more_than_not_proven(name: str, data: st.DataObject) -> None:
    word, header, claims = TOKENS[name]
    more = ["nbf", "iat", "sub", "jti", "crit", "b64", "jwk", "cty"]
    header, claims = (
        written | data.draw(st.dictionaries(st.sampled_from([*written, *more]), values, max_size=3))
        for written in (header, claims)
    )
    raw = [json.dumps(written).encode() for written in (header, claims)]
    refusal(SCHEMES[name].verifier(), request(b"{}", {"Authorization": f"{word} {token(name, *raw)}"}))


@pytest.mark.parametrize("name", TOKENS)
@given(header=st.binary(max_size=30), payload=st.binary(max_size=30))
@example(header=b"[" * 6000, payload=b"{}")
@example(header=b'{"alg":' * 800, payload=b"{}")
@example(header=b"", payload=b"[" * 6000)
@example(header=b"", payload=b'{"exp": ' + b"9" * 5000 + b"}")
@example(header=b"", payload=b'"\xed\xa0\xbd"')
def test_any_token_is_no_more_than_not_proven(name: str, header: bytes, payload: bytes) -> None:
    word, usual, _ = TOKENS[name]
    written = token(name, header or json.dumps(usual).encode(), payload)
    assert refusal(SCHEMES[name].verifier(), request(b"{}", {"Authorization": f"{word} {written}"}))


@pytest.mark.parametrize("qsh", ["\ud83d", HUGE, ["a"], {"a": 1}, True, None, "é", ""])
def test_a_hash_of_jiras_that_is_none_is_not_proven(qsh: Any) -> None:
    claims = {"exp": NOW // 1000 + 180, "qsh": qsh}
    written = token("jira-connect", b'{"alg": "HS256"}', json.dumps(claims).encode())
    for word in ("JWT", "Bearer"):
        asked = request(b"{}", {"Authorization": f"{word} {written}"})
        assert refusal(SCHEMES["jira-connect"].verifier(), asked) == "claim_mismatch"
