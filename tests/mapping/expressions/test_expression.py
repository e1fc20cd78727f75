import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jinja2 import ChainableUndefined, StrictUndefined, UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridge.errors import MappingError, MissingKey
from bridge.mapping.expressions.expression import ExpressionError, compile_expression, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.mapping.expressions.unparse import spell

NAMES = Registry.of("body", "headers", "query", "source", "webhook", "event", "item")
BODY = {
    "name": "#1001",
    "total": 42.5,
    "count": 3,
    "paid": True,
    "note": None,
    "customer": {"id": 207119551, "first-name": "Åse"},
    "items": [{"sku": "CRM-1", "keys": "k"}, {"sku": "X-2"}],
    "words": ["a", "b"],
}
SCOPE = {"body": BODY, "headers": {"x-topic": "orders/create"}, "source": "shop", "event": {"id": "ev_1"}}


def value(text: str, **scope: Any) -> Any:
    return compile_expression(text, NAMES)({**SCOPE, **scope})


def made(text: str) -> Any:
    return compile_template(text, NAMES)(SCOPE)


def failure(text: str, **scope: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        value(text, **scope)
    return caught.value


def refusal(text: str, names: Registry = NAMES) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, names)
    return caught.value


# Names and keys


def test_a_dot_and_brackets_are_the_same_look_up() -> None:
    assert value("body.customer.id") == value("body['customer']['id']") == 207119551
    assert value("body.customer['first-name']") == "Åse"


def test_a_key_named_like_a_method_of_a_dictionary_is_a_key() -> None:
    assert value("body.items[0]['keys']") == "k"
    assert value("body.items[0].keys") == "k"
    assert "body.customer.values" in failure("body.customer.values").message


def test_a_list_is_indexed_by_number_from_either_end() -> None:
    assert value("body.items[-1].sku") == value("body.items.1.sku") == "X-2"


@pytest.mark.parametrize("text", ["body.name[0]", "body.name.upper", "'abc'[1]", "body.count.real", "body.note.x"])
def test_only_objects_and_lists_have_keys(text: str) -> None:
    with pytest.raises((MissingKey, ExpressionError), match="is missing"):
        value(text)


def test_a_missing_key_names_the_chain_and_the_nearest_key() -> None:
    error = failure("body.total > 1 and body.custommer.id == 5")
    assert isinstance(error, MissingKey)
    assert error.message == "`body.custommer` is missing: `body` has no such key"
    assert error.hint.startswith("the nearest key is `customer`")
    assert error.expression == "body.total > 1 and body.custommer.id == 5"


def test_a_missing_index_says_how_long_the_list_is() -> None:
    assert failure("body.items[7].sku").message == (
        "`body.items[7]` is missing: `body.items` is a list of 2 items, counted from 0"
    )


def test_what_a_failure_says_of_the_body_is_bounded() -> None:
    error = failure("body.kex", body={f"key{'x' * 1000}{n}": n for n in range(10_000)} | {"key": 1})
    assert len(error.message + error.hint) < 200


def test_no_failure_shows_a_value_of_the_body() -> None:
    for text in ("body.a > 1", "body.a | int", "body.a + 1", "body.a.b", "body[body.a]", "-body.a", "1 in body.a"):
        error = failure(text, body={"a": "hunter2"})
        assert "hunter2" not in error.message + error.hint


def test_an_unknown_name_is_refused_with_the_nearest_and_all() -> None:
    error = refusal("boddy.total")
    assert error.message == "unknown name `boddy`"
    assert error.hint.startswith("did you mean `body`? there are: body, event, headers")
    assert "`none`" in refusal("body.x == null").hint
    assert "item" in refusal("item.sku", Registry.of("body", "event")).message


@pytest.mark.parametrize("text", ["headers['X-Topic'] == 'a'", "headers.Topic"])
def test_an_upper_case_header_is_refused_since_it_could_never_be_there(text: str) -> None:
    assert re.match(r"write `headers\['(x-)?topic'\]`", refusal(text).hint)


def test_an_upper_case_key_of_anything_else_is_fine() -> None:
    assert value("body.Topic", body={"Topic": 1}) == 1


