"""What a bridge goes through in a day, and in three with a wrong password: nothing is lost, nothing dies of it."""

from collections import Counter
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from forwarding.support import Log, logged

from bridge.model import OnUnknown
from bridge.observing import logs
from bridge.sandbox.logins import LogIns, pem
from bridge.sandbox.superoffice import Sandbox
from bridge.settings.secrets import FileText

from .day import HOUR, MINUTE, Day

pytestmark = pytest.mark.faults

TENANT = "Cust12345"
ALL = ("online", "token", "onsite")


def kept_in(path: Path) -> FileText:
    """What `${file:...}` is."""
    return FileText(lambda: path.read_text().strip())


def levels(log: Log, name: str, target: str) -> list[tuple[str, str]]:
    return [(line["reason"], line["log_level"]) for line in log.named(name) if line["target"] == target]


def test_a_day_of_trouble_loses_nothing_and_kills_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sandbox\n")
    day = Day(tmp_path / "bridge.db", lambda hand: Sandbox(now=hand, log_ins=LogIns(now=hand)))

    def targets(url: str) -> dict[str, dict[str, Any]]:
        key = pem(day.sandbox.log_ins.private_key)
        system_user = {"scheme": "system_user", "system_token": "sandbox", "app_token": kept_in(secret)}
        oauth = {"scheme": "oauth", "client_id": "sandbox", "client_secret": kept_in(secret), "environment": url}
        return {
            "online": {
                "online": {"environment": url, "tenant": TENANT},
                "authorization": system_user | {"private_key": key},
            },
            "token": {"url": f"{url}/token/api", "authorization": oauth | {"refresh_token": "sandbox"}},
            "onsite": {
                "url": f"{url}/onsite/api",
                "authorization": {"scheme": "basic", "username": "sandbox", "password": "sandbox"},
            },
        }

    async def webhooks_until(hours: float) -> None:
        """Each five minutes one event for each target; every third may be sent once only."""
        while (now := day.hand.at - day.began) < hours * HOUR:
            number = now // (5 * MINUTE)
            for target in ALL:
                await day.accept(target, OnUnknown.RETRY if number % 3 else OnUnknown.HOLD, max_age=3 * HOUR)
            await day.until(min(hours, (number + 1) / 12))

    def faults(fault: str, times: int, retry_after: int | str | None = None) -> None:
        asked = "" if retry_after is None else f" retry-after={retry_after}"
        day.script(f"{fault}*{times} tenant=onsite{asked}")

    async def story(_: Day) -> None:
        async with day.running(targets):
            await webhooks_until(1)
            faults("cut-after", 6)  # the nightly recycling: what it cuts off, it had recorded
            await webhooks_until(2)
            day.sandbox.tenants.set(TENANT, host="online2", left_behind=421)
            await webhooks_until(3)
            day.sandbox.tenants.set(TENANT, host="online3", left_behind=404)
            await webhooks_until(4)
            day.sandbox.log_ins.forget()  # tickets and tokens end without a word
            await webhooks_until(5)
            faults("429", 12, 600)
            await webhooks_until(7)
            faults("429", 2, f"'{formatdate(day.hand.at / 1000 + 1200, usegmt=True)}'")
            await webhooks_until(8)
            faults("503", 20)
            await webhooks_until(11)
            day.sandbox.log_ins.client_secret = "another"  # here first, in the file a while later
            day.sandbox.log_ins.forget()
            await webhooks_until(11.75)
            secret.write_text("another\n")
            await webhooks_until(13)
            day.sandbox.tenants.set(TENANT, state="OfflineMaintenance")
            await webhooks_until(23)
            day.sandbox.tenants.set(TENANT, state="Running")
            await webhooks_until(24)
            await day.until(25)

    with logged() as log:
        day.live(story)

    events, tried = day.records()
    unknown = Counter(attempt.event_id for attempt in tried if attempt.outcome == "unknown")
    assert len(events) == 3 * 24 * 12

    # None is dead, none is lost, and held are those whose fate is unknown and whose rule says so.
    held = {id_ for id_, event in events.items() if event.state == "held"}
    assert {event.state for event in events.values()} == {"delivered", "held"}
    assert held == {id_ for id_ in unknown if events[id_].on_unknown == "hold"}
    assert 0 < len(held) < 6
    assert day.how_often().keys() == events.keys()

    # What arrived again had an attempt whose outcome nobody could know; and this is all that was unknown.
    repeated = {id_: times - 1 for id_, times in day.how_often().items() if times > 1}
    assert repeated == {id_: times - (id_ in held) for id_, times in unknown.items() if times > (id_ in held)}
    assert sum(unknown.values()) == 6
    assert {events[id_].target for id_ in unknown} == {"onsite"}

    # Only the secret needed a person, and told so once for each target.
    assert levels(log, logs.TARGET_PAUSED, "onsite") == [("breaker", "warning")] * 2
    assert levels(log, logs.TARGET_PAUSED, "token") == [("unauthorized", "error")]
    assert levels(log, logs.TARGET_PAUSED, "online") == [("unauthorized", "error"), ("tenant", "warning")]
    for target in ALL:
        paused, resumed = levels(log, logs.TARGET_PAUSED, target), levels(log, logs.TARGET_RESUMED, target)
        assert [reason for reason, _ in resumed] == [reason for reason, _ in paused]

    # Tickets and tokens were renewed, and the tenant was followed, before anybody had to wait.
    renewed = Counter(line["target"] for line in log.named(logs.LOGIN_RENEWED))
    assert renewed["token"] >= 22
    assert renewed["online"] >= 3
    assert [line["url"].split("/")[3] for line in log.named(logs.TARGET_LOCATED)] == ["online1", "online2", "online3"]

    # A target that asks for time gets it, and the log says that it was its wish.
    asked = [line for line in log.named(logs.ATTEMPT_FINISHED) if line["status"] == 429]
    assert len(asked) == 14
    assert {line["wait_by"] for line in asked} == {"retry_after", "breaker"}
    begun: dict[str, int] = {}
    for attempt in tried:
        assert attempt.started_at - begun.get(attempt.event_id, 0) >= 600_000
        begun.pop(attempt.event_id, None)
        if attempt.status == 429:
            begun[attempt.event_id] = attempt.started_at


