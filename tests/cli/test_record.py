"""What commands load of the configuration: each file once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BRIDGE = """
store: {url: "sqlite:///bridge.db"}
targets:
  crm: {url: http://127.0.0.1:1/api, authorization: {scheme: bearer, token: "${TOKEN}"}}
"""
SOURCE = "verify: {scheme: none}\nrules:\n  - {name: sold, target: crm, event: {type: SaleSold}}\n"
COUNTING = """
import sys

counts = {"bridge.yaml": 0, "shop.yaml": 0}


def count(event, arguments):
    if event == "open" and (name := str(arguments[0]).rpartition("/")[2]) in counts:
        counts[name] += 1


sys.addaudithook(count)
try:
    from bridge.cli.main import main

    main()
finally:
    print(f"opened {counts['bridge.yaml']} {counts['shop.yaml']}")
"""


@pytest.mark.parametrize(
    "words",
    [
        "events list",
        "webhooks show wh_1",
        "events replay --source shop --yes",
        "webhooks remap --source shop --yes",
        "targets pause crm",
        "secrets shop",
        "doctor",
    ],
)
def test_a_command_reads_each_file_of_the_configuration_once(words: str, tmp_path: Path, sqlite_url: str) -> None:
    assert sqlite_url.endswith(f"{tmp_path}/bridge.db")
    directory = tmp_path / "config"
    (directory / "sources").mkdir(parents=True)
    (directory / "bridge.yaml").write_text(BRIDGE)
    (directory / "sources" / "shop.yaml").write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, "--config", str(directory), *words.split()],
        env={**os.environ, "TOKEN": "x" * 16},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "opened 1 1", done.stderr
