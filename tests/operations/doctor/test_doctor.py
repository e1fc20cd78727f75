"""The doctor, on real servers: what is fine is told, what is wrong is told with what to do, and no event is sent."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from authorities import Answer, Issued, authority, publishing
from superoffice.logging_in import SETTINGS, a_sandbox
from superoffice.test_proxy import LOGIN, USER, proxying

from bridge.operations.doctor.doctor import Finding, Health, Patient, examine
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.send_event import compile_target
from bridge.times import now

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

BASIC = {"scheme": "basic", "username": "sandbox", "password": "sandbox"}
NOW = 1_764_003_600_000
AUTHORITY = authority()
API = "/crm/api"
SEND_EVENT = "/crm/api/v1/Agents/Workflow/SendEvent"
DATE = {"Date": formatdate(NOW / 1000, usegmt=True)}
WELL = {
    API: Answer(b'{"v1": "", "NetServerVersion": "10.3.5.1234"}', headers=DATE),
    SEND_EVENT: Answer(b"{}"),
}


def issued(days: int) -> Issued:
    """A server's certificate that ends so many days from NOW."""
    end = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(days=days, hours=1)
    return AUTHORITY.issue("127.0.0.1", end=max(end, datetime.now(UTC) + timedelta(hours=1)))


def patient(url: str = "", types: Any = (), kept_token: bool = False, **settings: Any) -> Patient:
    written = ({"url": url} if url else {}) | {"authorization": BASIC} | settings
    section = Section(Document("bridge.yaml", written))
    parsed, problems = parse(section, TargetSettings)
    assert parsed is not None, problems
    superoffice, problems = compile_target("crm", parsed, section)
    assert superoffice is not None, problems
    return Patient(name="crm", settings=parsed, superoffice=superoffice, types=types, kept_token=kept_token)


async def findings(one: Patient, now: int = NOW, patience: float = 20) -> list[Finding]:
    return await examine([one], lambda: now, patience)


def states(found: list[Finding]) -> dict[str, str]:
    assert max(Counter(finding.check for finding in found).values()) == 1
    return {finding.check: finding.state.value for finding in found}


def what(found: list[Finding], check: str) -> tuple[str, str, str]:
    (finding,) = [finding for finding in found if finding.check == check]
    return finding.state.value, finding.message, finding.hint


@asynccontextmanager
async def tls_server(
    answers: dict[str, Answer], days: int = 90
) -> AsyncIterator[tuple[str, dict[str, str], list[str]]]:
    """A server's URL, the `tls:` that trusts it, and the heads of requests to it."""
    async with publishing(issued(days), answers) as published:
        yield f"https://127.0.0.1:{published.port}{API}", {"ca": AUTHORITY.pem.decode()}, published.heads


# All is well


async def test_a_sandbox_is_in_good_health_and_gets_no_event() -> None:
    sandbox = Sandbox(now=lambda: NOW)
    async with serving(sandbox) as url:
        found = await findings(patient(f"{url}/crm/api", ["SaleSold"], version="auto"))
    assert states(found) == {
        "dns": "ok",
        "connection": "ok",
        "api": "ok",
        "version": "ok",
        "clock": "ok",
        "login": "ok",
        "send_event": "ok",
    }
    assert what(found, "version")[1] == "the server is 12.4"
    assert what(found, "login")[1] == "SuperOffice takes the log-in (basic)"
    assert sandbox.events() == []
    assert sandbox.requests == {}
    assert all(finding.hint == "" for finding in found)


async def test_over_tls_the_certificates_days_are_told() -> None:
    async with tls_server(WELL | {SEND_EVENT: Answer(status=405)}, days=4000) as (url, tls, heads):
        found = await findings(patient(url, tls=tls))
    assert what(found, "tls")[1].startswith("TLSv1.3 with 127.0.0.1:")
    assert what(found, "certificate") == ("ok", "the certificate is good for 4000 days", "")
    assert what(found, "send_event") == ("ok", "SendEvent's URL is there, though it takes no GET (405)", "")
    assert {head.split(" ")[0] for head in heads} == {"GET"}


