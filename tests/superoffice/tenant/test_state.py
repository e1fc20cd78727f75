"""What the state endpoint may say, and what of it is believed: above all where credentials may be sent to."""

import gzip
import json
from typing import Any

import httpx
import pytest
import yarl
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.model import Outcome
from bridge.sandbox.tenants import STATES as SANDBOX_STATES
from bridge.settings.document import Document, Section
from bridge.settings.parsing import parse
from bridge.settings.target_schema import OnlineSettings
from bridge.superoffice.outcome import NotSent
from bridge.superoffice.tenant.state import SHORTEST, STATES, read_state
from bridge.target_state import TenantState
from bridge.times import iso

NOW = 1_795_500_000_000  # 2026-11-24T06:00:00Z
HOUR = 3_600_000
ANSWER = {
    "ContextIdentifier": "Cust12345",
    "Endpoint": "https://online3.superoffice.com/Cust12345",
    "State": "Running",
    "IsRunning": True,
    "ValidUntil": "2026-11-24T07:00:00Z",
    "Api": "https://online3.superoffice.com/Cust12345/api",
}


def online(environment: str = "online") -> OnlineSettings:
    section = Section(Document("bridge.yaml", {"environment": environment, "tenant": "Cust12345"}))
    settings, problems = parse(section, OnlineSettings)
    assert settings is not None, problems
    return settings


def read(status: int = 200, body: bytes | None = None, environment: str = "online", **changed: Any) -> TenantState:
    answer = json.dumps(ANSWER | changed).encode() if body is None else body
    return read_state(status, {}, answer, online(environment), target="crm", now=NOW)


def test_an_answer_is_read_in_whatever_coding_it_comes() -> None:
    compressed = gzip.compress(json.dumps(ANSWER).encode())
    found = read_state(200, {"content-encoding": "gzip"}, compressed, online(), target="crm", now=NOW)
    assert found == read()
    bomb = gzip.compress(json.dumps(ANSWER | {"More": " " * 100_000}).encode())
    with pytest.raises(NotSent, match="no state endpoint"):
        read_state(200, {"content-encoding": "gzip"}, bomb, online(), target="crm", now=NOW)


def refused(environment: str = "online", **changed: Any) -> str:
    with pytest.raises(NotSent) as refusal:
        read(environment=environment, **changed)
    assert refusal.value.outcome is Outcome.MISCONFIGURED
    assert refusal.value.pause is None
    return refusal.value.detail


def test_a_running_tenant_is_where_it_is_said_to_be_until_then() -> None:
    assert read() == TenantState(
        target="crm",
        tenant="Cust12345",
        state="Running",
        running=True,
        url="https://online3.superoffice.com/Cust12345/api",
        asked_at=NOW,
        valid_until=NOW + HOUR,
    )


@pytest.mark.parametrize(
    ("written", "until"),
    [
        ("2026-11-24T07:00:00.1234567Z", NOW + HOUR + 123),
        ("2026-11-24T07:00:00", NOW + HOUR),  # taken as UTC
        ("2026-11-24T09:00:00+02:00", NOW + HOUR),
        ("2026-11-24T06:00:59Z", NOW + SHORTEST),
        ("2020-01-01T00:00:00Z", NOW + SHORTEST),
        ("0001-01-01T00:00:00", NOW + SHORTEST),  # .NET's time that was never set
        ("0001-01-01T00:00:00+14:00", NOW + SHORTEST),
        ("soon", NOW + SHORTEST),
        (None, NOW + SHORTEST),
        (17, NOW + SHORTEST),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ("9999-12-31T23:59:59.9999999Z", 253_402_300_799_999),  # .NET's last time, which a float rounds up
        ("9999-12-31T23:59:59-12:00", 253_402_300_799_999),
    ],
)
def test_an_answer_is_good_until_then_and_for_a_minute_at_least(written: Any, until: int) -> None:
    valid_until = read(ValidUntil=written).valid_until
    assert valid_until == until
    assert iso(valid_until) >= "2026"  # it is logged, so it must be a time that can be written


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("OfflineMaintenance", "OfflineMaintenance"),
        *STATES.items(),
        ("SomethingNew", "SomethingNew"),
        ("<script>", "Unknown"),
        ("x" * 41, "Unknown"),
        (7, "Unknown"),
        (None, "Unknown"),
        ([], "Unknown"),
    ],
)
def test_a_state_is_told_by_its_name(written: Any, shown: str) -> None:
    assert read(State=written, IsRunning=False).state == shown


