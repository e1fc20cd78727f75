"""What the sandbox takes for a good request, and how it answers the others."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox.answers import EVENT_TYPES, RESULT_FIELDS, Credentials, selected
from bridge.sandbox.state import Sandbox

BASIC = ("authorization", "Basic " + base64.b64encode(b"sandbox:sandbox").decode())
JSON = ("content-type", "application/json; charset=utf-8")
GOOD = b'{"WorkflowEvent": {"EventType": "SaleSold", "Attributes": "a=1"}}'


def raw(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]


def status(*headers: tuple[str, str], body: bytes = GOOD) -> int:
    return Sandbox().send_event("crm", raw(*headers), b"", body).status


@pytest.mark.parametrize(
    "headers",
    [
        [BASIC],
        [("authorization", "basic " + base64.b64encode(b"sandbox:sandbox").decode())],
        [("authorization", "SOTicket 7T:sandbox"), ("so-apptoken", "sandbox")],
        [("authorization", "Bearer 8A:sandbox")],
        [("x-xsrf-token", "sandbox"), ("cookie", "a=b; XSRF-TOKEN=sandbox")],
    ],
)
def test_each_way_of_signing_in_is_let_in(headers: list[tuple[str, str]]) -> None:
    assert status(*headers, JSON) == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Basic")],
        [("authorization", "Basic sandbox:sandbox")],
        [("authorization", "Basic " + base64.b64encode(b"sandbox:wrong").decode())],
        [BASIC, BASIC],
        [("authorization", "SOTicket 7T:sandbox")],
        [("authorization", "SOTicket 7T:sandbox"), ("so-apptoken", "wrong")],
        [("authorization", "SOTicket 7T:wrong"), ("so-apptoken", "sandbox")],
        [("authorization", "Bearer 8A:wrong")],
        [("authorization", "Bearer 7T:sandbox")],
        [("authorization", "Digest 8A:sandbox")],
        [("authorization", "Bearer 8A:sändbox")],
        [("x-xsrf-token", "sandbox")],
        [("cookie", "XSRF-TOKEN=sandbox")],
        [("x-xsrf-token", "wrong"), ("cookie", "XSRF-TOKEN=wrong")],
        [("authorization", "Bearer 8A:wrong"), ("x-xsrf-token", "sandbox"), ("cookie", "XSRF-TOKEN=sandbox")],
    ],
)
def test_others_are_kept_out_with_an_error_object(headers: list[tuple[str, str]]) -> None:
    sandbox = Sandbox()
    answer = sandbox.send_event("crm", raw(*headers, JSON), b"", GOOD)
    assert answer.status == 401
    assert orjson.loads(answer.body)["Error"] is True
    assert dict(answer.headers)[b"www-authenticate"]
    assert sandbox.events() == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"workflowEvent": {"eventType": "SaleSold", "attributes": "a=1"}}',
        b'{"WORKFLOWEVENT": {"EVENTTYPE": "SaleSold", "ATTRIBUTES": "a=1", "tableRight": {"mask": 15}}}',
    ],
)
def test_names_count_in_any_case(body: bytes) -> None:
    sandbox = Sandbox()
    assert sandbox.send_event("crm", raw(BASIC, JSON), b"", body).status == 200
    assert [(event.event_type, event.attributes) for event in sandbox.events()] == [("SaleSold", "a=1")]


def test_credentials_can_be_others() -> None:
    sandbox = Sandbox(credentials=Credentials(bearer="8A:mine"))
    assert sandbox.send_event("crm", raw(("authorization", "Bearer 8A:mine"), JSON), b"", GOOD).status == 200
    assert sandbox.send_event("crm", raw(("authorization", "Bearer 8A:sandbox"), JSON), b"", GOOD).status == 401


def test_no_credential_is_recorded() -> None:
    sandbox = Sandbox()
    ticket = (("authorization", "SOTicket 7T:sandbox"), ("so-apptoken", "sandbox"))
    browser = (("x-xsrf-token", "sandbox"), ("cookie", "XSRF-TOKEN=sandbox"))
    for headers in (ticket, browser):
        sandbox.send_event("crm", raw(*headers, JSON), b"", GOOD)
    assert [event.headers for event in sandbox.events()] == [
        {"authorization": "SOTicket ***", "so-apptoken": "***", "content-type": JSON[1]},
        {"x-xsrf-token": "***", "cookie": "***", "content-type": JSON[1]},
    ]


def test_a_repeated_header_is_recorded_with_all_its_values() -> None:
    sandbox = Sandbox()
    sandbox.send_event("crm", raw(BASIC, JSON, ("x-a", "1"), ("x-a", "2")), b"", GOOD)
    assert sandbox.events()[0].headers["x-a"] == "1, 2"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/json", "Application/JSON;charset=utf-8", "application/json-patch+json",
     "application/merge-patch+json"],
)  # fmt: skip
def test_content_types_of_json_are_read(content_type: str) -> None:
    assert status(BASIC, ("content-type", content_type)) == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused_with_a_page(content_type: str) -> None:
    answer = Sandbox().send_event("crm", raw(BASIC, ("content-type", content_type)), b"", GOOD)
    assert answer.status == 415
    assert answer.content_type.startswith(b"text/html")


def test_a_missing_content_type_is_refused() -> None:
    assert status(BASIC) == 415


def test_long_headers_are_refused() -> None:
    assert status(BASIC, JSON, ("x-a", "a" * 32_000)) == 200
    assert status(BASIC, JSON, ("x-a", "a" * 33_000)) == 431


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_event_type_is_taken_by_name(name: str) -> None:
    assert status(BASIC, JSON, body=orjson.dumps({"WorkflowEvent": {"EventType": name}})) == 200


@pytest.mark.parametrize(("attributes", "recorded"), [('"a=1"', "a=1"), ('""', ""), ("null", None)])
def test_attributes_are_recorded_as_they_came(attributes: str, recorded: str | None) -> None:
    sandbox = Sandbox()
    body = f'{{"WorkflowEvent": {{"EventType": "Run", "Attributes": {attributes}, "TableRight": null}}}}'.encode()
    assert sandbox.send_event("crm", raw(BASIC, JSON), b"", body).status == 200
    assert sandbox.events()[0].attributes == recorded


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "no WorkflowEvent"),
        (b"null", "no WorkflowEvent"),
        (b'{"EventType": "SaleSold", "Attributes": "a=1"}', "no WorkflowEvent"),
        (b'{"WorkflowEvent": null}', "WorkflowEvent is null"),
        (b'{"WorkflowEvent": "SaleSold"}', "no object"),
        (b'{"WorkflowEvent": {}}', "EventType is missing"),
        (b'{"WorkflowEvent": {"EventType": null}}', "EventType is missing"),
        (b'{"WorkflowEvent": {"EventType": 1012}}', "not the name"),
        (b'{"WorkflowEvent": {"EventType": "SaleStolen"}}', "'SaleStolen'"),
        (b'{"WorkflowEvent": {"EventType": "salesold"}}', "'salesold'"),
        (b'{"WorkflowEvent": {"EventType": "1012"}}', "'1012'"),
        (b'{"WorkflowEvent": {"EventType": "SaleSold", "Attributes": 1}}', "Attributes"),
        (b'{"WorkflowEvent": {"EventType": "SaleSold", "Attributes": {"a": 1}}}', "Attributes"),
    ],
)
def test_a_wrong_wrapper_is_refused_with_an_error_object_that_says_why(body: bytes, said: str) -> None:
    sandbox = Sandbox()
    answer = sandbox.send_event("crm", raw(BASIC, JSON), b"", body)
    error = orjson.loads(answer.body)
    assert answer.status == 400
    assert said in error.pop("Message")
    assert error == {"Error": True, "ErrorType": "ArgumentException", "ErrorSource": "Sandbox"}
    assert sandbox.events() == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2000) | st.text() | st.sampled_from(sorted(EVENT_TYPES)),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["WorkflowEvent", "EventType", "Attributes"]) | st.text(), inner)
    ),
)
CARRIERS = st.fixed_dictionaries({"WorkflowEvent": st.fixed_dictionaries({"EventType": JSON_VALUES})}) | JSON_VALUES


@given(st.binary() | CARRIERS.map(lambda value: orjson.dumps(value)))
def test_whatever_the_body_it_is_recorded_or_refused(body: bytes) -> None:
    sandbox = Sandbox()
    answer = sandbox.send_event("crm", raw(BASIC, JSON), b"", body)
    assert (answer.status, len(sandbox.events())) in {(200, 1), (400, 0)}


@pytest.mark.parametrize(
    ("query", "text", "fields"),
    [
        (b"", None, RESULT_FIELDS),
        (b"$select=", None, RESULT_FIELDS),
        (b"select=EventType", None, RESULT_FIELDS),
        (b"$select=EventType,Attributes", "EventType,Attributes", ("EventType", "Attributes")),
        (b"a=b&%24select=tableright%2C+fieldproperties", "tableright, fieldproperties", RESULT_FIELDS[2:]),
        (b"$select=name,department,category/id", "name,department,category/id", ()),
    ],
)
def test_select_names_the_fields_of_the_result(query: bytes, text: str | None, fields: tuple[str, ...]) -> None:
    assert selected(query) == (text, frozenset(fields))