async def test_behind_a_proxy_it_looks_the_proxys_way() -> None:
    async with tls_server(WELL, days=4000) as (url, tls, _), proxying(url, LOGIN) as proxy:
        told = {"url": proxy.url, **USER}
        found = await findings(patient(url, tls=tls, proxy=told))
        wrong = await findings(patient(url, tls=tls, proxy=told | {"password": "guess"}))
    assert states(found)["tls"] == "ok"
    assert f"through the proxy 127.0.0.1:{proxy.port}" in what(found, "tls")[1]
    assert what(wrong, "tls") == ("wrong", "the proxy answered 407", "check proxy.username and proxy.password")
    assert "guess" not in str(wrong)


# SuperOffice Online


@pytest.mark.parametrize("scheme", ["oauth", "system_user"])
async def test_a_tenant_is_found_and_its_log_in_fetched(scheme: str) -> None:
    sandbox = a_sandbox(now)
    async with serving(sandbox) as url:
        tenant = {"environment": url, "tenant": "Cust12345"}
        authorization = SETTINGS[scheme](url) | ({"tenant": "Cust12345"} if scheme == "system_user" else {})
        found = await findings(patient(online=tenant, authorization=authorization), now())
    assert set(states(found).values()) == {"ok"}
    assert [finding.check for finding in found] == [
        *("environment_dns", "environment_connection", "tenant", "dns", "connection"),
        *("api", "version", "clock", "login", "send_event"),
    ]
    assert what(found, "tenant")[1] == f"Cust12345 is running, at {url}/online1/Cust12345/api"
    assert sandbox.log_ins.count == {scheme: 1}
    assert sandbox.events() == []


async def test_a_tenant_that_is_not_running_ends_it() -> None:
    sandbox = a_sandbox(now)
    sandbox.tenants.set("Cust12345", state="OfflineMaintenance")
    async with serving(sandbox) as url:
        found = await findings(patient(online={"environment": url, "tenant": "Cust12345"}), now())
    hint = "check online, and look at SuperOffice's status page"
    assert what(found, "tenant") == ("wrong", "the tenant is not running (OfflineMaintenance)", hint)
    assert found[-1].check == "tenant"


async def test_an_application_that_is_not_known_is_wrong_and_its_secret_is_not_told() -> None:
    async with serving(Sandbox()) as url:
        authorization = SETTINGS["oauth"](url) | {"client_secret": "hush-hush"}
        found = await findings(patient(f"{url}/Cust12345/api", authorization=authorization), now())
    state, message, hint = what(found, "login")
    assert (state, hint) == ("wrong", "check the target's authorization")
    assert message == "the log-in was refused (401) invalid_client"
    assert "hush" not in str(found)


# What can be wrong


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_a_name_that_is_not_found_ends_it() -> None:
    found = await findings(patient("https://crm.invalid/api"))
    assert [what(found, "dns")] == [
        ("wrong", "crm.invalid is not found", "check the name, and this machine's DNS"),
    ]
    assert len(found) == 1


async def test_a_port_where_nobody_listens_ends_it() -> None:
    port = unused_port()
    found = await findings(patient(f"http://127.0.0.1:{port}/api"))
    hint = "check that it runs, the port, and firewalls on the way"
    assert what(found, "connection") == ("wrong", f"127.0.0.1:{port}: connection refused", hint)
    assert list(states(found)) == ["dns", "connection"]


async def test_a_certificate_that_nobody_vouches_for_ends_it() -> None:
    async with tls_server(WELL) as (url, _, heads):
        found = await findings(patient(url))
    state, message, hint = what(found, "tls")
    assert state == "wrong"
    assert message.startswith("the certificate is not valid: ")
    assert hint == "let the server renew it, or trust its authority by tls.ca"
    assert heads == []


