"""Expressions written to escape or to exhaust: refused at load with their place, or harmless and bounded when run.

Escapes are those that were published against Jinja and its sandbox, and what Python itself would offer. Bombs run over
bodies of 1 MiB, the default of `listen.max_body`.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import ConfigError, ExpressionError, MappingError, Problem
from bridge.mapping.expressions.expression import Expression, compile_expression, compile_template
from bridge.mapping.expressions.registry import Registry
from bridge.service import composition

NAMES = Registry.of("body", "headers", "query", "source", "webhook")

REFUSED = {
    "nothing can be called": r"""
        ''.__class__.__mro__[1].__subclasses__()
        ''.__class__.__base__.__subclasses__()[40]('/etc/passwd').read()
        ().__class__.__bases__[0].__subclasses__()
        body.__getitem__('name')
        body.get('name').__class__
        body()()
        (body)(body)
        (body|attr('items'))()
        headers.__init__.__globals__['os'].system('id')
        cycler.__init__.__globals__.os.popen('id').read()
        lipsum.__globals__['os'].popen('id').read()
        lipsum()
        namespace(a=1)
        dict(a=1).__class__
        joiner()
        config.items()
        range(10**9)
        range(1000000000) | join
        __import__('os')
        open('/etc/passwd').read()
        eval('1')
        exec('1')
        print(body)
        caller()
        super()
        _('x')
        'a'.join(['b'])
        '{0.__class__}'.format(body)
        '{0.__class__.__init__.__globals__}'.format_map(body)
        '{:>1000000000}'.format(1)
        body.name | default(default_value=body.__class__())
        """,
    "unknown name `": """
        self.__init__.__globals__
        self._TemplateReference__context
        request.application.__globals__
        get_flashed_messages.__globals__
        url_for.__globals__.os
        g.pop.__globals__
        cycler
        joiner.__init__.__globals__
        namespace.__init__.__globals__
        lipsum.__globals__['os']
        loop.index
        varargs
        kwargs
        environment
        context
        undefined
        __builtins__
        run.__globals__
        scope
        budget
        guard
        key
        operator_Pow
        filter_default
        pattern_1
        """,
    "unknown filter `": r"""
        body | attr('__class__')
        body|attr('\x5f\x5fclass\x5f\x5f')|attr('__mro__')
        '{0}' | attr('format')
        '{0.__class__}' | format(body)
        body | map(attribute='__class__')
        body | map('upper')
        body.words | select('callable')
        body | selectattr('x', 'callable')
        body | reject('sameas', 1)
        body | groupby('__class__')
        body | tojson
        body | xmlattr
        body | pprint
        body | urlize
        body | safe
        body | list
        body | dictsort
        body | sum
        body | random
        body | center(1000000000)
        body | indent(1000000000)
        body | wordwrap(1)
        body | batch(1000000000)
        """,
    "unknown test `": """
        body is callable
        body is sameas(body)
        body is filter('upper')
        body is test('defined')
        body is in(body)
        """,
    "is for numbers": """
        '%s' % body
        '%(a)s' % body
        '%1000000000d' % 1
        'a' * 10**9
        'a' * 1000000000
        [0] * 1000000000
        """,
    "`**` does not exist": """
        2 ** 9 ** 9
        9 ** 9 ** 9 ** 9
        body.name ** body.name
        """,
    "not available in expressions": """
        body.name[::-1]
        body[0:1000000000]
        """,
    "arguments are not available": """
        body.name | replace('a', **body)
        body.name | default(*body)
        """,
    "argument": """
        body.name | default(value=1)
        body.name | default(budget=1)
        body.name | upper(budget=[1])
        body.name | join(budget=[1])
        """,
    "is no pattern": r"""
        body.name is match('(?=a)')
        body.name is match('(?<=a)b')
        body.name is match('(?>a)')
        body.name is match('(?P<a>x)(?P=a)')
        body.name is match('(a)\\1')
        body.name is match('a{1000}{1000}')
        body.name is match('((a{100}){100}){100}')
        """,
    "the pattern is no constant text": """
        body.name is match(body.name)
        body.name is match('a' ~ body.name)
        """,
    "is missing": """
        ''.__class__
        ''['__class__']['__mro__']
        [].__class__.__base__
        {'a': 1}['__class__']
        1.__class__
        none.__class__
        """,
    "the number is too large": """
        1e308 * 10
        -1e308 * 10
        """,
    "": """
        (lambda: 1)()
        [x for x in body]
        {x: 1 for x in body}
        {**body}
        [*body]
        f'{body}'
        body := 1
        body; 1
        import os
        del body
        raise body
        await body
        body.__class__ = 1
        {{ body }}
        {% import 'os' as os %}
        {# body #}
        body # comment
        body }}{{ body
        """,
}
CASES = [(text.strip(), said) for said, texts in REFUSED.items() for text in texts.strip().splitlines()]

OVERSIZED = [
    "(" * 2000 + "1" + ")" * 2000,
    "[" * 2000,
    "not " * 1000 + "body",
    "-" * 4000 + "1",
    "body" + ".a" * 60,
    "body" + "['a']" * 700,
    "1" + "+1" * 100,
    "body" + " | trim" * 100,
    "body" + "|trim" * 1000,
    "body" + "|int" * 1000,
    "body" + " if body else body" * 200,
    "body" + " and body" * 400,
    "'" + "a" * 5000 + "'",
    "9" * 5000,
    "0x" + "f" * 4000,
    "body.a" + "\x00",
    "body.name is match('" + "(" * 2000 + "a" + "){2}" * 500 + "')",
    "body.name is match('" + "(a|b)*" * 600 + "{500}')",
]

TEMPLATES = """
{% import 'os' as os %}
{% include '/etc/passwd' %}
{% extends body %}
{% for x in body %}{{ x }}{% endfor %}
{% for x in range(1000000000) %}x{% endfor %}
{% set x = body.__class__ %}
{% if body %}x{% endif %}
{% macro a() %}{{ a() }}{% endmacro %}
{% raw %}{{ body }}{% endraw %}
{% block a %}{% endblock %}
x{%- call lipsum() %}{% endcall %}
{{ self }}
{{ lipsum(100000) }}
{{ body.__class__() }}
{{ ''.__class__.__mro__ }}
{{ cycler.__init__.__globals__ }}
{{ body | attr('__class__') }}
{{ body }}{{ 2 ** 9 ** 9 }}
{{ body
{{ {{ body }} }}
{{ body }
""".strip().splitlines()

_BRIDGE = "targets: {crm: {url: http://127.0.0.1:1/api, authorization: {scheme: basic, username: u, password: p}}}\n"


def checked(directory: Path, *rules: str, source: str = "") -> list[Problem]:
    """What `bridge check` says of these rules, each on a line of its own from the third on."""
    (directory / "sources").mkdir()
    (directory / "bridge.yaml").write_text(_BRIDGE)
    lines = [f"verify: {{scheme: github, secrets: [s]}}{source}", "rules:", *(f"- {{{rule}}}" for rule in rules), ""]
    (directory / "sources" / "shop.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as raised:
        composition.build(directory)
    return raised.value.problems


def test_each_is_refused_at_load_with_its_place(tmp_path: Path) -> None:
    begin = time.process_time()
    texts = [text for text, _ in CASES] + OVERSIZED
    problems = checked(
        tmp_path, *(f"name: r{n}, when: {json.dumps(t)}, event: {{type: Run}}" for n, t in enumerate(texts))
    )
    for number, (problem, text) in enumerate(zip(problems, texts, strict=True)):
        assert (problem.location.file, problem.location.line) == (f"{tmp_path}/sources/shop.yaml", number + 3)
        begins = len(f"- {{name: r{number}, when: ") + 1
        assert begins <= problem.location.column <= begins + len(json.dumps(text))
    assert [problem.path for problem in problems] == [f"rules[{number}].when" for number in range(len(texts))]
    for problem, (text, said) in zip(problems, CASES, strict=False):
        assert said in problem.message, text
    assert all(len(str(problem)) < 700 for problem in problems)
    assert time.process_time() - begin < 5


def test_there_are_enough_of_them() -> None:
    assert len({text for text, _ in CASES}) == len(CASES) >= 130


@pytest.mark.parametrize("text", OVERSIZED, ids=lambda text: text[:20])
def test_none_takes_long_to_refuse(text: str) -> None:
    def refuse() -> None:
        with pytest.raises(ExpressionError):
            compile_expression(text, NAMES)

    assert cpu(refuse) < 0.1 * SLACK


def test_templates_are_refused_likewise(tmp_path: Path) -> None:
    attributes = [
        f"name: r{n}, event: {{type: Run, attributes: {{a: {json.dumps(t)}}}}}" for n, t in enumerate(TEMPLATES)
    ]
    targets = [f"name: t{n}, target: {json.dumps(t)}, event: {{type: Run}}" for n, t in enumerate(TEMPLATES)]
    problems = checked(tmp_path, *attributes, *targets)
    assert [(problem.location.line, problem.path) for problem in problems] == [
        *((number + 3, f"rules[{number}].event.attributes.a") for number in range(len(TEMPLATES))),
        *((number + 3, f"rules[{number}].target") for number in range(len(TEMPLATES), 2 * len(TEMPLATES))),
    ]


def test_every_field_that_takes_an_expression_refuses_them(tmp_path: Path) -> None:
    text = json.dumps("''.__class__.__mro__[1].__subclasses__()")
    rule = f"name: r, when: {text}, for_each: {text}, key: {text}, order_by: {text}, event: {{type: Run}}"
    problems = checked(tmp_path, rule, source=f"\ndedupe: {text}")
    paths = ["dedupe", "rules[0].for_each", "rules[0].key", "rules[0].order_by", "rules[0].when"]
    assert sorted(problem.path for problem in problems) == paths


# Harmless: these are keys like any other, and no webhook has them


@pytest.mark.parametrize(
    "text",
    [
        "body.__class__.__init__.__globals__",
        "body['__class__']",
        r"body['\x5f\x5fclass\x5f\x5f']",
        "body['__cl' ~ 'ass__']",
        "body.items.__self__",
        "body.name.join",
        "body.name.format",
        "headers.get.__func__",
        "webhook.__dict__",
        "query['__getitem__']",
        "source.__class__",
        "body.words[body]",
        "body[body]",
        "body.words['0']",
    ],
)
def test_names_of_python_are_keys_that_are_not_there(text: str) -> None:
    scope = {
        "body": {"name": "n", "words": ["a"], "items": {}},
        "headers": {},
        "query": {},
        "source": "s",
        "webhook": {},
    }
    with pytest.raises(MappingError, match="is missing"):
        compile_expression(text, NAMES)(scope)
    assert compile_expression(f"({text}) is defined", NAMES)(scope) is False


def test_a_webhook_that_has_such_a_key_is_read_like_any_other() -> None:
    scope = {"body": {"__class__": {"__mro__": [1]}, "keys": 2}}
    assert compile_expression("[body.__class__.__mro__[0], body.keys]", NAMES)(scope) == [1, 2]


# Bombs: at most 100 ms and 20 MB, on an idle machine

SLACK = 4  # for machines that are slower, or busy
MIB = 1 << 20


def twice(value: Any) -> dict[str, Any]:
    """Two equal values that are not the same one."""
    text = json.dumps(value)
    return {"a": json.loads(text), "b": json.loads(text)}


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "text": lambda: {"a": "a" * (MIB - 8)},
    "texts": lambda: twice("a" * (MIB // 2 - 20)),
    "late": lambda: {"a": "a" * (MIB // 2 - 20), "b": "a" * (MIB // 2 - 40) + "ā"},
    "needle": lambda: {"a": "a" * (MIB * 3 // 4), "b": "a" * (MIB // 8) + "b" + "a" * (MIB // 16)},
    "wide": lambda: {"a": "ΐ" * 520_000},
    "emoji": lambda: {"a": "\U0001f600" * 262_000},
    "tags": lambda: {"a": "\U000e0001" * 262_000},
    "letters": lambda: {"a": chr(0x4E00 + 255) * 300_000, "b": "".join(chr(0x4E00 + code) for code in range(256))},
    "alphabet": lambda: {"a": "a" * 900_000, "b": "".join(map(chr, range(0x4E00, 0x9000)))},
    "ab": lambda: {"a": "ab" * 500_000},
    "zeros": lambda: {"a": [0] * 520_000},
    "halves": lambda: {"a": [1.5] * 260_000, "b": 10**6},
    "numbers": lambda: twice([300] * 130_000),
    "large": lambda: twice([10**300 + number for number in range(1700)]),
    "words": lambda: {"a": ["xxxxxx" + str(number % 10) for number in range(100_000)], "b": "xxxxxxq"},
    "empty": lambda: twice([[]] * 170_000),
    "objects": lambda: twice([{}] * 170_000),
    "object": lambda: twice({f"k{number}": number for number in range(35_000)}),
    "tree": lambda: twice([[[[[0]]]] * 3] * 17_000),
    "deep": lambda: twice(json.loads("[" * 90 + "0" + "]" * 90)),
    "digits": lambda: {"a": ["9" * 4300] * 240, "n": "9" * 4300},
}


@lru_cache(maxsize=1)  # they are large, and whatever is kept of them makes each look for garbage longer
def body_of(bomb: str) -> dict[str, Any]:
    return BODIES[bomb]()


def many(text: str, room: int = 4090) -> str:
    """The same over and over, as far as one expression goes."""
    return "[" + ",".join([text] * (room // (len(text) + 1))) + "]"


BOMBS = [
    # comparing
    *((body, many("body.a==body.b")) for body in ("numbers", "large", "empty", "objects", "object", "tree", "deep")),
    *((body, many("body.a<=body.b")) for body in ("texts", "late", "numbers", "large", "tree")),
    *((body, many("body.b in body.a")) for body in ("halves", "words", "needle", "texts", "empty")),
    ("numbers", " == ".join(["body.a", *["body.b"] * 45])),
    ("numbers", " and ".join(["body.a==body.b"] * 45)),
    ("numbers", f"body.a in {many('body.b', 4000)}"),
    ("numbers", f"{many('body.a', 2000)} == {many('body.b', 2000)}"),
    ("tree", f"{many('body.a', 2000)} != {many('body.b', 2000)}"),
    ("zeros", many("1 in body.a")),
    ("empty", many("[0] in body.a")),
    ("objects", many("{'a':1} in body.a")),
    ("text", many("'aaab' in body.a")),
    ("text", many("'b' not in body.a")),
    ("zeros", many("'x' in body.a")),
    # making text
    ("text", "body.a | replace('a', 'aaaa')"),
    ("text", "body.a | replace('', body.a)"),
    ("text", "body.a | replace('a', body.a)"),
    ("text", many("body.a|replace('a','b')")),
    ("text", "body.a ~ 'b' ~ body.a ~ body.a"),
    ("text", "body.a + body.a"),
    ("text", many("body.a~'\U0001f600'")),
    ("text", many("body.a|upper")),
    ("text", many("body.a|trim('a')")),
    ("text", "[body.a, body.a] | string"),
    ("text", "body.a | join(body.a)"),
    ("text", "body.a | join"),
    ("wide", many("body.a|upper")),
    ("wide", "(body.a ~ body.a) | upper"),
    ("emoji", many("body.a|lower")),
    ("emoji", "(body.a ~ body.a ~ body.a ~ body.a) | lower"),
    ("emoji", "[body.a~'x',body.a~'x',body.a~'x',body.a~'x',body.a~body.a~body.a~'x',body.a~'x',body.a~body.a|lower]"),
    ("tags", "[body.a ~ body.a ~ body.a ~ body.a] | string"),
    ("tags", many("[body.a]|string")),
    ("letters", many("body.a|trim(body.b)")),
    ("alphabet", "body.a | trim(body.b)"),
    # making lists, and text of them
    ("zeros", "body.a + body.a"),
    ("numbers", many("body.a+body.b")),
    ("zeros", "body.a | string"),
    ("zeros", "body.a | join(',')"),
    ("numbers", many("body.a|string")),
    ("numbers", many("body.a|join")),
    ("numbers", "body.a | join(body.a | string)"),
    ("words", many("body.a|join")),
    ("large", many("body.a|join")),
    ("large", "(body.a + body.b + body.a + body.b) | string"),
    ("tree", many("body.a|string")),
    ("deep", many("body.a|string")),
    ("object", many("body.a|join")),
    ("object", "[body, body, body] | join"),
    ("object", "body ~ '' ~ body"),
    ("object", "body | upper | lower | trim | replace('k', 'kkkkkk')"),
    # numbers
    ("digits", many("body.n|int")),
    ("digits", many("body.n|int|string")),
    ("digits", many("(body.n|int)*(body.n|int)")),
    ("digits", many("(body.n|int)//7")),
    ("digits", many("body.n|float(0)")),
    ("digits", "body.a | join | int"),
    ("text", many("body.a|int(0)")),
    # patterns
    ("text", "body.a is match('(a|b)*a(a|b){500}c')"),
    ("text", "body.a is match('(a+)+$')"),
    ("text", "body.a is match('(a|aa)+b')"),
    ("text", "body.a is match('.*.*.*.*.*b')"),
    ("text", many("body.a is match('a*b')")),
    ("ab", "body.a is match('(a|b)*a(a|b){500}c')"),
    ("ab", "body.a is match('(?i)(a?b?){300}z')"),
    ("words", many("body.b is match('(x*)*y')")),
    # missing keys and defaults
    ("object", many("body.nope|default(0)")),
    ("object", "body.a.nope"),
    ("text", many("body[body.a]|default(0)")),
    ("object", "body.a" + "|default(body.b)" * 40),
]


def cpu(run: Any) -> float:
    """The seconds of this process that something takes."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def bounded(expression: Expression, scope: dict[str, Any]) -> None:
    def run() -> None:
        try:
            expression(scope)
        except MappingError as error:
            told.append(error.message + error.hint)

    told: list[str] = []
    assert any(cpu(run) < 0.1 * SLACK for _ in range(2)), "the better of two"
    assert all(len(text) < 500 for text in told)
    tracemalloc.start()
    try:
        run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.timing
@pytest.mark.parametrize(("body", "text"), sorted(BOMBS), ids=lambda value: value[:40])
def test_bombs_cost_little(body: str, text: str) -> None:
    bounded(compile_expression(text, NAMES), {"body": body_of(body)})


@pytest.mark.timing
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("text", "{{ body.a }}" * 300),
        ("zeros", "x{{ body.a }}"),
        ("numbers", "x{{ body.a }}" * 300),
        ("tags", "{{ [body.a ~ body.a ~ body.a ~ body.a] }}x"),
        ("object", "{{ body.a }}{{ body.b }}" * 150),
        ("tree", "{{ body.a == body.b }}" * 150),
    ],
    ids=lambda value: value[:40],
)
def test_bombs_of_mixed_text_cost_little(body: str, text: str) -> None:
    bounded(compile_template(text, NAMES), {"body": body_of(body)})


@pytest.mark.parametrize("body", BODIES)
def test_the_bodies_of_the_bombs_are_of_the_default_size(body: str) -> None:
    size = len(json.dumps(body_of(body), ensure_ascii=False, separators=(",", ":")).encode())
    assert body == "deep" or 800_000 < size <= MIB


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("body.text | replace('a', 'aaaa')", {"text": "a" * MIB}),
        ("body.text ~ body.text", {"text": "a" * MIB}),
        ("body.a == body.b", twice([0] * 100_000)),
        ("body.a in [body.b]", twice([0] * 100_000)),
        (many("body.b in body.a"), {"a": "a" * MIB, "b": "b"}),
        ("body.a | join", {"a": [0] * 200_000}),
        ("body.text is match('(a|b)*a(a|b){500}c')", {"text": "a" * MIB}),
        ("body.number * body.number", {"number": 10**4299}),
    ],
)
def test_beyond_a_bound_the_rule_fails_and_says_so(text: str, body: Any) -> None:
    with pytest.raises(MappingError, match=r"makes too much|compares too much|too long for this pattern|too large"):
        compile_expression(text, NAMES)({"body": body})


def test_up_to_the_bounds_all_is_fine() -> None:
    def value(text: str, body: Any) -> Any:
        return compile_expression(text, NAMES)({"body": body})

    assert len(value("body | upper", "a" * MIB)) == MIB
    assert value("body.a == body.b", twice([0] * 60_000)) is True
    assert value("body.a < body.b", {"a": "a" * MIB, "b": "a" * MIB + "b"}) is True
    assert value("body.b in body.a", {"a": [0] * 500_000, "b": 1}) is False
    assert value("body.b not in body.a", {"a": "a" * MIB, "b": "b"}) is True
    assert value("body.b in body.a", {"a": {"x": 1}, "b": "x"}) is True
    assert len(value("body | join", [0] * 100_000)) == 100_000
