"""Judging: for every status and body one outcome, and never an exception."""

import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge import jsontext
from bridge.model import Outcome, PauseReason, Unclear
from bridge.superoffice import outcome as judging
from bridge.superoffice.outcome import KEPT, Judgement, judge_fault, retry_after

NOW = 1_764_003_600_000
STATUSES = st.integers(200, 599)
RESULT = {"EventType": "SaleSold", "Attributes": "a", "TableRight": None, "FieldProperties": None}
SERVICE_ERROR = {"Error": True, "ErrorType": "ArgumentException", "Message": "no", "ErrorSource": "x"}
FRAMEWORK_ERROR = {"Message": "No HTTP resource was found that matches the request URI.", "MessageDetail": "No type."}
DECIDING = {
    **dict.fromkeys((401, 403), Outcome.UNAUTHORIZED),
    421: Outcome.MOVED,
    **dict.fromkeys((408, 429, 503), Outcome.UNAVAILABLE),
    **dict.fromkeys((500, 501, 502, 504, 507, 520, 599), Outcome.UNKNOWN),
}
UNREADABLE = [b"", b"<html>", b'{"EventType": ', b"\xff\xfe", b'{"EventType": NaN}', b"null null"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*RESULT, *SERVICE_ERROR]), inner),
)
bodies = st.binary() | json_values.map(jsontext.encode)


def judge(status: int, answer: Any, **headers: str) -> Judgement:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judging.judge(status, named, answer if isinstance(answer, bytes) else orjson.dumps(answer))


def outcome(status: int, answer: Any) -> Outcome:
    return judge(status, answer).outcome


@given(STATUSES, bodies)
@example(200, b"[" * 1020 + b"12345678901234567890" + b"]" * 1020)
@example(200, b"[" * 1020 + b"]" * 1020)
@example(200, b"9" * 5000)
def test_every_answer_has_an_outcome_and_is_kept_so_that_it_can_be_written(status: int, body: bytes) -> None:
    judgement = judge(status, body)
    assert len(judgement.detail) < 250
    assert len(jsontext.encode(judgement.result)) <= 6 * KEPT + 2  # six bytes for each, at worst, where it is escaped


@given(
    st.sampled_from([*DECIDING]),
    bodies | st.sampled_from([b"null", *(orjson.dumps(one) for one in (RESULT, SERVICE_ERROR, FRAMEWORK_ERROR))]),
)
def test_these_statuses_decide_whatever_the_body_says(status: int, body: bytes) -> None:
    assert judge(status, body).outcome is DECIDING[status]


@given(STATUSES, bodies)
def test_only_a_2xx_can_mean_delivered_and_none_of_them_that_it_was_not_taken(status: int, body: bytes) -> None:
    judgement = judge(status, body)
    assert judgement.outcome is not Outcome.DELIVERED or status < 300
    assert (judgement.unclear is not None) is (judgement.outcome is Outcome.UNKNOWN and status < 300)
    assert judgement.pause is (PauseReason.MISCONFIGURED if judgement.unclear else None)
    if status < 300:
        assert judgement.outcome in (Outcome.DELIVERED, Outcome.REJECTED, Outcome.UNKNOWN)


@pytest.mark.parametrize("status", range(200, 300))
def test_any_2xx_with_a_result_is_delivered(status: int) -> None:
    assert outcome(status, RESULT) is Outcome.DELIVERED
    assert outcome(status, {"eventType": "SaleSold", "attributes": "a"}) is Outcome.DELIVERED
    assert outcome(status, {"EVENTTYPE": None}) is Outcome.DELIVERED


@pytest.mark.parametrize("status", [200, 202, 400, 404, 405, 409, 422])
def test_an_error_of_superoffice_s_services_is_rejected(status: int) -> None:
    assert outcome(status, SERVICE_ERROR) is Outcome.REJECTED
    assert outcome(status, {name.lower(): value for name, value in SERVICE_ERROR.items()}) is Outcome.REJECTED
    assert outcome(status, {"ErrorMessage": "no"}) is Outcome.REJECTED
    assert outcome(status, SERVICE_ERROR | RESULT) is Outcome.REJECTED


def test_the_framework_s_error_means_a_wrong_url_only_where_there_is_no_such_url() -> None:
    assert outcome(404, FRAMEWORK_ERROR) is outcome(405, FRAMEWORK_ERROR) is Outcome.MISCONFIGURED
    assert outcome(200, FRAMEWORK_ERROR) is outcome(400, FRAMEWORK_ERROR) is Outcome.REJECTED


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("status", [302, 303, 400, 404, 405, 407, 410])
def test_what_is_no_json_is_misconfigured(status: int, body: bytes) -> None:
    assert outcome(status, body) is Outcome.MISCONFIGURED


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 206, 299])
def test_of_a_2xx_that_is_no_json_nobody_knows_whether_it_was_taken(status: int, body: bytes) -> None:
    judgement = judge(status, body)
    assert (judgement.outcome, judgement.pause) == (Outcome.UNKNOWN, PauseReason.MISCONFIGURED)
    assert judgement.unclear is (Unclear.PAGE if body == b"<html>" else Unclear.ANSWER)


@pytest.mark.parametrize("answer", [[], {}, "ok", 1, True, {"Attributes": "a"}, [RESULT], {"access_token": "x"}])
def test_other_json_is_misconfigured_and_unknown_as_a_2xx(answer: Any) -> None:
    assert outcome(400, answer) is Outcome.MISCONFIGURED
    assert judge(200, answer).outcome is judge(202, answer).outcome is Outcome.UNKNOWN
    assert judge(200, answer).unclear is Unclear.ANSWER