def test_the_sandbox_plays_the_states_that_are_known_here() -> None:
    assert set(STATES.values()) == set(SANDBOX_STATES)


@pytest.mark.parametrize("state", ["Running", "OfflineMaintenance", 2, None])
def test_only_is_running_says_whether_it_is_running(state: Any) -> None:
    assert read(State=state).url == ANSWER["Api"]
    stopped = read(State=state, IsRunning=False, Api="http://evil.example/api")
    assert (stopped.running, stopped.url) == (False, None)


@pytest.mark.parametrize("running", ["true", 1, None, "Running"])
def test_what_is_no_truth_value_is_no_answer(running: Any) -> None:
    assert refused(IsRunning=running) == (
        "what answers is no state endpoint of SuperOffice Online, check online.environment"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b'"x"', b"{", b"{}", b"\xff", b"[" * 10_000])
def test_what_is_no_object_is_no_answer(body: bytes) -> None:
    with pytest.raises(NotSent, match="no state endpoint of SuperOffice Online") as refusal:
        read(body=body)
    assert refusal.value.outcome is Outcome.MISCONFIGURED


@pytest.mark.parametrize("tenant", ["Cust99999", "", None, 12345])
def test_an_answer_about_another_tenant_is_not_believed(tenant: Any) -> None:
    assert "answered for another tenant" in refused(ContextIdentifier=tenant)
    assert "answered for another tenant" in refused(ContextIdentifier=tenant, IsRunning=False)


def test_a_tenant_may_be_written_in_other_case() -> None:
    assert read(ContextIdentifier="CUST12345").running


@pytest.mark.parametrize(("status", "outcome"), [
    *((status, Outcome.UNAVAILABLE) for status in (408, 425, 429, 500, 502, 503, 504, 520)),
    *((status, Outcome.MISCONFIGURED) for status in (204, 301, 302, 308, 400, 401, 403, 404, 405, 410, 421)),
])  # fmt: skip
def test_another_status_is_asked_again_later_or_is_a_wrong_setting(status: int, outcome: Outcome) -> None:
    with pytest.raises(NotSent, match=rf"^asked where the tenant is, SuperOffice answered {status}") as refusal:
        read(status)
    assert refusal.value.outcome is outcome


@pytest.mark.parametrize(
    ("environment", "api"),
    [
        ("online", "https://online.superoffice.com/Cust12345/api"),
        ("online", "https://ONLINE4.SuperOffice.com/Cust12345/api/"),
        ("online", "https://online3.superoffice.com:443/Cust12345/api"),
        ("sod", "https://sod2.superoffice.com/Cust12345/api"),
        ("gateway.example.com", "https://gateway.example.com/Cust12345/api"),
        ("gateway.example.com", "https://so3.gateway.example.com/Cust12345/api"),
        ("gateway.example.com:8443", "https://gateway.example.com:8443/Cust12345/api"),
        ("http://127.0.0.1:8090", "http://127.0.0.1:8091/online1/Cust12345/api"),
        ("http://localhost:8090", "https://127.0.0.1:8443/Cust12345/api"),
    ],
)
def test_a_url_within_the_environment_s_own_domain_is_believed(environment: str, api: str) -> None:
    assert read(environment=environment, Api=api).url == api.rstrip("/")