# Operators


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 < body.count <= 3", True),
        ("'CRM' in body.items[0].sku", True),
        ("body.count not in (1, 2)", True),
        ("body.note or body.name", "#1001"),
        ("body.paid and body.count", 3),
        ("not body.note", True),
        ("body.count // 2 + 7 % 4 - 1", 3),
        ("-body.count / 2", -1.5),
        ("'a' + 'b' ~ 1 ~ none ~ true", "ab1NoneTrue"),
        ("body.words + ['c']", ["a", "b", "c"]),
        ("'big' if body.total > 10 else 'small'", "big"),
        ("{'id': body.customer.id, body.name: [1]}", {"id": 207119551, "#1001": [1]}),
        ("true * 2", 2),
        ("18446744073709551616 + 1", 18446744073709551617),
    ],
)
def test_operators_give_what_jinja_gives(text: str, expected: Any) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_and_or_and_if_evaluate_only_what_they_need() -> None:
    assert value("true or body.nope") is True
    assert value("false and body.nope") is False
    assert value("1 if true else body.nope") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("body.name > 0 and body.paid", "`body.name > 0`: '>' not supported between instances of text and a number"),
        ("body.count + body.name", "`body.count + body.name`: needs two numbers, not a number and text"),
        ("body.name * body.count", "`body.name * body.count`: needs two numbers, not text and a number"),
        ("body.name % body.count", "`body.name % body.count`: needs two numbers, not text and a number"),
        ("body.count / (body.count - 3)", "`body.count / (body.count - 3)`: division by zero"),
        ("body.words in body.customer", "`body.words in body.customer`: unhashable type: a list"),
        ("-body.name", "`-body.name`: bad operand type for unary -: text"),
        ("{body.count: 1}", "`{body.count: 1}`: keys are text, not a number"),
        ("1e308 * body.count * 10", "`1e+308 * body.count`: the number is too large"),
        ("body.count | length", "`body.count | length`: object of type a number has no len()"),
    ],
)
def test_a_failing_operator_says_which_piece_and_why(text: str, message: str) -> None:
    assert failure(text).message == message


def test_deeply_nested_values_fail_rather_than_crash() -> None:
    deep: list[Any] = []
    other: list[Any] = []
    for _ in range(20_000):
        deep, other = [deep], [other]
    assert "nested too deeply" in failure("body.a == body.b", body={"a": deep, "b": other}).message
    assert "nested too deeply" in failure("body.a | string", body={"a": deep}).message


def test_a_constant_that_fails_is_refused_at_load() -> None:
    assert "division by zero" in refusal("1 / 0").message


# Missing keys that are expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("body.a.b.c | default('x')", "x"),
        ("body.note.b | default('x')", "x"),
        ("body.name | default('x')", "#1001"),
        ("body.note | default('x')", None),
        ("body.note | default('x', true)", "x"),
        ("body.note | default(default_value=1, boolean=true)", 1),
        ("body.nope | default", ""),
        ("(body.count + body.nope) | default(0)", 0),
        ("body.nope | float | default(0)", 0),
        ("body.nope | default(body.neither) | default(2)", 2),
        ("body.name | default(body.neither)", "#1001"),
        ("body[body.nope] | default(3)", 3),
        ("body.items[9].sku is defined", False),
        ("body.nope.deeper is not defined", True),
        ("(body.count + body.nope) is defined", False),
        ("body.note is defined and body.note is none", True),
        ("body.items[0].sku is match('CRM-\\d')", True),
        ("body.items[1].sku is match 'CRM'", False),
    ],
)
def test_default_and_defined_cover_the_whole_chain(text: str, expected: Any) -> None:
    assert value(text) == expected


def test_default_and_defined_cover_only_missing_keys() -> None:
    assert "plain number" in failure("body.name | int | default(0)").message
    assert "plain number" in failure("body.name | int is defined").message


def test_a_fallback_that_is_missing_too_is_named() -> None:
    assert "`body.neither`" in failure("body.nope | default(body.neither)").message


# Templates


