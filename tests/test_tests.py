"""What holds for the tests themselves: each helper has one home, and nobody looks into privates more than is said."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = {
    str(path.relative_to(TESTS)): ast.parse(path.read_text())
    for path in sorted(TESTS.rglob("*.py"))
    if "node_modules" not in path.parts
}

# Attributes of others that begin with an underscore, by module, and why.
PRIVATES = {
    "faults/day.py": {"_scheduled", "_writer"},  # a day passes by jumps: each timer of the loop, each transaction
    "faults/test_writer.py": {"_serve", "_writer"},  # a writer that takes the time of each transaction
    "forwarding/world.py": {"_writer"},  # what is asked of it is counted
    "observing/test_metrics.py": {"_labels"},  # so that each family gets a sample
    "operations/actions/test_operator.py": {"_lines"},  # until somebody waits in it
    "preloaded.py": {"_run_exitfuncs"},  # Python's: a fork ends as a process does
    "receiving/test_off_loop.py": {"_held"},  # nothing is left of what waited
    "receiving/test_verifying_aside.py": {"_address_limiter"},  # how much an address has spent
    "receiving/verification/proofs/test_bearer.py": {"_clock"},  # of the keys that the verifier made for itself
    "receiving/verification/proofs/test_unverified_body.py": {"_form", "_parsed"},  # the two readings of a form agree
    "receiving/verification/test_credential_filter.py": {"_proof"},  # what it names is what the filter drops
    "receiving/verification/test_special.py": {"_proof"},
    "store/support.py": {"_writer"},  # it is held while several ask
    "store/test_purging.py": {"_writer", "_zero"},  # it is held while it erases
}


def own(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def privates(module: ast.Module) -> set[str]:
    return {
        node.attr
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not own(node.value)
    }


@pytest.mark.quick
def test_nobody_looks_into_privates_but_where_it_is_said_why() -> None:
    assert {name: found for name, module in MODULES.items() if (found := privates(module))} == PRIVATES


@pytest.mark.quick
def test_no_helper_is_written_twice() -> None:
    """Classes and functions of the same words, whatever their names; those of up to three lines may be."""
    written = defaultdict(list)
    for name, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                words = "\n".join(map(ast.unparse, body))
                if words.count("\n") >= 3:
                    written[words].append(f"{name}: {node.name}")
    assert [places for places in written.values() if len(places) > 1] == []


@pytest.mark.quick
def test_there_is_one_home_for_clocks() -> None:
    """A clock that the test turns is clocks.Hand, in milliseconds, or clocks.Seconds."""
    homes = {
        (name, node.name)
        for name, module in MODULES.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name in ("Hand", "Seconds")
    }
    assert homes == {("clocks.py", "Hand"), ("clocks.py", "Seconds")}
