"""What a log-in service answers: judged by its status, and never quoted with a secret in it."""

import gzip
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Outcome
from bridge.superoffice.login.token_service import TokenAnswer, json_object, plain_words, usable_credential
from bridge.superoffice.outcome import NotSent
from superoffice.logging_in import NOW


def answer(status: int, body: bytes = b"{}", *, retry_after: str | None = None) -> TokenAnswer:
    return TokenAnswer(status, httpx.Headers({"Retry-After": retry_after} if retry_after else {}), body)


REFUSED = "the log-in was refused ({}), check the target's authorization"
NOT_ONE = "the answer ({}) is not a log-in's, check the environment of authorization"
ANSWERED = "the log-in answered {}"
DATE = "Tue, 24 Nov 2026 06:01:00 GMT"


@pytest.mark.parametrize(
    ("given", "outcome", "detail", "wait"),
    [
        (answer(500), Outcome.UNAVAILABLE, ANSWERED, None),
        (answer(503, retry_after="7"), Outcome.UNAVAILABLE, ANSWERED, 7_000),
        (answer(429, retry_after="7"), Outcome.UNAVAILABLE, ANSWERED, 7_000),
        (answer(429, retry_after=DATE), Outcome.UNAVAILABLE, ANSWERED, 60_000),
        (answer(408), Outcome.UNAVAILABLE, ANSWERED, None),
        (answer(400), Outcome.UNAUTHORIZED, REFUSED, None),
        (answer(401, b"[]"), Outcome.UNAUTHORIZED, REFUSED, None),
        (answer(404, b"<html>", retry_after="7"), Outcome.UNAUTHORIZED, REFUSED, None),
        (answer(302), Outcome.MISCONFIGURED, NOT_ONE, None),
        (answer(200, b"[]"), Outcome.MISCONFIGURED, NOT_ONE, None),
        (answer(200, b"<html>"), Outcome.MISCONFIGURED, NOT_ONE, None),
        (answer(201), Outcome.MISCONFIGURED, NOT_ONE, None),
    ],
)
def test_an_answer_that_gives_nothing_has_its_outcome(
    given: TokenAnswer, outcome: Outcome, detail: str, wait: int | None
) -> None:
    with pytest.raises(NotSent) as caught:
        json_object(given, NOW)
    shown = (caught.value.outcome, caught.value.detail, caught.value.retry_after)
    assert shown == (outcome, detail.format(given.status), wait)


def test_an_answer_is_read_in_whatever_coding_it_comes() -> None:
    compressed = TokenAnswer(200, httpx.Headers({"Content-Encoding": "gzip"}), gzip.compress(b'{"access_token": "x"}'))
    assert json_object(compressed, NOW) == {"access_token": "x"}


@given(st.integers(100, 599), st.binary(max_size=300))
def test_whatever_is_answered_is_an_object_or_not_sent_and_never_unknown(status: int, body: bytes) -> None:
    try:
        outcome = None if isinstance(json_object(answer(status, body), NOW), dict) else Outcome.UNKNOWN
    except NotSent as error:
        outcome = error.outcome
    assert outcome in (None, Outcome.UNAVAILABLE, Outcome.UNAUTHORIZED, Outcome.MISCONFIGURED)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The system user is not active.", "The system user is not active."),
        ("Bad token abc-XYZ for Cust12345", "Bad token ... for ..."),
        ("token is App-8k8Q7DmBgo.202611240600.c2ln", "token is ..."),
        ("Hello MyApp, this is app", "Hello ... this is app"),
        ("x" * 21, "..."),
        ("a\nb\x1b[31m", "a ..."),
        ("", ""),
        (None, ""),
        ({"a": 1}, ""),
    ],
)
def test_what_the_other_side_says_is_shown_in_plain_words_without_our_secrets(text: Any, shown: str) -> None:
    assert plain_words(text, ["MyApp, abc-XYZ"]) == shown


@given(st.text(), st.lists(st.from_regex(r"[A-Za-z0-9]{4,30}", fullmatch=True), max_size=5))
def test_what_is_said_is_short_of_one_line_and_without_secrets(text: str, secrets: list[str]) -> None:
    assert len(plain_words(text, secrets)) <= 200
    assert plain_words(text, secrets).isprintable()
    assert set(plain_words(" ".join(secrets), secrets)) <= {".", " "}


@pytest.mark.parametrize("credential", ["", "a b", "a\r\nX: 1", "ä", None, 7, "x" * 20_000, ["a"]])
def test_a_credential_that_no_header_carries_is_refused_and_not_quoted(credential: Any) -> None:
    with pytest.raises(NotSent) as caught:
        usable_credential(credential)
    assert caught.value.outcome is Outcome.MISCONFIGURED
    assert str(caught.value) == "the log-in gave no credential that can be sent, check the environment"
