"""docs/architecture.md keeps its word: each hop of its walks is a function of that name, each room is in its table."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()
WALKS = dict(re.findall(r"^### ([^\n]+)\n(.+?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))
HOPS = [
    pytest.param(hop, id=f"{walk} {number} {hop}")
    for walk, text in WALKS.items()
    for number, hop in re.findall(r"^(\d+)\. `([\w.]+)`: ", text, re.MULTILINE)
]


def test_webhook_setting_and_action_each_have_a_walk_with_numbered_hops() -> None:
    assert list(WALKS) == ["One webhook", "One setting", "One operator's action"]
    for text in WALKS.values():
        numbers = [int(number) for number in re.findall(r"^(\d+)\. `[\w.]+`: ", text, re.MULTILINE)]
        assert len(numbers) >= 5
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == len(re.findall(r"^\d+\.", text, re.MULTILINE))


@pytest.mark.parametrize("hop", HOPS)
def test_each_hop_is_a_function_of_that_name(hop: str) -> None:
    *room, owner, name = hop.split(".")
    found: Any
    if owner[0].isupper():
        found = vars(getattr(importlib.import_module(".".join(["bridge", *room])), owner))[name]
        module = ".".join(["bridge", *room])
    else:
        module = ".".join(["bridge", *room, owner])
        found = getattr(importlib.import_module(module), name)
    assert callable(found)
    assert found.__module__ == module
    assert found.__name__ == name


def test_each_room_is_in_the_table_once() -> None:
    rooms = {package.parent.name for package in (ROOT / "bridge").glob("*/__init__.py")}
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == sorted(rooms)


def test_the_picture_shows_the_layers_that_the_import_linter_keeps() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [layer.replace("bridge.", "") for layer in layers if layer != "bridge.__main__"]
    assert "\n".join([*rooms[:-1], "model : errors : ..."]) in PAGE
    assert rooms[-1].startswith("model : ")
