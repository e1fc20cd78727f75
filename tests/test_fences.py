"""What no linter says of the house: who reads the environment, and that nothing is written twice."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

BRIDGE = Path(__file__).parent.parent / "bridge"
MODULES = sorted(BRIDGE.rglob("*.py"))
# LISTEN_FDS is the service manager's word, and a child process gets the environment as it is.
ENVIRONMENT = {"settings", "web/serving.py", "sandbox/demo.py"}
# Rows of data, and the history of the tables, which must not change with anything.
DATA = ("receiving/senders/catalog.py", "receiving/handshakes/catalog.py", "store/tables.py", "store/migrations/")
MOST = 5  # lines that may stand twice


def place(path: Path) -> str:
    return path.relative_to(BRIDGE).as_posix()


def test_the_environment_is_read_in_one_room() -> None:
    for path in MODULES:
        if not {place(path), place(path).split("/")[0]} & ENVIRONMENT:
            assert not re.search(r"\benviron\b|\bgetenv\b", path.read_text()), path


def test_no_module_has_over_300_lines_but_the_senders_table() -> None:
    long = {place(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name for name, lines in long.items() if lines > 300} == {"receiving/senders/catalog.py"}


def test_no_constant_of_a_module_is_set_twice() -> None:
    """The second would change what the first says, and nobody would see it."""
    for path in MODULES:
        body = ast.parse(path.read_text()).body
        targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        assert len(names) == len(set(names)), path


def code(path: Path) -> list[tuple[int, str]]:
    """The lines of a module that do something, by their numbers: no imports, docstrings, comments or lone brackets."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    lines: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            lines[token.start[0]].append(token.string)
    return [
        (n, " ".join(words))
        for n, words in sorted(lines.items())
        if n not in left_out and re.search(r"\w", "".join(words))
    ]


def test_no_six_lines_stand_twice() -> None:
    seen: dict[tuple[str, ...], str] = {}
    twice: list[str] = []
    for path in MODULES:
        if place(path).startswith(DATA):
            continue
        lines = code(path)
        for index in range(len(lines) - MOST):
            window = tuple(text for _, text in lines[index : index + MOST + 1])
            here = f"{place(path)}:{lines[index][0]}"
            if (there := seen.setdefault(window, here)) != here:
                twice.append(f"{there} and {here}")
    assert not twice