def test_a_wrong_password_for_three_days_is_one_alarm_and_no_dead_event(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    day = Day(tmp_path / "bridge.db", lambda hand: Sandbox(now=hand))
    keys = ("anna", "bert", "carl")
    accepted: dict[str, list[str]] = {key: [] for key in keys}

    def targets(url: str) -> dict[str, dict[str, Any]]:
        basic = {"scheme": "basic", "username": "sandbox", "password": kept_in(password)}
        return {"crm": {"url": f"{url}/crm/api", "authorization": basic, "retry": {"max_attempts": 3}}}

    async def story(_: Day) -> None:
        async with day.running(targets):
            for number in range(3 * 72):
                key = keys[number % 3]
                accepted[key].append(await day.accept("crm", OnUnknown.RETRY, max_age=HOUR, order_key=key))
                await day.until((number + 1) / 3)
            assert day.received() == []
            password.write_text("sandbox\n")
            await day.until(72.5)

    with logged() as log:
        day.live(story)

    events, tried = day.records()
    assert {event.state for event in events.values()} == {"delivered"}
    assert len(events) == 216
    assert Counter(attempt.outcome for attempt in tried)["delivered"] == len(day.received()) == 216
    for key in keys:
        assert [id_ for id_ in day.received() if events[id_].order_key == key] == accepted[key]
    assert levels(log, logs.TARGET_PAUSED, "crm") == [("unauthorized", "error")]
    (resumed,) = log.named(logs.TARGET_RESUMED)
    assert 72 * 3600 <= resumed["seconds"] < 72.5 * 3600
    assert [line for line in log.lines if line["log_level"] == "error"] == log.named(logs.TARGET_PAUSED)
    # It was left alone meanwhile: a probe each quarter of an hour, give or take the jitter.
    refused = sum(attempt.outcome == "unauthorized" for attempt in tried)
    assert 250 < refused < 400