@pytest.mark.parametrize("text", ["1.10", "None", "true", "", " a\n", "}} %}", "5 # no comment", "a\r\nb"])
def test_text_without_braces_is_itself(text: str) -> None:
    template = compile_template(text, Registry.of())
    assert template.constant
    assert template({}) == text


def test_one_expression_keeps_its_type() -> None:
    assert made("{{ body.customer.id }}") == 207119551
    assert made("{{ body.note }}") is None
    assert made("{{ body.words }}") is BODY["words"]
    assert made("{# the total #}{{ body.total }}") == 42.5


def test_mixed_text_makes_a_string_with_values_as_json() -> None:
    assert made("{{ body.name }}/{{ body.total }}/{{ body.paid }}/{{ body.note }}/{{ body.words }}\n") == (
        '#1001/42.5/true//["a","b"]\n'
    )
    assert made("{{ body.customer }} ") == '{"id":207119551,"first-name":"Åse"} '
    assert made(" {{ body.count }}") == " 3"
    assert made("{# nothing #}") == ""
    assert made("{{ '{{' }} {{ '{%' }}") == "{{ {%"


@pytest.mark.parametrize("text", ["{% if a %}x{% endif %}", "{% raw %}{{ x }}{% endraw %}", "{% nope %}", "{{ 1 }}{%"])
def test_statements_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_template(text, NAMES)


def test_constant_means_that_no_name_is_used() -> None:
    assert compile_template("{{ 1 + 1 }}", NAMES).constant
    assert not compile_template("{{ body }}", NAMES).constant
    assert not compile_template("a {{ body.x }}", NAMES).constant


# What is refused at load


@pytest.mark.parametrize(
    ("text", "piece", "hint"),
    [
        ("body.a ** 2", "`body.a ** 2`: `**` does not exist", "multiply"),
        ("body.name.upper()", "`body.name.upper()`: nothing can be called", "filters do the work: as_list, default"),
        ("1 if body.a", "`1 if body.a`: it has no else", "say what"),
        ("body.a[1:2]", "`1:2`: not available", ""),
        ("(1, 2)", "`(1, 2)`: lists are written in brackets", "write `[a, b]`"),
        ("'%s' % body.a", "`'%s' % body.a`: `%` is for numbers", "`~` joins text"),
        ("body.a * [1]", "`body.a * [1]`: `*` is for numbers", "`~` joins text"),
        ("body.a | uper", "unknown filter `uper`", "did you mean `upper`? there are: as_list, default, float, int"),
        ("body.a is undefined", "unknown test `undefined`", "did you mean `not defined`?"),
        ("body.a is number", "unknown test `number`", "there are: defined, match, none"),
        ("body.a | replace('a')", "missing a required argument: 'new'", ""),
        ("body.a | trim(1, 2)", "too many positional arguments", ""),
        ("body.a | int(base=16)", "unexpected keyword argument 'base'", ""),
        ("body.a | default(*body.b)", "arguments are not available", ""),
        ("body.a is match(body.b)", "the pattern is no constant text", "write it in quotes"),
        ("body.a is match('(')", "`(` is no pattern: missing )", "RE2"),
        ("body.a is match('\\bx')", "the pattern holds a backspace", "write `\\\\b`"),
        ("{{ body.a }}", "braces around an expression", "without"),
        ("body.a body.b", "unexpected 'body' after `body.a`", ""),
        ("", "it ends too early", ""),
        ("body.a ==\n ?", "unexpected `?` after `body.a ==`", "if condition else"),
        ("1e999", "a number is too large", ""),
        ("'\\ud800'", "half a character", ""),
    ],
)
def test_what_is_no_expression_is_refused_with_its_piece_and_what_to_write(text: str, piece: str, hint: str) -> None:
    error = refusal(text)
    assert piece in error.message
    assert hint in error.hint


@given(st.text() | st.text("body.a[]()'\"|{}%#-+*/~ \n\\0159eif<>=,:"))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    for compile_it in (compile_expression, compile_template):
        try:
            compile_it(text, NAMES)
        except ExpressionError:
            continue


# The oracle


class Raising(StrictUndefined):
    def __init__(self, *_: Any, **__: Any) -> None:
        raise UndefinedError