async def test_a_certificate_that_ends_soon_is_wrong_and_the_rest_is_looked_at() -> None:
    now = int(datetime.now(UTC).timestamp() * 1000)
    end = datetime.now(UTC) + timedelta(days=14, minutes=5)
    async with publishing(AUTHORITY.issue("127.0.0.1", end=end), WELL) as published:
        url = f"https://127.0.0.1:{published.port}{API}"
        found = await findings(patient(url, tls={"ca": AUTHORITY.pem.decode()}), now)
    hint = "let whoever runs the server renew it"
    assert what(found, "certificate") == ("wrong", "the certificate is good for 14 days", hint)
    assert states(found)["send_event"] == "ok"


async def test_plain_http_on_a_tls_port_is_told_as_such() -> None:
    async with serving(Sandbox()) as url:
        found = await findings(patient(url.replace("http:", "https:") + API))
    state, message, hint = what(found, "tls")
    assert (state, hint) == ("wrong", "check that the port speaks TLS, and tls.minimum")
    assert message.startswith("TLS failed (")


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (Answer(status=302), "the url redirects (302)", "put its final address into url"),
        (Answer(status=421), "this host does not serve the tenant (421)", "use online instead of url"),
        (Answer(status=503), "the server answers 503", "wait, or ask whoever runs it"),
        (
            Answer(status=404),
            "what answers (404) is not SuperOffice's web API",
            "put the address of its web API into url, such as https://crm.example.com/superoffice/api",
        ),
        (
            Answer(b"<html>log in</html>"),
            "what answers (200) is not SuperOffice's web API",
            "put the address of its web API into url, such as https://crm.example.com/superoffice/api",
        ),
    ],
)
async def test_a_url_that_is_no_web_api_ends_it(answer: Answer, message: str, hint: str) -> None:
    async with tls_server(WELL | {API: answer}) as (url, tls, _):
        found = await findings(patient(url, tls=tls))
    assert what(found, "api") == ("wrong", message, hint)
    assert found[-1].check == "api"


async def test_a_version_that_is_told_only_after_a_log_in_ends_nothing() -> None:
    async with tls_server(WELL | {API: Answer(status=401, headers=DATE)}) as (url, tls, _):
        found = await findings(patient(url, tls=tls))
    assert states(found)["api"] == "doubtful"
    assert states(found)["send_event"] == "ok"


@pytest.mark.parametrize(
    ("version", "types", "settings", "state", "message"),
    [
        ("10.2.8", ["SaleSold", "Run"], {}, "doubtful", "the server is 10.2.8, which does not list SaleSold"),
        ("10.2.8", ["SaleSold"], {"allow_unknown_event_types": True}, "ok", "the server is 10.2.8"),
        ("10.2.8", ["Run"], {}, "ok", "the server is 10.2.8"),
        ("9.0", ["Run"], {}, "doubtful", "the server is 9.0, whose event types are not known"),
    ],
)
async def test_types_that_the_version_lacks_are_told(
    version: str, types: list[str], settings: dict[str, Any], state: str, message: str
) -> None:
    async with serving(Sandbox(version=version, now=lambda: NOW)) as url:
        found = await findings(patient(f"{url}/crm/api", types, **settings))
    assert what(found, "version")[:2] == (state, message)


@pytest.mark.parametrize("off", [-3600, -61, 61, 3600])
async def test_clocks_that_differ_are_wrong(off: int) -> None:
    async with serving(Sandbox(now=lambda: NOW)) as url:
        found = await findings(patient(f"{url}/crm/api"), NOW + off * 1000)
    state, message, hint = what(found, "clock")
    assert (state, message) == ("wrong", f"the server's clock and this machine's differ by {abs(off)} s")
    assert "NTP" in hint


@pytest.mark.parametrize(("off", "agree"), [(-60, 60), (0, 1), (59, 59)])
async def test_a_minute_is_no_difference(off: int, agree: int) -> None:
    async with serving(Sandbox(now=lambda: NOW)) as url:
        found = await findings(patient(f"{url}/crm/api"), NOW + off * 1000)
    assert what(found, "clock") == ("ok", f"the server's clock and this machine's agree within {agree} s", "")


