"""What one configuration adds to expressions is not there for another, though their texts are the same."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import ExpressionError
from bridge.mapping.expressions.expression import compile_expression, compile_template
from bridge.mapping.expressions.registry import Registry

PLAIN = Registry.of("body")


def shouted(value: Any) -> str:
    return f"{value}!"


def whispered(value: Any) -> str:
    return f"{value}..."


LOUD = replace(PLAIN, added_filters=(("said", shouted),), added_tests=(("loud", lambda _: True),))
QUIET = replace(PLAIN, added_filters=(("said", whispered),), added_tests=(("loud", lambda _: False),))


@pytest.mark.parametrize("_again", [1, 2])
def test_one_text_has_two_meanings_under_two_registries(_again: int) -> None:
    scope = {"body": {"name": "Bo"}}
    for registry, said, loud in ((LOUD, "Bo!", True), (QUIET, "Bo...", False)):
        assert compile_expression("body.name | said", registry)(scope) == said
        assert compile_expression("body.name is loud", registry)(scope) is loud
        assert compile_template("{{ body.name | said }} is here", registry)(scope) == f"{said} is here"


def test_what_is_not_registered_does_not_exist() -> None:
    with pytest.raises(ExpressionError, match="unknown filter `said`"):
        compile_expression("body.name | said", PLAIN)
    with pytest.raises(ExpressionError, match="`item` does not exist here"):
        compile_expression("item", PLAIN)
    assert compile_expression("item", PLAIN.and_names("item"))({"item": 1}) == 1


def test_what_is_always_there_is_there_in_each() -> None:
    for registry in (PLAIN, LOUD, QUIET):
        assert compile_expression("body.name | upper", registry)({"body": {"name": "Bo"}}) == "BO"


def test_equal_registries_share_what_is_compiled() -> None:
    assert compile_expression("body.a", PLAIN) is compile_expression("body.a", Registry.of("body"))