def test_a_page_says_so_and_what_to_look_at() -> None:
    page = judge(200, b"<!doctype html><title>Log in</title>", content_type="text/html")
    assert page.unclear is Unclear.PAGE
    assert page.detail == (
        "the answer (200) is a page of HTML, SuperOffice may have taken the event, "
        "check the target's url and what stands in front of it"
    )
    assert judge(404, b"<html>", content_type="text/html").unclear is None


@pytest.mark.parametrize("status", [200, 202])
def test_an_answer_is_judged_as_it_is_decoded(status: int) -> None:
    compressed = gzip.compress(orjson.dumps(RESULT))
    assert judge(status, compressed, content_encoding="gzip").outcome is Outcome.DELIVERED
    assert judge(status, compressed, content_encoding="gzip").result == RESULT
    assert judge(status, compressed).unclear is Unclear.ANSWER
    assert judge(404, gzip.compress(orjson.dumps(SERVICE_ERROR)), content_encoding="gzip").outcome is Outcome.REJECTED


def test_a_result_is_delivered_whatever_is_null_in_it() -> None:
    assert outcome(200, RESULT) is Outcome.DELIVERED
    assert outcome(200, {"EventType": None}) is Outcome.DELIVERED
    assert outcome(200, RESULT | {"Error": False, "ErrorType": None, "Message": None}) is Outcome.DELIVERED
    assert outcome(200, b"\xef\xbb\xbf" + orjson.dumps(RESULT)) is Outcome.DELIVERED


def test_null_is_rejected_only_where_it_is_an_answer() -> None:
    assert outcome(200, None) is Outcome.REJECTED
    assert outcome(202, None) is Outcome.UNKNOWN
    assert outcome(404, None) is Outcome.MISCONFIGURED


def test_the_text_of_an_error_is_kept_but_not_told() -> None:
    judgement = judge(400, orjson.dumps({"Error": True, "ErrorType": "a b <script>", "Message": "attributes were x"}))
    assert judgement.detail == "SuperOffice rejected the event (400)"
    assert judgement.result["Message"] == "attributes were x"


def test_large_and_deep_answers_are_kept_as_text() -> None:
    large = orjson.dumps({"EventType": "x" * KEPT})
    assert judge(200, large).result == large[:KEPT].decode()
    deep = b"[" * 1000 + b"]" * 1000
    assert judge(200, deep).result == deep.decode()
    assert judge(404, b"<p>" * KEPT).result == "<p>" * 682 + "<p"
    assert judge(404, b"").result is None


# Exchanges that broke


def test_what_broke_after_the_request_went_out_is_unknown() -> None:
    for error in (TimeoutError(), ConnectionRefusedError(), OSError(), ValueError("secret")):
        judgement = judge_fault(error, sent=True, within="2 s")
        assert judgement.outcome is Outcome.UNKNOWN
        assert "secret" not in judgement.detail


def test_what_broke_before_is_unavailable_and_does_not_quote_the_error() -> None:
    for error in (TimeoutError(), ConnectionRefusedError(), OSError(), ValueError("secret")):
        judgement = judge_fault(error, sent=False, within="2 s")
        assert judgement.outcome is Outcome.UNAVAILABLE
        assert "secret" not in judgement.detail
    assert judge_fault(TimeoutError(), sent=False, within="2 s").detail == "no connection within 2 s"


# Retry-After


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,30} Jan \d{1,30} \d\d:\d\d:\d\d [+-]\d{1,12}"))
def test_retry_after_never_fails_and_is_never_in_the_past(value: str) -> None:
    wait = retry_after({"retry-after": value}, NOW)
    assert wait is None or wait >= 0


@given(st.integers(0, 999_999_999))
def test_seconds_become_milliseconds(seconds: int) -> None:
    assert retry_after({"retry-after": f" {seconds} "}, NOW) == seconds * 1000


@pytest.mark.parametrize(
    ("value", "wait"),
    [("4.5", 4500), ("0.0001", 1), ("1.0004", 1001), ("2.", 2000), ("0.1", 100), ("9" * 5000 + ".5", 999_999_999_000)],
)
def test_a_fraction_of_a_second_is_rounded_up(value: str, wait: int) -> None:
    assert retry_after({"retry-after": value}, NOW) == wait


@given(st.integers(0, 7_000_000_000))
def test_a_date_becomes_the_time_until_then(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == max(0, seconds * 1000 - NOW)


@pytest.mark.parametrize(
    "date", ["Tue, 25 Nov 2025 17:00:10 GMT", "Tue, 25 Nov 2025 17:00:10 -0000", "Tue Nov 25 17:00:10 2025"]
)
def test_a_date_without_a_zone_is_utc(date: str) -> None:
    assert retry_after({"retry-after": date}, int(datetime(2025, 11, 25, 17, tzinfo=UTC).timestamp() * 1000)) == 10_000


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "1,5", "1.5.1", ".5", "1e3", "inf", "٣", "1.٣"])
def test_anything_else_says_nothing(value: str | None) -> None:
    assert retry_after({} if value is None else {"retry-after": value}, NOW) is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**6))
def test_a_date_counts_from_the_answers_own_whatever_our_clock_says(ours: int, seconds: int) -> None:
    answered = datetime(2026, 11, 25, 17, tzinfo=UTC)
    headers = {"date": format_datetime(answered, usegmt=True)}
    headers["retry-after"] = format_datetime(answered + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(headers, max(0, NOW + ours)) == seconds * 1000


@pytest.mark.parametrize("date", ["", "now", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_date_of_an_answer_that_is_none_counts_as_ours(date: str) -> None:
    wanted = format_datetime(datetime.fromtimestamp(NOW // 1000 + 5, UTC), usegmt=True)
    assert retry_after({"date": date, "retry-after": wanted}, NOW) == 5_000 - NOW % 1000
