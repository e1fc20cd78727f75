"""The agent's creators give blank carriers to whoever is logged in, and do nothing."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.answers import SendEventError
from bridge.sandbox.creators import CARRIERS, CREATORS, TYPED, create
from bridge.sandbox.state import Sandbox

REFUSED = [b"null", b"[]", b'{"StepType": 1}', b'{"StepType": []}', b'{"OptionType": {}}', b'{"OptionType": "X"}']
BEARER = [(b"authorization", b"Bearer 8A:sandbox")]


@pytest.mark.parametrize("creator", CARRIERS)
@pytest.mark.parametrize("body", [b"", b"null", b"{}"])
def test_a_carrier_is_blank(creator: str, body: bytes) -> None:
    answer = create(creator, body)
    carrier = orjson.loads(answer.body)
    assert answer.status == 200
    assert (carrier["TableRight"], carrier["FieldProperties"]) == (None, {})
    assert not any(carrier[name] for name in carrier if name.endswith("Id"))


@pytest.mark.parametrize("creator", TYPED)
def test_a_step_or_an_option_is_of_the_type_that_is_named(creator: str) -> None:
    name, types, _ = TYPED[creator]
    for type_ in types:
        for spelled in (name, name.lower()):
            assert orjson.loads(create(creator, orjson.dumps({spelled: type_})).body)[name] == type_


@given(st.sampled_from([*TYPED]), st.binary(max_size=50) | st.sampled_from(REFUSED))
def test_another_type_is_refused(creator: str, body: bytes) -> None:
    with pytest.raises(SendEventError) as refusal:
        create(creator, body)
    assert refusal.value.answer.status == 400


@pytest.mark.parametrize("creator", CREATORS)
def test_nobody_gets_one_without_a_log_in(creator: str) -> None:
    assert Sandbox().create("crm", [], creator, b"").status == 401


def test_they_take_nothing_and_count_nowhere() -> None:
    sandbox = Sandbox(["503*forever"])
    assert sandbox.create("crm", BEARER, "CreateDefaultWorkflowEvent", b"null").status == 200
    assert (sandbox.events(), sandbox.requests) == ([], {})


def test_where_a_tenant_is_not_there_is_none() -> None:
    sandbox = Sandbox()
    sandbox.tenants.set("Cust12345", host="online2", left_behind=421)
    assert sandbox.create("online1/Cust12345", BEARER, "CreateDefaultEmailFlow", b"").status == 421
    assert sandbox.create("online2/Cust12345", BEARER, "CreateDefaultEmailFlow", b"").status == 200
