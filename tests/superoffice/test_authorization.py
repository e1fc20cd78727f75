"""What ops write under `authorization:`, and what is wrong with it. What is sent is proved in test_answers.py."""

from typing import Any

import pytest

from bridge.settings.document import Document, Section
from bridge.superoffice.authorization import SCHEMES, compile_authorization


def problems(authorization: dict[str, Any]) -> list[str]:
    section = Section(Document("bridge.yaml", {"authorization": authorization}, {("authorization",): (4, 3)}))
    compiled, found = compile_authorization(section["authorization"])
    assert (compiled is None) == bool(found)
    return [str(problem) for problem in found]


GOOD: dict[str, dict[str, Any]] = {
    "basic": {"username": "ops", "password": "pw"},
    "ticket": {"ticket": "7T:x", "app_token": "app"},
    "bearer": {"token": "8A:x"},
    "xsrf": {"cookie": "XSRF-TOKEN=t", "token": "t"},
}


def test_every_scheme_is_tried_here() -> None:
    assert GOOD.keys() == SCHEMES.keys()


@pytest.mark.parametrize("scheme", GOOD)
def test_a_scheme_takes_what_it_needs(scheme: str) -> None:
    assert problems({"scheme": scheme} | GOOD[scheme]) == []


@pytest.mark.parametrize(("scheme", "key"), [(scheme, key) for scheme, keys in GOOD.items() for key in keys])
def test_a_missing_or_empty_credential_is_a_problem(scheme: str, key: str) -> None:
    without = {name: value for name, value in GOOD[scheme].items() if name != key}
    if key != "app_token":
        (missing,) = problems({"scheme": scheme} | without)
        assert f"authorization.{key}" in missing
    (empty,) = problems({"scheme": scheme, key: ""} | without)
    assert f"authorization.{key}: is empty" in empty


def test_an_unknown_key_and_an_unknown_scheme_are_problems() -> None:
    (unknown,) = problems({"scheme": "bearer", "token": "t", "tokens": "t"})
    assert "authorization.tokens" in unknown
    assert problems({"scheme": "digest"}) == [
        "bridge.yaml:4:3: authorization.scheme: unknown scheme `digest`, use one of basic, ticket, bearer, xsrf"
    ]


@pytest.mark.parametrize("scheme", ["oauth", "system_user"])
def test_schemes_of_a_later_version_are_refused_by_name(scheme: str) -> None:
    (problem,) = problems({"scheme": scheme, "client_id": "x"})
    assert f"`{scheme}` is not available yet" in problem


@pytest.mark.parametrize("token", ["8A:a\r\nX-Injected: 1", "8A:ä", "8A:\x7f"])
def test_a_credential_that_no_header_can_carry_is_a_problem_that_does_not_quote_it(token: str) -> None:
    (problem,) = problems({"scheme": "bearer", "token": token})
    assert "a credential cannot be sent in a header" in problem
    assert "8A" not in problem
