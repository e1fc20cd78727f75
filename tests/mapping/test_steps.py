"""What takes long is left at steps that tell the dedupe key, goes on in any thread, and is bounded in all."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from bridge.errors import Exceeded
from bridge.mapping.bounds import MAX_ITEMS, MAX_SECONDS
from bridge.mapping.steps import Course, Steps
from bridge.model import Mapped, WebhookState

from .support import WEBHOOK, rules, why

LONG = "name: long, for_each: body.items, when: item in (body.text | lower), event: {type: T}"
BODY = {"items": ["a", "B"] * 200, "text": "A" * 500_000}  # more than can be looked through before the first step
KEYED = replace(WEBHOOK, delivery_id="one")


def steps_of(*written: str, body: Any = BODY, **more: Any) -> Steps:
    return rules(*written, **more).steps(KEYED, body)


@pytest.mark.parametrize(
    ("source", "key"), [("", "one"), ("dedupe: body.items[1]", "B"), ("dedupe: body.items[999] | default('')", "")]
)
def test_each_step_tells_the_dedupe_key(source: str, key: str) -> None:
    assert set(steps_of(LONG, source=source)) == {key}


def test_what_is_left_at_a_step_goes_on_in_another_thread_to_the_same_end() -> None:
    course = Course(steps_of(LONG))
    course.go_on(0)
    assert ended(course) is None
    thread = threading.Thread(target=course.go_on, args=(60,))
    thread.start()
    thread.join()
    assert course.mapping == rules(LONG).map(KEYED, BODY)
    assert course.mapping is not None
    assert len(course.mapping.events) == 200


def test_rules_that_take_too_long_fail_the_webhook_as_a_whole() -> None:
    body = {"items": list(range(MAX_ITEMS)), "text": "x" * 500_000}
    slow = "name: slow, for_each: body.items, when: body.text is match('(a|x)*y'), event: {type: T}"
    quick, later = "name: quick, event: {type: T}", "name: later, event: {type: T}"
    mapping = rules(quick, slow, later).map(KEYED, body)
    assert (mapping.state, mapping.bounded, mapping.events) == (WebhookState.FAILED, True, ())
    told = "the rules took over 1 s of the processor's time, look at less of the webhook"
    assert why(mapping, "slow").error == told
    assert mapping.error == f"no event is made: slow: {told}"
    assert why(mapping, "later").clause == "not tried: slow broke a bound of the whole webhook"
    assert mapping.dedupe_key == "one"


def over(steps: Steps) -> Mapped:
    """The mapping that is made where time is over by now."""
    try:
        while True:
            steps.throw(Exceeded("it took too long"))
    except StopIteration as ended:
        mapping: Mapped = ended.value
        return mapping


@pytest.mark.parametrize("before", [1, 2, 3, 4, 50])
def test_time_may_be_over_at_any_step_between_items_and_between_their_targets(before: int) -> None:
    steps = steps_of(LONG + ", target: [crm, erp]")
    for _ in range(before):
        next(steps)
    mapping = over(steps)
    assert (mapping.state, mapping.bounded, mapping.events) == (WebhookState.FAILED, True, ())
    assert why(mapping).error == "it took too long"


def test_an_explanation_that_there_is_no_time_for_is_left_out() -> None:
    body = BODY | {"items": ["z"] * 400}
    written = (LONG, LONG.replace("long", "too", 1))
    assert all(one.clause for one in rules(*written).map(KEYED, body).why)
    steps: Any = steps_of(*written, body=body)
    while steps.gi_yieldfrom is None or steps.gi_yieldfrom.__name__ != "_explain":
        next(steps)
    next(steps)
    mapping = over(steps)
    assert (mapping.state, mapping.bounded) == (WebhookState.IGNORED, False)
    assert [one.clause is None for one in mapping.why] == [False, True]


# The bound, by a clock that the steps turn


class Turned:
    """A mapping whose steps take as long as they say, the first so many of them to read a body."""

    def __init__(self, *takes: float, reading: int = 0) -> None:
        self.at = 0.0
        self.steps = self._run(takes, reading)
        self.course = Course(self.steps, clock=self.clock)

    def clock(self) -> float:
        return self.at

    def _run(self, takes: tuple[float, ...], reading: int) -> Steps:
        try:
            for number, seconds in enumerate(takes):
                self.at += seconds
                yield None if number < reading else "key"
        except Exceeded as error:
            return Mapped(state=WebhookState.FAILED, error=str(error))
        return Mapped(state=WebhookState.IGNORED)


def ended(course: Course) -> WebhookState | None:
    return None if course.mapping is None else course.mapping.state


def test_a_slice_ends_after_its_time() -> None:
    turned = Turned(0.4, 0.2, 0.2)
    turned.course.go_on(0.5)
    assert turned.at == pytest.approx(0.6)
    assert ended(turned.course) is None
    turned.course.go_on(0.5)
    assert ended(turned.course) is WebhookState.IGNORED


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (lambda: Turned(0, MAX_SECONDS, 0), WebhookState.IGNORED),
        (lambda: Turned(0, MAX_SECONDS, 0.1, 9), WebhookState.FAILED),
        (lambda: Turned(100, MAX_SECONDS, reading=1), WebhookState.IGNORED),
        (lambda: Turned(0, 100, MAX_SECONDS, 0, reading=2), WebhookState.IGNORED),
        (lambda: Turned(0, 100, 0, MAX_SECONDS, 0.1, 9, reading=2), WebhookState.FAILED),
    ],
)
def test_the_time_of_all_slices_counts_but_not_that_of_reading(make: Callable[[], Turned], state: WebhookState) -> None:
    whole, sliced = make(), make()
    whole.course.go_on(1000)
    while sliced.course.mapping is None:
        sliced.course.go_on(0)
    assert ended(whole.course) is ended(sliced.course) is state
    assert whole.at < 9 + 100 + MAX_SECONDS
