"""What stands in deploy/ and the Dockerfile, as data."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bridge.settings.schema import DrainSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy" / "README.md").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "deploy" / "compose.yaml").read_text())
NEEDED_TO_STOP = DrainSettings().grace + DrainSettings().timeout  # milliseconds


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order: (`RUN`, the rest)."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in pairs]


def instruction(word: str) -> str:
    """The one instruction of that name."""
    (rest,) = [rest for found, rest in instructions() if found == word]
    return rest


def exec_form(text: str) -> list[str]:
    """The arguments of an instruction in exec form: started without a shell, so that signals reach it."""
    arguments = json.loads(text)
    assert isinstance(arguments, list)
    return [str(argument) for argument in arguments]


def unit(name: str) -> dict[str, list[str]]:
    """A systemd unit's directives, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "deploy" / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def block(kind: str, file: str) -> str:
    """The README's fenced block that is a file of that name."""
    (content,) = re.findall(rf"```{kind} file={re.escape(file)}\n(.*?)```", README, re.DOTALL)
    return str(content)


def configured(way: str, into: Path, secrets: Mapping[str, str]) -> Path:
    """Write the configuration that the README shows for a way to run it; its secrets stand in `into`, as `secrets`."""
    config = into / "config"
    (config / "sources").mkdir(parents=True)
    for name, text in secrets.items():
        (into / name).write_text(text)
    for file in ("bridge.yaml", "sources/github.yaml"):
        text = re.sub(r"\$\{file:/run/[^}]*/(\w+)\}", rf"${{file:{into}/\1}}", block("yaml", f"{way}/config/{file}"))
        (config / file).write_text(text)
    return config


def secrets_named(way: str) -> set[str]:
    """The secrets that this configuration reads, by the path where its way puts them."""
    text = block("yaml", f"{way}/config/bridge.yaml") + block("yaml", f"{way}/config/sources/github.yaml")
    return set(re.findall(r"\$\{file:([^}]*)\}", text))