def of_text(name: str) -> Callable[..., Any]:
    """A filter of Jinja's, for text and numbers only, as ours are: Jinja makes `none` of null."""

    def checked(value: Any, *given: Any, **named: Any) -> Any:
        texts = list(value) if name == "join" else [value]
        texts += [*given[:2], *(named[key] for key in ("old", "new", "d") if key in named)] if name != "trim" else []
        if any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in texts):
            raise UndefinedError
        return CHAINING.call_filter(name, value, given, named)

    return checked


JINJA = ImmutableSandboxedEnvironment(undefined=Raising)
CHAINING = ImmutableSandboxedEnvironment(undefined=ChainableUndefined)
JINJA.filters |= {name: of_text(name) for name in ("join", "lower", "replace", "trim", "upper")}

characters = st.characters(exclude_categories=["Cs"])
scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e6, 1e6) | st.text(characters)
anything = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("abc"), v))
bodies = st.fixed_dictionaries(
    {
        "n": st.integers(-100, 100) | st.integers(-(10**20), 10**20) | st.floats(-1e6, 1e6) | st.booleans(),
        "t": st.text(characters, max_size=8),
        "l": st.lists(scalars, min_size=1, max_size=4),
        "o": st.fixed_dictionaries({"a": anything, "b": scalars}),
        "x": anything,
        "first-name": st.text("ab ", max_size=4),
    }
)


