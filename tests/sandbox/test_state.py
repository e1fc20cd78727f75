"""What the sandbox keeps, and that it stays bounded."""

import orjson

from bridge.sandbox.state import RecordedEvent, Sandbox

HEADERS = [(b"authorization", b"Bearer 8A:sandbox"), (b"content-type", b"application/json")]


def take(sandbox: Sandbox, attributes: str) -> None:
    body = orjson.dumps({"WorkflowEvent": {"EventType": "Run", "Attributes": attributes}})
    assert sandbox.send_event("crm", HEADERS, b"$select=EventType", body).status == 200


def test_an_event_is_recorded_with_all_that_is_known() -> None:
    sandbox = Sandbox(now=lambda: 1_764_003_600_123)
    take(sandbox, "a=1")
    assert sandbox.events() == [
        RecordedEvent(
            number=1,
            tenant="crm",
            event_type="Run",
            attributes="a=1",
            received_at=1_764_003_600_123,
            headers={"authorization": "Bearer ***", "content-type": "application/json"},
            select="EventType",
        )
    ]


def test_the_oldest_events_go_when_there_are_too_many() -> None:
    sandbox = Sandbox(keep=3)
    for number in range(5):
        take(sandbox, str(number))
    assert [(event.number, event.attributes) for event in sandbox.events()] == [(3, "2"), (4, "3"), (5, "4")]


def test_the_oldest_events_go_when_they_take_too_much() -> None:
    sandbox = Sandbox(keep_text=10_000)
    for number in range(5):
        take(sandbox, str(number) * 4_000)
    assert [event.number for event in sandbox.events()] == [4, 5]
    sandbox.forget_events()
    take(sandbox, "x" * 9_000)
    assert [event.number for event in sandbox.events()] == [1]


def test_equal_requests_share_their_headers() -> None:
    sandbox = Sandbox()
    take(sandbox, "a=1")
    take(sandbox, "b=2")
    first, second = sandbox.events()
    assert first.headers is second.headers


def test_tenants_beyond_1000_are_counted_together() -> None:
    sandbox = Sandbox()
    for number in range(1010):
        sandbox.count(f"tenant{number}", "200")
    sandbox.count("tenant0", "503")
    assert len(sandbox.requests) == 1001
    assert sandbox.requests["(others)"] == {"200": 10}
    assert sandbox.requests["tenant0"] == {"200": 1, "503": 1}
