"""SuperOffice's JSON, as it is sent and as it is told apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.superoffice import payloads

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["EventType", "Error", "ErrorType", "ErrorMessage", "Message", "MessageDetail"]), inner
        )
    ),
)


def test_rights_and_field_properties_are_left_to_the_server() -> None:
    assert payloads.wrapper("Run", "a=1") == b'{"WorkflowEvent":{"EventType":"Run","Attributes":"a=1"}}'


@given(anything)
def test_nothing_is_both_a_result_and_an_error(answer: Any) -> None:
    members = payloads.members(answer)
    assert not (payloads.is_result(members) and payloads.is_error(members))
    assert payloads.is_error(members) or not payloads.is_service_error(members)


@pytest.mark.parametrize(
    "answer",
    [
        {"Error": True},
        {"ErrorType": "X"},
        {"ErrorMessage": ""},
        {"MessageDetail": "d"},
        {"Message": "m"},
        {"EventType": "Run", "MessageDetail": "d"},
        {"EventType": "Run", "Error": True},
    ],
)
def test_these_are_errors(answer: Any) -> None:
    assert payloads.is_error(payloads.members(answer))
    assert not payloads.is_result(payloads.members(answer))


@pytest.mark.parametrize(
    "answer",
    [
        {"EventType": "Run", "Message": "m"},
        {"EventType": None, "Attributes": None},
        {"EventType": "Run", "Error": False, "ErrorType": None, "ErrorMessage": None, "MessageDetail": None},
    ],
)
def test_these_are_results(answer: Any) -> None:
    assert payloads.is_result(payloads.members(answer))


@pytest.mark.parametrize("answer", [{"Message": "No HTTP resource was found"}, {"MessageDetail": "d"}, {}, [], None])
def test_these_are_not_of_superoffice_s_services(answer: Any) -> None:
    assert not payloads.is_service_error(payloads.members(answer))


@given(anything)
def test_the_kind_of_an_error_is_a_word_or_nothing(answer: Any) -> None:
    kind = payloads.error_type(payloads.members(answer))
    assert kind == "" or kind.replace(".", "").isidentifier()
    assert len(kind) <= 100


def test_the_kind_of_an_error_may_be_qualified() -> None:
    kind = "SuperOffice.Exceptions.SoException"
    assert payloads.error_type({"errortype": kind}) == kind
    assert payloads.error_type({"errortype": "some text of a stranger"}) == ""


@given(st.dictionaries(st.sampled_from(["eventtype", "error", "ErrorMessage", "MESSAGE", "messageDetail"]), anything))
def test_names_count_in_any_case(answer: dict[str, Any]) -> None:
    assert payloads.members(answer) == {name.lower(): value for name, value in answer.items()}
    usual = payloads.members({name.title(): value for name, value in answer.items()})
    assert payloads.is_result(payloads.members(answer)) is payloads.is_result(usual)
