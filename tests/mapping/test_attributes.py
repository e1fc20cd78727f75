import json
from typing import Any

import pytest

from bridge.errors import MappingError
from bridge.mapping.attributes import MAX_LENGTH, Format, Style, final_text
from bridge.model import WebhookState

from .support import WEBHOOK, rules, why

OTHER_FORMAT = "set attributes_escape: percent or replace on the target, or attributes_format: json"
OTHER_NAME = "change it, or set attributes_format: json on the target"
ONE_TEXT = "write one text, or set another attributes_format on the target"


def failure(values: Any, format_: Format) -> tuple[str, str, str]:
    with pytest.raises(MappingError) as caught:
        final_text(values, Style(format_))
    return caught.value.field, caught.value.message, caught.value.hint


def attributes(written: str, body: Any, target: str = "erp") -> Any:
    (event,) = rules(f"name: a, target: {target}, event: {{type: T, attributes: {written}}}").map(WEBHOOK, body).events
    return event.attributes


# The string that is sent


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({"a": "x"}, "a=x"),
        ({"b": 1, "a": -2.5, "c": 2**70, "d": -0.0}, f"b=1;a=-2.5;c={2**70};d=-0.0"),
        ({"yes": True, "no": False, "none": None, "empty": ""}, "yes=true;no=false;none=;empty="),
        ({"l": [1, "a", None, []], "o": {"k": {"ä": True}}}, 'l=[1,"a",null,[]];o={"k":{"ä":true}}'),
        ({"": "no name", "a b": " x ", "\0": "\n"}, "=no name;a b= x ;\0=\n"),
        ({"like": "1.10", "None": "None", "t": "true"}, "like=1.10;None=None;t=true"),
    ],
)
def test_pairs_are_names_and_values_with_semicolons_between(values: dict[str, Any], text: str) -> None:
    assert final_text(values, Style("pairs")) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [None, True, "1.10", 1.0]}, '{"b":1,"a":[null,true,"1.10",1.0]}'),
        ({"a;b=": "c;d=", "ä": '"\n'}, '{"a;b=":"c;d=","ä":"\\"\\n"}'),
        ({"n": 2**63, "m": [2**70, {"x": None}]}, f'{{"n":{2**63},"m":[{2**70},{{"x":null}}]}}'),
        ([1, "a"], '[1,"a"]'),
        (None, "null"),
        (5, "5"),
    ],
)
def test_json_is_compact_in_the_order_of_the_rule_and_exact(values: Any, text: str) -> None:
    assert final_text(values, Style("json")) == text
    assert json.loads(text) == values


@pytest.mark.parametrize(
    ("values", "text"), [(5, "5"), (2**70, str(2**70)), (1.5, "1.5"), (0, "0"), (False, "false"), (None, ""), ({}, "")]
)
def test_in_the_text_format_a_number_alone_is_text_and_no_attributes_are_none(values: Any, text: str) -> None:
    assert final_text(values, Style("text")) == text


@pytest.mark.parametrize("format_", ["pairs", "json", "text"])
@pytest.mark.parametrize("text", ["", "a;b=c", '{"x":1}', "1.10", "true", "ä\0\n"])
def test_one_text_is_sent_as_it_stands_whatever_the_format(text: str, format_: Format) -> None:
    assert final_text(text, Style(format_)) == text


@pytest.mark.parametrize("value", ["a;b", {"k": "a;b"}, [";"], {"a;": 1}])
def test_a_semicolon_in_a_pairs_value_is_refused_and_other_formats_take_it(value: Any) -> None:
    message = "the value holds a `;`, which separates pairs"
    assert failure({"n": 1, "x": value}, "pairs") == ("attributes.x", message, OTHER_FORMAT)
    assert json.loads(final_text({"x": value}, Style("json"))) == {"x": value}


def test_an_equals_sign_in_a_pairs_value_is_refused() -> None:
    message = "the value holds a `=`, which separates pairs"
    assert failure({"x": "a=b"}, "pairs") == ("attributes.x", message, OTHER_FORMAT)


@pytest.mark.parametrize("character", [";", "="])
def test_a_name_from_the_webhook_cannot_smuggle_in_another_pair(character: str) -> None:
    name = f"x{character}role"
    message = f"the name holds a `{character}`, which separates pairs"
    assert failure({name: "admin"}, "pairs") == (f"attributes.{name}", message, OTHER_NAME)
    made = rules('name: a, event: {type: T, attributes: "{{ body }}"}').map(WEBHOOK, {name: "admin"})
    assert (made.state, made.events) == (WebhookState.FAILED, ())
    assert why(made).error == f"attributes.{name}: {message}, {OTHER_NAME}"


