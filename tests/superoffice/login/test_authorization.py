"""What ops write under `authorization:`, and what is wrong with it. What is sent is proved in test_answers.py."""

from pathlib import Path
from typing import Any

import pytest
from authorities import rsa_key
from clocks import Hand

from bridge.errors import Severity
from bridge.model import Outcome
from bridge.sandbox.logins import pem
from bridge.settings.document import Document, Section
from bridge.settings.expansion import Expansion
from bridge.superoffice.login.authorization import SCHEMES, compile_authorization
from superoffice.logging_in import NOW, a_sandbox, logging_in
from superoffice.support import Call, claim, opened, playing


def problems(authorization: dict[str, Any]) -> list[str]:
    section = Section(Document("bridge.yaml", {"authorization": authorization}, {("authorization",): (4, 3)}))
    compiled, found = compile_authorization(section["authorization"])
    assert (compiled is None) == bool(found)
    return [str(problem) for problem in found]


GOOD: dict[str, dict[str, Any]] = {
    "basic": {"username": "ops", "password": "pw"},
    "ticket": {"ticket": "7T:x", "app_token": "app"},
    "bearer": {"token": "8A:x"},
    "oauth": {"environment": "sod", "client_id": "id", "client_secret": "cs", "refresh_token": "rt"},
    "system_user": {
        "environment": "online",
        "tenant": "Cust1",
        "system_token": "st",
        "app_token": "at",
        "private_key": pem(rsa_key(0)),
    },
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
    if (scheme, key) != ("ticket", "app_token"):
        (missing,) = problems({"scheme": scheme} | without)
        assert key in missing
    (empty,) = problems({"scheme": scheme, key: ""} | without)
    assert f"authorization.{key}: is" in empty  # empty, or no environment


def test_an_unknown_key_and_an_unknown_scheme_are_problems() -> None:
    (unknown,) = problems({"scheme": "bearer", "token": "t", "tokens": "t"})
    assert "authorization.tokens" in unknown
    (digest,) = problems({"scheme": "digest"})
    hint = "use one of basic, ticket, bearer, oauth, system_user, xsrf"
    assert digest == f"bridge.yaml:4:3: authorization.scheme: unknown scheme `digest`, {hint}"


@pytest.mark.parametrize("token", ["8A:a\r\nX-Injected: 1", "8A:ä", "8A:\x7f"])
def test_a_credential_that_no_header_can_carry_is_a_problem_that_does_not_quote_it(token: str) -> None:
    (problem,) = problems({"scheme": "bearer", "token": token})
    assert "a credential cannot be sent in a header" in problem
    assert "8A" not in problem


# Where to log in


ONLINE = {"environment": "sod", "tenant": "Cust26759"}


def compiled(scheme: str, *without: str, online: Any = None, **changed: Any) -> list[str]:
    keys = {key: value for key, value in GOOD[scheme].items() if key not in without} | changed
    target = {"authorization": {"scheme": scheme} | keys} | ({"online": online} if online else {})
    authorization, found = compile_authorization(Section(Document("bridge.yaml", target))["authorization"])
    assert (authorization is None) == any(problem.severity is Severity.ERROR for problem in found)
    return [str(problem) for problem in found]


@pytest.mark.parametrize("scheme", ["oauth", "system_user"])
def test_environment_and_tenant_may_stand_with_the_target(scheme: str) -> None:
    assert compiled(scheme, "environment", "tenant", online=ONLINE) == []
    hint = "add environment: sod, stage, qaonline or online, or online: to the target"
    assert f"bridge.yaml: authorization: names no environment, {hint}" in compiled(scheme, "environment")


def test_a_system_user_needs_a_tenant() -> None:
    hint = "add tenant: the customer's id such as Cust12345, or online: to the target"
    assert compiled("system_user", "tenant") == [f"bridge.yaml: authorization: names no tenant, {hint}"]


@pytest.mark.parametrize("environment", ["onlin", "http://login.example.com", "https://a.example.com/path", "ftp://a"])
def test_what_is_no_environment_is_a_problem(environment: str) -> None:
    (problem,) = compiled("oauth", environment=environment)
    assert "authorization.environment" in problem


def test_a_private_key_that_is_none_is_a_problem_that_does_not_quote_it() -> None:
    (problem,) = compiled("system_user", private_key=pem(rsa_key(0))[:200])
    assert problem == (
        "bridge.yaml: authorization.private_key: is not a private key in PEM, "
        "give the application's private key, as PEM without a password or as <RSAKeyValue>"
    )


def test_basic_with_superoffice_online_is_a_warning() -> None:
    (warning,) = compiled("basic", online=ONLINE)
    assert "authorization.scheme: is for installations of your own, as SuperOffice documents it" in warning
    assert compiled("basic", online={"environment": "nonsense"}) == []


def test_a_ticket_with_superoffice_online_but_without_the_app_token_is_a_warning() -> None:
    (warning,) = compiled("ticket", "app_token", online=ONLINE)
    assert warning.endswith("names no app_token, add app_token: SuperOffice Online needs it with a ticket")
    assert compiled("ticket", online=ONLINE) == compiled("ticket", "app_token") == []
    target = {"authorization": {"scheme": "ticket", "ticket": "7T:x"}, "online": ONLINE, "app_token": "app"}
    assert compile_authorization(Section(Document("bridge.yaml", target))["authorization"])[1] == []


# What is sent again


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "secret", "headers"),
    [
        ({"scheme": "basic", "username": "o"}, "password", [("Basic bzpvbGQ=", None), ("Basic bzpuZXc=", None)]),
        ({"scheme": "ticket", "ticket": "7T:x"}, "app_token", [("SOTicket 7T:x", "old"), ("SOTicket 7T:x", "new")]),
        ({"scheme": "bearer"}, "token", [("Bearer old", None), ("Bearer new", None)]),
    ],
)  # fmt: skip
async def test_a_secret_whose_file_changed_meanwhile_is_sent_once_more(
    tmp_path: Path, scheme: dict[str, Any], secret: str, headers: list[Any]
) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    text, _ = Expansion({}, tmp_path).expand("${file:secret}")

    async def changing(call: Call) -> None:
        refuses = len(server.calls) == 1
        file.write_text("new")
        await call.answer(status=401 if refuses else 200)

    async with playing(changing) as server, opened(server.url, authorization=scheme | {secret: text}) as crm:
        attempt = await crm.send(claim())
    assert attempt.outcome is Outcome.DELIVERED
    assert [(call.headers["authorization"], call.headers.get("so-apptoken")) for call in server.calls] == headers


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_file_that_came_to_hold_what_no_header_can_carry_is_a_refused_log_in(tmp_path: Path, when: str) -> None:
    file = tmp_path / "secret"
    file.write_text("good")
    text, _ = Expansion({}, tmp_path).expand("${file:secret}")

    async def changing(call: Call) -> None:
        file.write_text("a\nsecret")
        await call.answer(status=401)

    async with (
        playing(changing) as server,
        opened(server.url, authorization={"scheme": "bearer", "token": text}) as crm,
    ):
        if when == "before":
            file.write_text("a\nsecret")
        attempt = await crm.send(claim())
        file.write_text("good")
    assert attempt.outcome is Outcome.UNAUTHORIZED  # the target pauses, and no event grows too old
    assert attempt.detail == "a credential's file holds what no header can carry, check the target's authorization"
    assert len(server.calls) == (when == "meanwhile")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 403])
async def test_static_credentials_that_are_refused_are_not_sent_again(status: int) -> None:
    async def refusing(call: Call) -> None:
        await call.answer(status=status)

    async with playing(refusing) as server, opened(server.url) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status) == (Outcome.UNAUTHORIZED, status)
    assert len(server.calls) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 400, 404, 500, 503])
async def test_no_other_answer_makes_it_send_again(status: int) -> None:
    sandbox = a_sandbox(Hand(NOW), (f"{status} tenant=crm",))
    async with logging_in(sandbox, "oauth", Hand(NOW)) as crm:
        await crm.send(claim())
    assert sandbox.requests["crm"] == {str(status): 1}
    assert sandbox.log_ins.count == {"oauth": 1}