FOREIGN = [
    ("online", "https://evil.example/Cust12345/api", "is said to be at evil.example, outside of superoffice.com"),
    ("online", "https://superoffice.com.evil.example/api", "at superoffice.com.evil.example, outside of"),
    ("online", "https://evilsuperoffice.com/api", "at evilsuperoffice.com, outside of superoffice.com"),
    ("online", "https://superoffice.com./api", "at a host, outside of superoffice.com"),
    ("online", "https://evil.example%2f.superoffice.com/api", "at a host, outside of"),
    ("online", "https://evil.example;.superoffice.com/api", "at a host, outside of"),
    ("online", "https://[::1]/api", "at a host, outside of"),
    ("online", "https://127.0.0.1/api", "at 127.0.0.1, outside of"),
    ("online", "https://169.254.169.254/api", "at 169.254.169.254, outside of"),
    ("online", "https://online3.superoffice.com:8443/api", "at another port of online3.superoffice.com"),
    ("online", "http://online3.superoffice.com/api", "is not https"),
    ("online", "http://127.0.0.1/api", "is not https"),
    ("online", "https://evil.example@online3.superoffice.com/api", "no URL"),
    ("online", "https://evil.example\\@online3.superoffice.com/api", "no URL"),
    ("online", "https://online3.superoffice.com\\@evil.example/api", "no URL"),
    ("online", "https://online3.superoffice.com#@evil.example/api", "no URL"),
    ("online", "https://online3.superoffice.com?x/api", "no URL"),
    ("online", "https://online3.superoffice.com/a\r\nX: y/api", "no URL"),
    ("online", "https://online3.superoffice.c\u043em/api", "no URL"),
    ("online", "https://[/api", "no URL"),
    ("online", "file:///etc/passwd", "no URL"),
    ("online", "//evil.example/api", "no URL"),
    ("online", "", "no URL"),
    ("online", "https://online3.superoffice.com/" + "a" * 500, "no URL"),
    ("online", None, "no URL"),
    ("online", ["https://online3.superoffice.com/api"], "no URL"),
    ("gateway.example.com", "https://online3.superoffice.com/api", "outside of gateway.example.com"),
    ("gateway.example.com", "https://other.example.com/api", "outside of gateway.example.com"),
    ("gateway.example.com:8443", "https://gateway.example.com:9443/api", "another port"),
    ("https://127.0.0.1:8443", "http://127.0.0.1:8090/api", "is not https"),
    ("http://127.0.0.1:8090", "http://evil.example/api", "is not https"),
    ("http://127.0.0.1:8090", "https://evil.example/api", "outside of 127.0.0.1"),
    ("http://127.0.0.1:8090", "https://online3.superoffice.com/api", "outside of 127.0.0.1"),
]


@pytest.mark.parametrize(("environment", "api", "why"), FOREIGN)
def test_a_url_elsewhere_is_not_believed_and_the_reason_is_told(environment: str, api: Any, why: str) -> None:
    assert why in refused(environment, Api=api)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
HOSTS = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-@:/\\%?#[] \u0430", max_size=30)


@given(
    st.integers(100, 599) | st.just(200),
    st.binary(max_size=50)
    | st.dictionaries(st.sampled_from([*ANSWER]), JSON).map(lambda d: json.dumps(ANSWER | d).encode()),
)
def test_whatever_comes_is_a_state_or_a_refusal_in_our_own_words(status: int, body: bytes) -> None:
    told: TenantState | NotSent
    try:
        told = read(status, body)
    except NotSent as refusal:
        told = refusal
    if isinstance(told, NotSent):
        assert told.outcome in (Outcome.UNAVAILABLE, Outcome.MISCONFIGURED)
        assert told.detail.isprintable()
        assert len(told.detail) < 400
    else:
        assert told.running == (told.url is not None)
        assert told.valid_until >= NOW + SHORTEST


@given(HOSTS, HOSTS)
@example(before="][v0", after="")  # which parsers read differently
def test_whatever_is_around_the_domain_what_is_believed_lies_within(before: str, after: str) -> None:
    for api in (f"https://{before}superoffice.com{after}", f"https://{before}.superoffice.com/{after}"):
        try:
            url = read(Api=api).url
        except NotSent:
            continue
        assert url is not None
        for host in (httpx.URL(url).host, yarl.URL(url).host or ""):
            assert f".{host}".endswith(".superoffice.com")
