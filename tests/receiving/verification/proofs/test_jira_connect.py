"""Jira's tokens, and the hash that binds those of Connect to a method, a path and a query."""

import hashlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Request
from bridge.receiving.verification import Verifier, compile_verifier
from bridge.receiving.verification.proofs.jira_connect import canonical_query
from bridge.settings.document import Document, Section
from receiving.verification.genuine import SHARED, refusal, verified
from receiving.verification.support import NOW, request

HELLO = (
    "lic=none&tz=Australia%2FSydney&cp=%2Fjira&user_key=&loc=en-US&user_id=&jwt=x.y.z"
    "&xdm_e=http%3A%2F%2Fstorm%3A2990&xdm_c=channel-servlet-hello-world&xdm_p=1"
)


def at_url(url: str, base_url: str = "", *secrets: str) -> Verifier:
    settings = {"scheme": "jira-connect", "secrets": list(secrets) or [SHARED], "base_url": base_url}
    verifier, problems = compile_verifier(Section(Document("x", {"verify": settings}), ("verify",)), url)
    assert isinstance(verifier, Verifier), problems
    return verifier


def asked(qsh: Any, query: str = "", method: str = "POST", word: str = "JWT", **claims: Any) -> Request:
    told = {"iss": "jira:1", "exp": NOW // 1000 + 180, **({} if qsh is None else {"qsh": qsh}), **claims}
    token = jwt.encode(told, SHARED, "HS256")
    return request(b"{}", {"Authorization": f"{word} {token}"}, query.encode(), method)


@pytest.mark.parametrize(
    ("method", "url", "query", "qsh"),
    [
        # the tests of the npm package atlassian-jwt, and developer.atlassian.com/cloud/bitbucket/query-string-hash
        ("GET", "https://x.example/", "", "c88caad15a1c1a900b8ac08aa9686f4e8184539bea1deda36e2f649430df3239"),
        (
            *("GET", "https://x.example/hello-world", HELLO),
            "8063ff4ca1e41df7bc90c8ab6d0f6207d491cf6dad7c66ea797b4614b71922e9",
        ),
        (
            *("GET", "https://x.example/test", "param=value"),
            "be16910858a41fd19ea5c1b4e9decca9a784d1024cb00b2158defe2f29dc86dd",
        ),
    ],
)
def test_the_hash_is_the_one_that_atlassian_publishes(method: str, url: str, query: str, qsh: str) -> None:
    assert refusal(at_url(url), asked(qsh, query, method)) is None
    for other in (asked(qsh, query + "&a=1", method), asked(qsh, query, "PUT"), asked(qsh[::-1], query, method)):
        assert refusal(at_url(url), other) == "claim_mismatch"
    assert refusal(at_url(url + "x"), asked(qsh, query, method)) == "claim_mismatch"


def test_a_query_is_written_as_atlassian_writes_it() -> None:
    assert (
        canonical_query("zee_last=param&repeated=parameter 1&first=param&repeated=parameter 2")
        == "first=param&repeated=parameter%201,parameter%202&zee_last=param"
    )
    assert canonical_query("b=+*~&a=%2b%7E&A=1&jwt=x") == "A=1&a=%2B~&b=%20%2A~"
    assert canonical_query("") == canonical_query("jwt=x") == ""


def hash_of(path: str) -> str:
    return hashlib.sha256(f"POST&{path}&".encode()).hexdigest()


@pytest.mark.parametrize(
    ("url", "base_url", "path"),
    [
        ("https://x.example/webhooks/jira", "", "/webhooks/jira"),
        ("https://x.example/webhooks/jira/", "https://x.example", "/webhooks/jira"),
        ("https://x.example/webhooks/jira", "https://x.example/webhooks", "/jira"),
        ("https://x.example/webhooks/jira", "https://x.example/webhooks/", "/jira"),
        ("https://x.example/a&b", "", "/a%26b"),
        ("https://x.example", "", "/"),
    ],
)
def test_the_path_is_that_behind_the_apps_own_url(url: str, base_url: str, path: str) -> None:
    assert refusal(at_url(url, base_url), asked(hash_of(path))) is None


def test_the_fixed_hash_of_tokens_for_any_url_is_refused() -> None:
    assert refusal(at_url("https://x.example/"), asked("context-qsh")) == "claim_mismatch"
    assert refusal(at_url("https://x.example/"), asked(None)) == "claim_mismatch"
    assert refusal(at_url("https://x.example/"), asked(5)) == "claim_mismatch"


def test_oauth_apps_show_a_bearer_token_without_a_hash_but_a_wrong_one_counts() -> None:
    verifier = at_url("https://x.example/", "")
    assert refusal(verifier, asked(None, word="Bearer")) is None
    assert refusal(verifier, asked(hash_of("/"), word="Bearer")) is None
    assert refusal(verifier, asked(hash_of("/other"), word="Bearer")) == "claim_mismatch"
    assert refusal(verifier, asked(None, word="Basic")) == "credential_malformed"


def test_a_token_without_an_end_is_refused() -> None:
    assert refusal(at_url("https://x.example/"), asked(hash_of("/"), exp=None)) == "claim_mismatch"


def test_only_the_algorithm_that_jira_uses_will_do() -> None:
    told = {"iss": "jira:1", "exp": NOW // 1000 + 180, "qsh": hash_of("/")}
    for token in (jwt.encode(told, SHARED * 2, "HS512"), jwt.api_jws.encode(json.dumps(told).encode(), "", "none")):
        verifier = at_url("https://x.example/", "", SHARED * 2)
        assert refusal(verifier, request(b"{}", {"Authorization": f"JWT {token}"})) == "credential_malformed"


def test_it_is_told_which_secret_signed() -> None:
    verifier = at_url("https://x.example/", "", SHARED + "!", SHARED)
    assert verified(verifier, asked(hash_of("/"))).secret == 2
    assert refusal(at_url("https://x.example/", "", SHARED + "!"), asked(hash_of("/"))) == "credential_mismatch"


def test_too_many_parameters_are_refused() -> None:
    assert refusal(at_url("https://x.example/"), asked(hash_of("/"), "&".join(["a=1"] * 101))) == "claim_mismatch"


@given(st.text())
def test_any_query_can_be_written(query: str) -> None:
    written = canonical_query(query)
    assert written.isascii()
    assert " " not in written
