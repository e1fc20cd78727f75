"""Whatever happens to a bridge in whatever order: nothing acknowledged vanishes, gets stuck or goes unexplained."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model import Outcome, Unclear
from bridge.store import database
from bridge.store.actions import Action

from .machine import Machine
from .support import logged
from .world import note_everything

outcomes = st.sampled_from(
    [
        *(Outcome.DELIVERED, Outcome.UNAVAILABLE, Outcome.UNKNOWN, Outcome.UNKNOWN, Outcome.REJECTED),
        *(Outcome.UNAUTHORIZED, *Unclear),
    ]
)
wrong = st.sampled_from([0, 86_400_000, 3 * 86_400_000, -86_400_000, -50 * 365 * 86_400_000])
waits = st.sampled_from([1_000, 11_000, 45_000, 240_000])
which = st.integers(0, 11)
items = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("ab"),
            "rule": st.sampled_from(["sold", "asked", "sold", "asked", "shadow"]),
            "to": st.sampled_from(["crm", "crm", "erp"]),
            "by": st.sampled_from(["anna", "anna", "anna", "bert", None]),
            "then": st.sampled_from(["anna", "bert", None, "none"]),
        }
    ),
    min_size=1,
    max_size=3,
)
source = st.sampled_from(["shop", "shop", "shop", "forms"])
delivery = st.sampled_from([None, "one", "two"])
action = st.sampled_from(Action)
rules = st.sampled_from(["second", "second", "first", "silent", "broken"])
state = st.sampled_from(["dead", "held", "discarded", "delivered", None])
name = st.sampled_from(["crm", "crm", "erp"])

# How often, what, and how.
STEPS: list[tuple[int, Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = [
    (4, Machine.a_webhook_comes, (source, items, delivery)),
    (1, Machine.much_comes_at_once, (source, items, items, delivery, st.lists(outcomes, max_size=3))),
    (8, Machine.superoffice_answers, (which, outcomes)),
    (2, Machine.an_answer_comes_too_late, (which, outcomes)),
    (1, Machine.two_answers_come_at_once, (which, outcomes, outcomes)),
    (4, Machine.time_passes, (waits,)),
    (2, Machine.somebody_sets_the_wall_clock, (wrong,)),
    (1, Machine.its_machine_is_cut_off, (waits, wrong)),
    (2, Machine.it_is_cut_off, (waits,)),
    (1, Machine.it_is_restarted, (waits,)),
    (1, Machine.it_is_stopped_while_it_claims, (source, items)),
    (2, Machine.somebody_changes_an_event, (action, which)),
    (2, Machine.somebody_changes_many, (action, state)),
    (4, Machine.somebody_remaps, (which, rules, st.booleans())),
    (2, Machine.somebody_erases, (which,)),
    (1, Machine.somebody_pauses, (name,)),
    (1, Machine.somebody_resumes, (name,)),
]
steps = st.sampled_from([step for step in STEPS for _ in range(step[0])]).flatmap(
    lambda step: st.tuples(st.just(step[1]), *step[2])
)


def an_item(by: str | None, then: str | None = None, rule: str = "sold") -> dict[str, str | None]:
    return {"id": "a", "rule": rule, "to": "crm", "by": by, "then": then}


# What chance brings about too seldom.
RARE: dict[str, list[tuple[Any, ...]]] = {
    "a late delivery frees the key that its event was remapped to": [
        (Machine.a_webhook_comes, "shop", [an_item(None, then="anna")], None),
        (Machine.it_is_cut_off, 1_000),
        (Machine.somebody_remaps, 0, "second", False),
        (Machine.superoffice_answers, 0, Outcome.UNAVAILABLE),
        (Machine.a_webhook_comes, "shop", [an_item("anna")], None),
        (Machine.an_answer_comes_too_late, 0, Outcome.DELIVERED),
    ],
    "a late delivery counts although the answer to a later attempt is committed with it": [
        (Machine.a_webhook_comes, "shop", [an_item(None)], None),
        (Machine.two_answers_come_at_once, 0, Outcome.UNAVAILABLE, Outcome.DELIVERED),
    ],
    "a late answer to a probe opens the target at once": [
        (Machine.a_webhook_comes, "shop", [an_item(None)], None),
        (Machine.superoffice_answers, 0, Outcome.UNAUTHORIZED),
        (Machine.time_passes, 2_000),
        (Machine.it_is_cut_off, 1_000),
        (Machine.an_answer_comes_too_late, 0, Outcome.REJECTED),
    ],
    "an event whose answers nobody understands dies, although each of them is a probe's": [
        (Machine.a_webhook_comes, "shop", [an_item(None)], None),
        (Machine.superoffice_answers, 0, Unclear.ANSWER),
        (Machine.time_passes, 2_000),
        (Machine.it_is_cut_off, 240_000),
        (Machine.superoffice_answers, 0, Unclear.PAGE),
        (Machine.time_passes, 45_000),
        (Machine.superoffice_answers, 0, Unclear.ANSWER),
        (Machine.time_passes, 45_000),
        (Machine.superoffice_answers, 0, Unclear.ANSWER),
    ],
    "an answer to a probe does not open what an operator paused": [
        (Machine.a_webhook_comes, "shop", [an_item(None)], None),
        (Machine.superoffice_answers, 0, Outcome.UNAUTHORIZED),
        (Machine.time_passes, 2_000),
        (Machine.somebody_pauses, "crm"),
        (Machine.superoffice_answers, 0, Outcome.DELIVERED),
    ],
    "the delivery id of an erased webhook is free": [
        (Machine.a_webhook_comes, "shop", [an_item(None, rule="shadow")], "one"),
        (Machine.somebody_erases, 0),
        (Machine.a_webhook_comes, "shop", [an_item(None)], "one"),
    ],
    "an event that is no longer made frees its key": [
        (Machine.a_webhook_comes, "shop", [an_item("anna", then="none")], None),
        (Machine.a_webhook_comes, "shop", [an_item("anna")], None),
        (Machine.superoffice_answers, 0, Outcome.UNAVAILABLE),
        (Machine.somebody_remaps, 0, "second", False),
    ],
}


@contextmanager
def queries(url: str) -> Iterator[Callable[[list[tuple[Any, ...]]], None]]:
    """What takes steps on a database, again and again from nothing, and looks at what comes of each."""
    engine = database.writing_engine(url)
    note_everything(engine)
    engine.dispose()
    look = database.reading_engine(url)
    with logged() as log:

        def go_through(taken: list[tuple[Any, ...]]) -> None:
            machine = Machine(url, look, log)
            try:
                for happens, *how in taken:
                    happens(machine, *how)
                machine.all_is_sent_in_the_end()
            finally:
                machine.world.close()

        yield go_through
    look.dispose()


def test_whatever_happens_nothing_is_lost_stuck_or_unexplained(url: str) -> None:
    examples = 60 if url.startswith("sqlite") else 20  # which takes as long
    with queries(url) as go_through:
        settings(max_examples=examples)(given(st.lists(steps, min_size=15, max_size=60))(go_through))()


@pytest.mark.parametrize("taken", RARE.values(), ids=RARE)
def test_what_happens_seldom_does_no_harm_either(url: str, taken: list[tuple[Any, ...]]) -> None:
    with queries(url) as go_through:
        go_through(taken)
