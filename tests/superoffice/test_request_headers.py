"""What a request to a target carries: what it always does, and what an event brings along."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bridge.model import Outcome
from bridge.sandbox.superoffice import Sandbox
from bridge.settings.document import Document, Section
from bridge.settings.expansion import Expansion
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.outcome import NotSent
from bridge.superoffice.request_headers import TargetHeaders

from .support import BASIC, claim, tenant

pytestmark = pytest.mark.anyio


def headers_of(**settings: Any) -> TargetHeaders:
    written = {"url": "https://a.example/api", "authorization": BASIC, **settings}
    parsed, problems = parse(Section(Document("bridge.yaml", written)), TargetSettings)
    assert parsed is not None, problems
    return TargetHeaders(parsed)


def test_nothing_is_made_for_each_event_where_nothing_changes() -> None:
    headers = headers_of(headers={"X-Key": "k"}, language="en", app_token="t")
    assert headers.of(claim()) is headers.of(claim())
    assert headers.of(claim())["x-key"] == "k"
    assert headers.of(claim())["so-apptoken"] == "t"


def test_an_event_brings_its_own_and_leaves_nothing_behind() -> None:
    headers = headers_of(headers={"X-Shop": "none", "X-Key": "k"}, language="en")
    one = replace(claim(), headers={"x-shop": "oslo", "SO-Language": "nb"})
    assert headers.of(one).get_list("x-shop") == ["oslo"]
    assert headers.of(one).get_list("so-language") == ["nb"]
    assert (headers.of(claim())["x-shop"], headers.of(claim())["so-language"]) == ("none", "en")
    assert headers.of(one)["x-key"] == "k"


def test_the_correlation_header_carries_the_events_id_whatever_the_event_says() -> None:
    headers = headers_of(correlation_header="X-Correlation-Id")
    assert headers.of(claim(id_="ev_7"))["x-correlation-id"] == "ev_7"
    assert headers.of(replace(claim(id_="ev_7"), headers={"X-Correlation-ID": "mine"}))["x-correlation-id"] == "ev_7"


def test_a_question_says_nothing_of_a_body() -> None:
    headers = headers_of(headers={"X-Key": "k"})
    assert "content-type" not in headers.of_question()
    assert headers.of_question()["x-key"] == "k"
    assert headers.of(claim())["content-type"] == "application/json; charset=utf-8"


def test_a_value_from_a_file_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first\n")
    expanded, problems = Expansion({}, tmp_path).expand("${file:key}")
    assert problems == []
    headers = headers_of(headers={"X-Key": expanded}, app_token=expanded)
    assert headers.of(claim())["x-key"] == "first"
    file.write_text("the second\n")
    assert headers.of(claim())["x-key"] == "the second"
    assert headers.of(claim())["so-apptoken"] == "the second"
    assert headers.of_question()["x-key"] == "the second"


@pytest.mark.parametrize("held", ["a\nsecret", "\u00e4", "a\x7f"])
def test_a_file_that_came_to_hold_what_no_header_can_carry_is_named_by_its_header(tmp_path: Path, held: str) -> None:
    file = tmp_path / "key"
    file.write_text("first")
    headers = headers_of(headers={"X-Key": Expansion({}, tmp_path).expand("${file:key}")[0]})
    file.write_text(held)
    asked: list[Callable[[], object]] = [lambda: headers.of(claim()), headers.of_question]
    for ask in asked:
        with pytest.raises(NotSent) as refusal:
            ask()
        assert refusal.value.outcome is Outcome.MISCONFIGURED
        assert refusal.value.detail == "the file for the header X-Key holds what no header can carry"


async def test_they_reach_superoffice() -> None:
    sandbox = Sandbox()
    async with tenant(sandbox, headers={"X-Gateway": "g"}, correlation_header="X-Request-Id", language="en") as crm:
        await crm.send(replace(claim(), headers={"X-Shop": "oslo", "SO-Language": "nb"}))
        await crm.send(claim())
    first, second = (event.headers for event in sandbox.events())
    assert (first["x-shop"], first["so-language"], first["x-gateway"]) == ("oslo", "nb", "g")
    assert (first["x-request-id"], second["x-request-id"]) == ("ev_1", "ev_1")
    assert "x-shop" not in second
    assert second["so-language"] == "en"
