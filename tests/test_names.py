"""Names: a class that one module has is no other thing in another."""

import ast
import collections.abc
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1] / "bridge"


def public_classes() -> dict[str, list[str]]:
    """The modules that define each public class."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    return found


def test_no_two_public_classes_share_a_name() -> None:
    assert {name: modules for name, modules in public_classes().items() if len(modules) > 1} == {}


def test_no_public_class_has_the_name_of_a_collections_abc() -> None:
    assert not public_classes().keys() & set(collections.abc.__all__)
