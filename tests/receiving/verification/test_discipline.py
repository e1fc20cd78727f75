"""What no test of behaviour could show: how secrets are compared, and who makes a Webhook."""

import ast
from pathlib import Path

import pytest

import bridge

ROOT = Path(bridge.__file__).parent
ROOMS = [ROOT / "receiving" / "verification", ROOT / "receiving" / "senders"]
MODULES = sorted(path for room in ROOMS for path in room.rglob("*.py"))
WORDS = "candidate credential derived digest expected genuine hmac key_of ours password reveal secret shown signature"
SENSITIVE = (*WORDS.split(), "theirs", "token")
COMPARING = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def names(node: ast.AST) -> list[str]:
    return [
        getattr(part, "id", "") or getattr(part, "attr", "")
        for part in ast.walk(node)
        if isinstance(part, ast.Name | ast.Attribute)
    ]


def careless(source: str) -> list[str]:
    """The comparisons of a module that touch secret material without compare_digest."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(operator, COMPARING) for operator in node.ops):
            touched = [name for part in (node.left, *node.comparators) for name in names(part)]
            if any(word in name.lower() for name in touched for word in SENSITIVE):
                found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith", "find", "index"):
            touched = names(node)
            if any(word in name.lower() for name in touched for word in SENSITIVE):
                found.append(ast.unparse(node))
        if isinstance(node, ast.Match) and any(
            word in name.lower() for name in names(node.subject) for word in SENSITIVE
        ):
            found.append(ast.unparse(node.subject))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_compares_secret_material_but_compare_digest(path: Path) -> None:
    assert careless(path.read_text(encoding="utf-8")) == []


def test_the_check_above_finds_what_it_looks_for() -> None:
    for text in ("a == secret", "self.token != b", "x in secrets", "secret.reveal() == x", "digest.startswith(x)"):
        assert careless(text) == [text]
    assert careless("len(value) > 20") == careless("hmac.compare_digest(theirs, ours)") == []


def test_one_place_compares_and_it_does_so_in_constant_time() -> None:
    calls = [
        (path.name, ast.unparse(node))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and "compare_digest" in names(node.func)
    ]
    assert calls == [("secret_match.py", "hmac.compare_digest(theirs, ours)")]


def test_only_verification_and_the_store_make_a_webhook() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and "Webhook" in names(node.func)
    }
    allowed = {path for path in makers if path.startswith(("receiving/verification/", "store/"))}
    assert makers == allowed
    assert "receiving/verification/verifier.py" in makers
