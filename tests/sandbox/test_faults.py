"""Faults as people write them, and the script that hands them out."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.faults import FAULTS, Fault, Script, faults_from_json, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("503", Fault(fault="503")),
        ("503*2 retry-after=1", Fault(fault="503", times=2, retry_after="1")),
        ("hang*forever tenant=crm", Fault(fault="hang", times=None, tenant="crm")),
        ("slow seconds=0.5", Fault(fault="slow", seconds=0.5)),
        ("  cut-after  ", Fault(fault="cut-after")),
        ("429 retry_after='Wed, 21 Oct 2026 07:28:00 GMT'",
         Fault(fault="429", retry_after="Wed, 21 Oct 2026 07:28:00 GMT")),
    ],
)  # fmt: skip
def test_a_fault_is_read_from_a_command_line(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown fault ''"),
        ("boom", "unknown fault 'boom', use a status or one of"),
        ("99", "unknown fault '99'"),
        ("600", "unknown fault '600'"),
        ("5٠3", "unknown fault '5٠3'"),
        ("503*", "times"),
        ("503*0", "times"),
        ("503*x", "times"),
        ("503 twice", "'twice' is no option"),
        ("503 colour=red", "colour"),
        ("503 'open", "a quotation is not closed"),
        ("503 retry-after='a\nb'", "retry_after"),
        ("cut-after retry-after=1", "leave it out"),
        ("200 retry-after=1", "leave it out"),
        ("202 retry-after=1", "leave it out"),
        ("gzip retry-after=1", "leave it out"),
        ("slow", "'slow' needs seconds"),
        ("slow seconds=nan", "seconds"),
        ("slow seconds=3601", "seconds"),
        ("503 seconds=1", "seconds goes with 'slow' only"),
    ],
)
def test_what_is_no_fault_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^fault '") as raised:
        parse_fault(text)
    assert said in str(raised.value)


@given(st.text() | st.from_regex(r"\A(503|slow|hang)(\*\w*)?( [a-z-]+=\S*)*\Z"))
def test_reading_a_fault_fails_with_a_value_error_only(text: str) -> None:
    try:
        fault = parse_fault(text)
    except ValueError:
        return
    assert fault.fault in FAULTS or 200 <= int(fault.fault) <= 599


@given(st.binary())
def test_reading_a_script_fails_with_a_value_error_only(text: bytes) -> None:
    try:
        faults = faults_from_json(text)
    except ValueError:
        return
    assert all(isinstance(fault, Fault) for fault in faults)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"fault": "503"}', "valid array"),
        ('[{"fault": "503"}, {"fault": "boom"}]', "1: unknown fault 'boom'"),
        ('[{"fault": "503", "tymes": 2}]', "0.tymes: Extra inputs"),
        ('[{"times": 2}]', "0.fault: Field required"),
        ('[{"fault": "503", "retry_after": -1}]', "0.retry_after"),
    ],
)
def test_a_wrong_script_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        faults_from_json(text.encode())
    assert said in str(raised.value)


SHORT = st.lists(
    st.builds(
        Fault,
        fault=st.sampled_from(["503", "500", "200", "null", "hang"]),
        times=st.integers(1, 3),
        tenant=st.sampled_from([None, "a", "b"]),
    ),
    max_size=6,
)


@given(SHORT, st.lists(st.sampled_from(["a", "b", "c"]), max_size=20))
def test_each_request_takes_the_first_fault_that_is_for_its_tenant(faults: list[Fault], tenants: list[str]) -> None:
    script = Script(faults)
    left = [(fault.fault, fault.tenant) for fault in faults for _ in range(fault.times or 1)]
    for tenant in tenants:
        mine = next((entry for entry in left if entry[1] in (None, tenant)), None)
        if mine is not None:
            left.remove(mine)
        taken = script.take(tenant)
        assert (taken.fault if taken else "200") == (mine[0] if mine else "200")


@given(SHORT)
def test_a_script_is_listed_as_it_is_read(faults: list[Fault]) -> None:
    assert faults_from_json(orjson.dumps(Script(faults).as_json())) == faults


def test_a_fault_without_an_end_stays_until_the_script_is_cleared() -> None:
    script = Script(["503*forever", "500"])
    assert {fault.fault for _ in range(100) if (fault := script.take("crm"))} == {"503"}
    script.clear()
    assert script.take("crm") is None


def test_a_script_holds_at_most_1000_faults() -> None:
    script = Script(["503"] * 1000)
    with pytest.raises(ValueError, match="more than 1000 faults"):
        script.add(["503"])
    assert len(script.as_json()) == 1000


def test_every_fault_is_an_answer_or_a_manner_of_answering() -> None:
    manners = {"hang", "slow", "cut-before", "cut-after", "cut-middle"}
    for name in FAULTS:
        fault = Fault(fault=name, seconds=1 if name == "slow" else None)
        assert (fault.answer() is None and fault.guise is None) == (name in manners)