def grammar() -> st.SearchStrategy[str]:
    """Expressions of our grammar, typed loosely so that most of them have a value."""
    operation, order = (
        st.sampled_from(["+", "-", "*", "/", "//", "%"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    )
    comparison = order | st.sampled_from(["in", "not in"])
    quoted = st.text(characters, max_size=4).map(repr)
    number = st.deferred(lambda: numbers)
    text = st.deferred(lambda: texts)
    every = st.deferred(lambda: everything)
    truth = st.deferred(lambda: truths)
    items = st.deferred(lambda: lists)
    numbers = st.one_of(
        st.sampled_from(["body.n", "body['n']", "1", "0", "2.5", "7", "true", "-3", "body.x | length"]),
        st.builds("({} {} {})".format, number, operation, number),
        st.builds("body.n {} {}".format, operation, number),
        st.builds("({}{})".format, st.sampled_from("-+"), number),
        st.builds("({}) | {}".format, number, st.sampled_from(["int", "float", "int(1)", "float(default=2)"])),
        st.builds("({}) | length".format, text | items),
    )
    texts = st.one_of(
        st.sampled_from(["body.t", "body['first-name']", "body.o.b | string"]),
        quoted,
        st.builds("({} + {})".format, text, text),
        st.builds("({} ~ {})".format, every, every),
        st.builds("({}) | {}".format, text, st.sampled_from(["lower", "upper", "trim", "string", "trim('a')"])),
        st.builds("({}) | {}".format, every, st.sampled_from(["lower", "upper", "trim", "string", "trim('a')"])),
        st.builds("({}) | join({})".format, items | text, text),
        st.builds("({}) | join".format, items),
        st.builds("({}) | replace({}, {})".format, text, text, text),
        st.builds("({}) | replace({}, new={}, count={})".format, every, text, text, st.sampled_from("012")),
    )
    lists = st.one_of(
        st.just("body.l"),
        st.builds("[{}, {}]".format, every, every),
        st.builds("({} + {})".format, items, items),
    )
    truths = st.one_of(
        st.builds("({} {} {})".format, every, comparison, every),
        st.builds("({} {} {})".format, number, order, number),
        st.builds("({} < {} <= {})".format, number, number, number),
        st.builds("({} in {})".format, every, items),
        st.builds("({} not in ({}, {}))".format, every, every, every),
        st.builds("(not {})".format, every),
        st.builds("({} is {})".format, every, st.sampled_from(["none", "not none", "defined", "not defined"])),
    )
    everything = st.one_of(
        *(numbers, texts, lists, truths),
        st.sampled_from(["body", "body.x", "body.o.a", "body.l[0]", "body.l[-1]", "body.nope", "body.o.a.b", "none"]),
        st.builds("body.l[{}]".format, number),
        st.builds("({} {} {})".format, every, st.sampled_from(["and", "or"]), every),
        st.builds("({} if {} else {})".format, every, truth, every),
        st.builds("({}) | default({})".format, every, every),
        st.builds("({}) | default({}, boolean={})".format, every, every, truth),
        st.builds("{{'a': {}, {}: {}}}".format, every, text, every),
        st.builds("{{'a': {}}}.a".format, every),
        st.builds("[{}, {}][{}]".format, every, every, st.sampled_from("01")),
    )
    return everything


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return bool(one == other)


@settings(max_examples=200)
@given(grammar(), bodies)
@example("body.o.a", {"o": {"a": 1}})
def test_wherever_jinja_gives_a_value_so_do_we_and_it_is_the_same(text: str, body: Any) -> None:
    assume(len(text) <= 1000)
    try:
        expected = JINJA.compile_expression(text, undefined_to_none=False)(body=body)
    except Exception:
        expected = Raising
    try:
        result = value(text, body=body)
    except (MappingError, ExpressionError):
        assert expected is Raising
    else:
        assert expected is Raising or same(result, expected)


def test_the_oracle_has_teeth() -> None:
    values = 0

    @settings(max_examples=80, derandomize=True)
    @given(grammar(), bodies)
    def count(text: str, body: Any) -> None:
        nonlocal values
        try:
            JINJA.compile_expression(text, undefined_to_none=False)(body=body)
        except Exception:
            return
        values += 1

    count()
    assert values > 20


@given(st.lists(st.sampled_from(["a", "b", "nope"]), min_size=1, max_size=4), anything)
def test_default_and_defined_on_chains_are_those_of_jinja_with_chainable_undefined(keys: list[str], body: Any) -> None:
    chain = "body." + ".".join(keys)
    for text in (f"{chain} | default('fallback')", f"{chain} is defined"):
        assert same(value(text, body=body), CHAINING.compile_expression(text)(body=body))


@settings(max_examples=60)
@given(grammar())
@example("(body.x is none) if body.y is not none else not body.z")
@example("-(body.n | int) | float - (1 - 2) ~ (3 ~ 4)")
@example("((body.a is none) == (body.b in [1])) in (1,)")
def test_spelling_is_the_inverse_of_parsing(text: str) -> None:
    try:
        node = compile_expression(text, NAMES).node
    except ExpressionError:
        return
    again = spell(node, length=1 << 20)
    assert compile_expression(again, NAMES).node == node


# The page


PAGE = Path(__file__).parents[3] / "docs" / "expressions.md"


def examples(kind: str) -> list[tuple[str, str]]:
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    return [(left.strip(), right.strip()) for left, right in (line.rsplit(" -> ", 1) for line in lines)]


def documented() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    scope: dict[str, Any] = json.loads(found[1])
    return scope


def test_the_page_has_examples_of_every_kind() -> None:
    assert len(examples("expressions")) > 40
    assert len(examples("values")) > 5
    assert len(examples("refused")) > 8


@pytest.mark.parametrize(("text", "result"), examples("expressions"))
def test_every_example_of_the_page_gives_what_it_says(text: str, result: str) -> None:
    if result.startswith("fails: "):
        with pytest.raises(MappingError) as caught:
            compile_expression(text, NAMES)(documented())
        assert caught.value.message == result.removeprefix("fails: ")
    else:
        assert same(compile_expression(text, NAMES)(documented()), json.loads(result))


@pytest.mark.parametrize(("text", "result"), examples("values"))
def test_every_value_of_the_page_makes_what_it_says(text: str, result: str) -> None:
    assert same(compile_template(text, NAMES)(documented()), json.loads(result))


@pytest.mark.parametrize(("text", "message"), examples("refused"))
def test_every_refusal_of_the_page_is_one(text: str, message: str) -> None:
    assert message in str(refusal(text))


def test_no_number_that_json_cannot_say_comes_out() -> None:
    for text in ("body.a * 10", "body.a + body.a", "body.a // 1e-300", "'9' * 1 if false else body.b | float"):
        try:
            result = value(text, body={"a": 1.7e308, "b": "9" * 400})
        except (MappingError, ExpressionError):
            continue
        assert math.isfinite(result)