def test_a_long_name_from_the_webhook_is_cut_where_it_is_told() -> None:
    assert failure({"x" * 5000 + "=": 1}, "pairs")[0] == "attributes." + "x" * 100


@pytest.mark.parametrize(
    ("values", "format_", "kind"),
    [
        ({"a": 1}, "text", "an object"),
        ([], "text", "a list"),
        ([1], "pairs", "a list"),
        (5, "pairs", "a number"),
        (None, "pairs", "null"),
        (True, "pairs", "true or false"),
    ],
)
def test_what_a_format_cannot_write_is_refused(values: Any, format_: Format, kind: str) -> None:
    assert failure(values, format_) == ("attributes", f"{kind} cannot be sent as {format_}", ONE_TEXT)


def test_the_whole_is_at_most_one_mebi_of_characters() -> None:
    assert len(final_text({"x": "ä" * (MAX_LENGTH - 2)}, Style("pairs"))) == MAX_LENGTH == 1_048_576
    told = ("attributes", "the attributes are longer than 1 MiB", "send less of the webhook")
    assert failure({"x": "ä" * (MAX_LENGTH - 1)}, "pairs") == told
    assert failure("x" * (MAX_LENGTH + 1), "text") == told
    assert failure({"x": "y" * MAX_LENGTH}, "json") == told


# The values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain", "plain"),
        ("1.10", "1.10"),
        ("12E4", "12E4"),
        ("007", "007"),
        ("1.5", 1.5),
        ("'1.10'", "1.10"),
        ("true", True),
        ("9223372036854775808", 2**63),
        ("None", "None"),
        ("null", None),
        ("[1, 'a', {b: null}]", [1, "a", {"b": None}]),
        ("{}", {}),
        ("'{{ body.n }}'", 2**64),
        ("' {{ body.n }}'", f" {2**64}"),
        ("'{{ body.n }}{{ body.n }}'", f"{2**64}{2**64}"),
        ("'{{ body.n | string }}'", str(2**64)),
        ("'{{ body.none }}'", None),
        ("'({{ body.none }})'", "()"),
        ("'{{ body.yes }}'", True),
        ("'{{ body.yes }}!'", "true!"),
        ("'{{ body.list }}'", [1, {"a": None}]),
        ("'{{ body.list }} '", '[1,{"a":null}] '),
        ("'{{ body.text }}'", "1.10"),
        ("'{{ body.template }}'", "{{ body.n }}"),
        ("'x{{ body.template }}'", "x{{ body.n }}"),
        ("['{{ body.yes }}', {deep: ['{{ body.none }}']}]", [True, {"deep": [None]}]),
    ],
)
def test_values_are_plain_or_templates_at_any_depth(written: str, expected: Any) -> None:
    body = {"n": 2**64, "none": None, "yes": True, "list": [1, {"a": None}], "text": "1.10", "template": "{{ body.n }}"}
    value = attributes(f"{{v: {written}}}", body)["v"]
    assert value == expected
    assert type(value) is type(expected)


def test_plain_scalars_keep_their_looks_in_attributes_and_headers_each_time() -> None:
    made = rules(
        "name: a, event: {type: T, attributes: {version: 1.10, sku: 12E4, color: 5319E7, code: 007, half: 1.5}}, "
        "headers: {X-Version: 1.10}"
    )
    for _ in range(3):
        (event,) = made.map(WEBHOOK, {}).events
        assert event.text == "version=1.10;sku=12E4;color=5319E7;code=007;half=1.5"
        assert event.headers == {"X-Version": "1.10"}


def test_names_are_no_templates_and_keep_their_order() -> None:
    written = "{'{{ body.x }}': 1, b: 2, a: 3}"
    assert list(attributes(written, {"x": "y"})) == ["{{ body.x }}", "b", "a"]


def test_the_whole_may_be_one_template() -> None:
    assert attributes("'{{ body }}'", {"a": [1]}) == {"a": [1]}
    assert attributes("'{{ body.a }} and {{ body.b }}'", {"a": 1, "b": "x;y="}, "crm") == "1 and x;y="
    assert attributes("'{{ body.s }}'", {"s": "x;y="}, "desk") == "x;y="


def test_an_event_without_attributes_has_none_in_any_format() -> None:
    made = rules("name: a, target: [crm, erp, desk], event: {type: T}").map(WEBHOOK, {})
    assert [(event.attributes, event.text) for event in made.events] == [({}, ""), ({}, "{}"), ({}, "")]