@pytest.mark.parametrize("date", [{}, {"Date": "yesterday"}, {"Date": "Mon, 01 Jan 99999999999999 00:00:00 GMT"}])
async def test_a_server_that_does_not_tell_the_time_is_doubtful(date: dict[str, str]) -> None:
    api = Answer(b'{"NetServerVersion": "12.4"}', headers=date)
    async with tls_server(WELL | {API: api}) as (url, tls, _):
        assert states(await findings(patient(url, tls=tls)))["clock"] == "doubtful"


@pytest.mark.parametrize(
    "authorization",
    [
        BASIC | {"password": "hush-hush"},
        {"scheme": "ticket", "ticket": "7T:hush-hush", "app_token": "sandbox"},
        {"scheme": "ticket", "ticket": "7T:sandbox"},
        {"scheme": "bearer", "token": "hush-hush"},
    ],
)
async def test_a_log_in_that_is_refused_is_wrong_and_not_told(authorization: dict[str, str]) -> None:
    async with serving(Sandbox(now=lambda: NOW)) as url:
        found = await findings(patient(f"{url}/crm/api", authorization=authorization))
    hint = "check the target's authorization, and what its user may do"
    assert what(found, "login") == ("wrong", "SuperOffice refused the log-in (401)", hint)
    assert what(found, "send_event") == ("doubtful", "cannot be told", "let the log-in work first")
    assert "hush" not in str(found)


async def test_a_log_in_that_makes_no_difference_cannot_be_told() -> None:
    async with tls_server(WELL) as (url, tls, _):
        found = await findings(patient(url, tls=tls))
    assert states(found)["login"] == "doubtful"


async def test_where_send_event_is_not_offered_it_says_so() -> None:
    async with tls_server({API: WELL[API]}) as (url, tls, _):
        found = await findings(patient(url, tls=tls))
    hint = "check the url, and whether this version of SuperOffice has workflow events"
    assert what(found, "send_event") == ("wrong", "SendEvent is not offered (404)", hint)


@pytest.mark.parametrize("status", [302, 400, 500])
async def test_an_answer_that_tells_nothing_is_doubtful(status: int) -> None:
    async with tls_server(WELL | {SEND_EVENT: Answer(status=status)}) as (url, tls, _):
        found = await findings(patient(url, tls=tls))
    assert states(found)["send_event"] == "doubtful"


async def test_a_refresh_token_that_the_bridge_needs_is_left_alone() -> None:
    sandbox = Sandbox(now=lambda: NOW)
    async with serving(sandbox) as url:
        found = await findings(patient(f"{url}/crm/api", kept_token=True))
    assert states(found)["login"] == "doubtful"
    assert "send_event" not in states(found)


# Bounds


async def test_a_server_that_accepts_and_says_nothing_is_bounded_by_the_targets_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        plain = await findings(patient(f"http://127.0.0.1:{port}/api", timeout="200ms"))
        over_tls = await findings(patient(f"https://127.0.0.1:{port}/api", timeout="200ms"))
    assert what(plain, "api")[:2] == ("wrong", "no answer within 0.2 s")
    assert what(over_tls, "tls")[:2] == ("wrong", f"no connection to 127.0.0.1:{port} within 0.2 s")


async def test_all_checks_of_a_target_are_bounded_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = await findings(patient(f"http://127.0.0.1:{listener.getsockname()[1]}/api"), patience=0.3)
    assert found[-1].check == "time"
    assert found[-1].state is Health.WRONG
    assert found[-1].message == "the checks took over 0.3 s"


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    async with tls_server(WELL | {API: Answer(endless=True)}) as (url, tls, _):
        async with asyncio.timeout(10):
            found = await findings(patient(url, tls=tls))
    assert states(found)["api"] == "wrong"


async def test_many_targets_come_in_order() -> None:
    async with serving(Sandbox(now=lambda: NOW)) as url:
        many = [patient(f"{url}/t{number}/api") for number in range(20)]
        found = await examine(many, lambda: NOW)
    assert [finding.check for finding in found] == [finding.check for finding in found[:7]] * 20
