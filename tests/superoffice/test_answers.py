"""Each row of the outcome table on a real socket, against the sandbox, and what a request carries."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from clocks import Hand
from hypothesis import given
from hypothesis import strategies as st

from bridge import __version__
from bridge.model import Attempt, Outcome, PauseReason, Unclear
from bridge.sandbox.answers import Credentials
from bridge.sandbox.faults import Fault
from bridge.sandbox.superoffice import Sandbox
from bridge.settings.expansion import Expansion
from bridge.superoffice import payloads
from bridge.superoffice.outcome import KEPT

from .support import BASIC, RESULT, Call, claim, opened, patience, playing, tenant

pytestmark = [pytest.mark.anyio, pytest.mark.timing]

LOGIN = "SuperOffice refused the log-in ({}), check the target's authorization"
NO_URL = "there is no SendEvent at this URL ({}), check the target's url"
NOT_OURS = "the answer ({}) is not SendEvent's, check the target's url"
UNCLEAR, A_PAGE = (
    f"the answer ({{}}) is {what}, SuperOffice may have taken the event, "
    "check the target's url and what stands in front of it"
    for what in ("not SendEvent's", "a page of HTML")
)
REDIRECTS = "the target redirects ({}), put its final address into url"
MAY_HAVE = "SuperOffice answered {}, it may have taken the event"
ANSWERED = "SuperOffice answered {}"


async def answered(fault: str | Fault, **settings: Any) -> tuple[Attempt, int]:
    """What one attempt shows while the sandbox has this fault, and how many events the sandbox took."""
    sandbox = Sandbox([fault])
    async with tenant(sandbox, **settings) as crm:
        attempt = await crm.send(claim())
    return attempt, len(sandbox.events())


@pytest.mark.parametrize(
    ("fault", "outcome", "status", "detail"),
    [
        ("401", Outcome.UNAUTHORIZED, 401, LOGIN),
        ("403", Outcome.UNAUTHORIZED, 403, LOGIN),
        ("301", Outcome.MISCONFIGURED, 301, REDIRECTS),
        ("redirect", Outcome.MISCONFIGURED, 302, REDIRECTS),
        ("304", Outcome.MISCONFIGURED, 304, REDIRECTS),
        ("308", Outcome.MISCONFIGURED, 308, REDIRECTS),
        ("303", Outcome.MISCONFIGURED, 303, REDIRECTS),
        ("html200", Outcome.UNKNOWN, 200, A_PAGE),
        ("garbage", Outcome.UNKNOWN, 200, UNCLEAR),
        ("huge", Outcome.UNKNOWN, 200, UNCLEAR),
        ("html404", Outcome.MISCONFIGURED, 404, NO_URL),
        ("405", Outcome.MISCONFIGURED, 405, NO_URL),
        ("407", Outcome.MISCONFIGURED, 407, NOT_OURS),
        ("410", Outcome.MISCONFIGURED, 410, NOT_OURS),
        ("413", Outcome.MISCONFIGURED, 413, NOT_OURS),
        ("415", Outcome.MISCONFIGURED, 415, NOT_OURS),
        ("421", Outcome.MOVED, 421, "this host does not serve the tenant (421), check the target's url"),
        ("404", Outcome.REJECTED, 404, "SuperOffice rejected the event (404) NotFoundException"),
        ("rejected", Outcome.REJECTED, 400, "SuperOffice rejected the event (400) ArgumentException"),
        ("error", Outcome.REJECTED, 200, "SuperOffice rejected the event (200) ArgumentException"),
        ("null", Outcome.REJECTED, 200, "SuperOffice answered null"),
        ("408", Outcome.UNAVAILABLE, 408, ANSWERED),
        ("429", Outcome.UNAVAILABLE, 429, ANSWERED),
        ("503", Outcome.UNAVAILABLE, 503, ANSWERED),
        ("500", Outcome.UNKNOWN, 500, MAY_HAVE),
        ("501", Outcome.UNKNOWN, 501, MAY_HAVE),
        ("502", Outcome.UNKNOWN, 502, MAY_HAVE),
        ("504", Outcome.UNKNOWN, 504, MAY_HAVE),
        ("507", Outcome.UNKNOWN, 507, MAY_HAVE),
        ("599", Outcome.UNKNOWN, 599, MAY_HAVE),
    ],
)
async def test_an_answer_teaches_its_outcome(fault: str, outcome: Outcome, status: int, detail: str) -> None:
    attempt, taken = await answered(fault)
    assert (attempt.outcome, attempt.status, attempt.detail) == (outcome, status, detail.format(status))
    assert attempt.retry_after is None
    assert taken == 0


@pytest.mark.parametrize("fault", ["201", "202", "299", "gzip", "latin-1", "utf-16"])
async def test_a_2xx_with_a_result_is_delivered_whatever_it_comes_in(fault: str) -> None:
    attempt, taken = await answered(fault)
    assert (attempt.outcome, attempt.detail, attempt.unclear, attempt.pause) == (Outcome.DELIVERED, "", None, None)
    assert attempt.result["EventType"] == "SaleSold"
    assert attempt.result["Attributes"] == ("number=1;ræk=1" if fault == "latin-1" else "number=1")
    assert taken == 1


@pytest.mark.parametrize(
    ("fault", "unclear", "taken"),
    [
        ("html200", Unclear.PAGE, 0),
        ("garbage", Unclear.ANSWER, 0),
        ("huge", Unclear.ANSWER, 0),
        ("204", Unclear.ANSWER, 1),
        ("205", Unclear.ANSWER, 1),
    ],
)
async def test_of_a_2xx_that_nobody_understands_the_target_may_have_taken_the_event(
    fault: str, unclear: Unclear, taken: int
) -> None:
    attempt, count = await answered(fault)
    assert (attempt.outcome, attempt.unclear, attempt.pause) == (Outcome.UNKNOWN, unclear, PauseReason.MISCONFIGURED)
    assert count == taken


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, len(RESULT) - 1])
async def test_half_a_result_is_never_taken_for_one_that_says_no(chunked: bool, size: int) -> None:
    """Cut off, or so framed that it looks whole."""

    async def cutting(call: Call) -> None:
        head = f"Transfer-Encoding: chunked\r\n\r\n{len(RESULT):x}\r\n" if chunked else "\r\n"
        await call.send(b"HTTP/1.1 200 OK\r\n" + head.encode() + RESULT[:size])
        call.writer.close()

    async with playing(cutting) as server, opened(server.url) as crm:
        attempt = await crm.send(claim())
    assert attempt.outcome is Outcome.UNKNOWN
    assert attempt.unclear is (None if chunked else Unclear.ANSWER)


@pytest.mark.parametrize(
    ("fault", "taken", "detail"),
    [
        ("cut-before", 0, "the connection broke before the answer"),
        ("cut-after", 1, "the connection broke before the answer"),
        ("cut-middle", 1, "the connection broke before the answer"),
        ("hang", 0, "no answer within 1 s"),
        ("slow seconds=60", 1, "no answer within 1 s"),
    ],
)
async def test_no_answer_is_unknown_since_the_event_may_have_been_taken(fault: str, taken: int, detail: str) -> None:
    attempt, count = await answered(fault, timeout=patience(fault))
    assert (attempt.outcome, attempt.status) == (Outcome.UNKNOWN, None)
    assert attempt.detail == f"{detail}, SuperOffice may have taken the event"
    assert count == taken


async def test_an_answer_that_is_late_but_in_time_is_delivered() -> None:
    attempt, taken = await answered("slow seconds=0.1")
    assert (attempt.outcome, attempt.status, attempt.detail, taken) == (Outcome.DELIVERED, 200, "", 1)


# Retry-After


@pytest.mark.parametrize("status", ["408", "429", "503", "500"])
async def test_retry_after_in_seconds_is_kept_in_milliseconds(status: str) -> None:
    attempt, _ = await answered(Fault(fault=status, retry_after=7))
    assert attempt.retry_after == 7_000


async def test_retry_after_as_a_date_counts_from_the_clock() -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    sandbox = Sandbox([Fault(fault="503", retry_after=date)])
    async with tenant(sandbox, clock=Hand(1_792_567_680_000 - 90_000)) as crm:
        assert (await crm.send(claim())).retry_after == 90_000


@pytest.mark.parametrize("fault", ["401", "302", "421", "404", "error"])
async def test_where_nothing_is_retried_retry_after_says_nothing(fault: str) -> None:
    attempt, _ = await answered(Fault(fault=fault, retry_after=7))
    assert attempt.retry_after is None


@pytest.mark.parametrize("value", ["soon", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "-5"])
async def test_a_retry_after_that_says_nothing_does_not_change_the_outcome(value: str) -> None:
    attempt, _ = await answered(Fault(fault="503", retry_after=value))
    assert (attempt.outcome, attempt.retry_after) == (Outcome.UNAVAILABLE, None)


# What the record keeps


async def test_a_result_is_kept_whole() -> None:
    attempt, _ = await answered("200")
    assert attempt.outcome is Outcome.DELIVERED
    assert attempt.result == {
        "EventType": "SaleSold",
        "Attributes": "number=1",
        "TableRight": {"Mask": "FULL", "Reason": ""},
        "FieldProperties": {
            "EventType": {"FieldRight": None, "FieldType": "System.Int32", "FieldLength": 0},
            "Attributes": {"FieldRight": None, "FieldType": "System.String", "FieldLength": 0},
        },
    }


async def test_an_error_object_is_kept_whole() -> None:
    attempt, _ = await answered("rejected")
    assert attempt.result["Message"] == "The event is not valid."
    assert attempt.result["ErrorType"] == "ArgumentException"


async def test_a_page_of_a_proxy_is_kept_as_text() -> None:
    attempt, _ = await answered("html404")
    assert attempt.result.startswith("<!DOCTYPE html><html><head><title>404 Not Found")


async def test_a_huge_answer_is_kept_in_part() -> None:
    attempt, _ = await answered("huge")
    assert attempt.result.startswith('{"Error":true')
    assert len(attempt.result) <= KEPT


async def test_a_large_result_is_delivered_and_kept_in_part() -> None:
    body = orjson.dumps({"EventType": "SaleSold", "Attributes": "x" * 200_000})

    async def telling(call: Call) -> None:
        await call.answer(body)

    async with playing(telling) as server, opened(server.url) as crm:
        attempt = await crm.send(claim())
    assert attempt.outcome is Outcome.DELIVERED
    assert attempt.result == body[:KEPT].decode()


# The request


async def test_a_request_carries_exactly_these_headers() -> None:
    async with (
        playing(Call.answer) as server,
        opened(
            server.url,
            accept_language="en;q=0.8, nb",
            language="*",
            culture="nb-NO",
            time_zone="W. Europe Standard Time",
            app_token="the app's",
        ) as crm,
    ):
        await crm.send(claim())
    (call,) = server.calls
    assert call.headers == {
        "host": server.url.split("/")[2],
        "user-agent": f"superoffice-bridge/{__version__}",
        "content-type": "application/json; charset=utf-8",
        "accept": "application/json",
        "accept-encoding": "identity",
        "accept-language": "en;q=0.8, nb",
        "so-language": "*",
        "so-culture": "nb-NO",
        "so-timezone": "W. Europe Standard Time",
        "so-apptoken": "the app's",
        "authorization": "Basic c2FuZGJveDpzYW5kYm94",
        "content-length": str(len(call.body)),
    }


async def test_without_settings_a_request_carries_no_further_headers() -> None:
    async with playing(Call.answer) as server, opened(server.url) as crm:
        await crm.send(claim())
    assert not server.calls[0].headers.keys() & {
        *("accept-language", "so-language", "so-culture", "so-timezone", "so-apptoken", "x-xsrf-token", "cookie")
    }


async def test_a_request_goes_to_send_event_below_the_url() -> None:
    async with playing(Call.answer) as server, opened(server.url, select=["EventType", "TableRight"]) as crm:
        await crm.send(claim())
    line = server.calls[0].head.split("\r\n")[0]
    assert line == "POST /crm/api/v1/Agents/Workflow/SendEvent?$select=EventType,TableRight HTTP/1.1"


async def test_select_arrives_and_the_rest_of_the_result_is_null() -> None:
    sandbox = Sandbox()
    async with tenant(sandbox, select=["EventType", "Attributes"]) as crm:
        attempt = await crm.send(claim())
    assert sandbox.events()[0].select == "EventType,Attributes"
    assert attempt.outcome is Outcome.DELIVERED
    assert attempt.result == {
        "EventType": "SaleSold",
        "Attributes": "number=1",
        "TableRight": None,
        "FieldProperties": None,
    }


async def test_without_attributes_in_select_it_is_still_delivered() -> None:
    async with tenant(Sandbox(), select=["TableRight"]) as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


async def test_the_body_is_the_wrapper_and_nothing_else() -> None:
    async with playing(Call.answer) as server, opened(server.url) as crm:
        await crm.send(claim("sale=17;amount=9.5"))
    assert server.calls[0].body == b'{"WorkflowEvent":{"EventType":"SaleSold","Attributes":"sale=17;amount=9.5"}}'


@pytest.mark.parametrize(
    "text", ["", 'say "hi"; back\\slash', "Blåbærgrød=✓;emoji=🎉", '{"a":"\\u0000"}', "\x00\x1f\n\r\t", "x" * 300_000]
)
async def test_attributes_arrive_as_they_are(text: str) -> None:
    sandbox = Sandbox()
    async with tenant(sandbox) as crm:
        assert (await crm.send(claim(text))).outcome is Outcome.DELIVERED
    assert [event.attributes for event in sandbox.events()] == [text]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_wrapper_says_what_it_is_given(event_type: str, text: str) -> None:
    read = orjson.loads(payloads.wrapper(event_type, text))
    assert read == {"WorkflowEvent": {"EventType": event_type, "Attributes": text}}


# Logging in

OTHERS = Credentials(
    basic="someone:else", ticket="7T:other", app_token="other", bearer="8A:other", xsrf="other"
)  # what the sandbox lets in elsewhere
SCHEMES: list[dict[str, str]] = [
    BASIC,
    {"scheme": "ticket", "ticket": "7T:sandbox", "app_token": "sandbox"},
    {"scheme": "bearer", "token": "8A:sandbox"},
    {"scheme": "xsrf", "cookie": "XSRF-TOKEN=sandbox; ASP.NET_SessionId=1", "token": "sandbox"},
]


@pytest.mark.parametrize("authorization", SCHEMES, ids=lambda one: one["scheme"])
async def test_each_scheme_logs_in(authorization: dict[str, str]) -> None:
    sandbox = Sandbox()
    async with tenant(sandbox, authorization=authorization) as crm:
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert len(sandbox.events()) == 1


@pytest.mark.parametrize("authorization", SCHEMES, ids=lambda one: one["scheme"])
async def test_wrong_credentials_are_unauthorized(authorization: dict[str, str]) -> None:
    sandbox = Sandbox(credentials=OTHERS)
    async with tenant(sandbox, authorization=authorization) as crm:
        attempt = await crm.send(claim())
    assert (attempt.outcome, attempt.status) == (Outcome.UNAUTHORIZED, 401)
    assert sandbox.events() == []


@pytest.mark.parametrize(
    ("authorization", "headers"),
    [
        ({"scheme": "basic", "username": "ä", "password": "p:ß"}, {"authorization": "Basic w6Q6cDrDnw=="}),
        ({"scheme": "ticket", "ticket": "7T:abc=="}, {"authorization": "SOTicket 7T:abc=="}),
        (
            {"scheme": "ticket", "ticket": "7T:abc==", "app_token": "app"},
            {"authorization": "SOTicket 7T:abc==", "so-apptoken": "app"},
        ),
        ({"scheme": "bearer", "token": "8A:abc"}, {"authorization": "Bearer 8A:abc"}),
        (
            {"scheme": "xsrf", "cookie": "XSRF-TOKEN=t; a=b", "token": "t"},
            {"cookie": "XSRF-TOKEN=t; a=b", "x-xsrf-token": "t"},
        ),
    ],
)
async def test_each_scheme_sends_exactly_its_headers(authorization: dict[str, str], headers: dict[str, str]) -> None:
    async with playing(Call.answer) as server, opened(server.url, authorization=authorization) as crm:
        await crm.send(claim())
    sent = server.calls[0].headers
    credentials = ("authorization", "so-apptoken", "cookie", "x-xsrf-token")
    assert {name: sent[name] for name in credentials if name in sent} == headers


async def test_a_secret_file_that_changes_is_used_for_the_next_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("8A:old\n")
    token, problems = Expansion({}, tmp_path).expand("${file:token}")
    assert problems == []
    async with tenant(Sandbox(), authorization={"scheme": "bearer", "token": token}) as crm:
        assert (await crm.send(claim())).outcome is Outcome.UNAUTHORIZED
        (tmp_path / "token").write_text("8A:sandbox\n")
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
        (tmp_path / "token").unlink()  # while it is being replaced, the last good one stands
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED


async def test_an_app_token_from_a_file_is_read_again_too(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("old")
    app_token, _ = Expansion({}, tmp_path).expand("${file:app}")
    async with playing(Call.answer) as server, opened(server.url, app_token=app_token) as crm:
        await crm.send(claim())
        (tmp_path / "app").write_text("newer\n")
        await crm.send(claim())
    assert [call.headers["so-apptoken"] for call in server.calls] == ["old", "newer"]


async def test_no_secret_and_no_body_is_in_what_an_attempt_says() -> None:
    async def echoing(call: Call) -> None:
        call.reset()

    authorization = {"scheme": "bearer", "token": "8A:verysecret"}
    async with playing(echoing) as server, opened(server.url, authorization=authorization) as crm:
        attempt = await crm.send(claim("private=1"))
    assert "verysecret" not in repr(attempt)
    assert "private" not in repr(attempt)
    assert RESULT.decode() not in repr(attempt)
