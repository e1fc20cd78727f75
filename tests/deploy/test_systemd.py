"""The units: what they promise, by their own words and by systemd's own judgement where it is installed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .files import NEEDED_TO_STOP, ROOT, block, secrets_named, unit

NAME = "superoffice-bridge"
SERVICE = unit(f"{NAME}.service")
SOCKET = unit(f"{NAME}.socket")
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """The units, with a bridge that exists."""
    bin_directory = Path(sys.executable).parent
    assert (bin_directory / "bridge").exists()
    for name in (f"{NAME}.service", f"{NAME}.socket"):
        text = (ROOT / "deploy" / name).read_text().replace(f"/opt/{NAME}/bin", str(bin_directory))
        (tmp_path / name).write_text(text)
    return [str(tmp_path / f"{NAME}.service"), str(tmp_path / f"{NAME}.socket")]


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(installed: list[str]) -> None:
    done = subprocess.run([str(ANALYZE), "verify", *installed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_calls_the_service_well_confined(installed: list[str]) -> None:
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=yes", "--threshold=20", installed[0]],  # 2.0 of 10; 10 is unconfined
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_takes_its_socket_from_systemd_on_this_machine_only() -> None:
    assert SERVICE["Requires"] == [f"{NAME}.socket"]
    assert SERVICE["Also"] == [f"{NAME}.socket"]
    assert all(stream.startswith("127.0.0.1:") for stream in SOCKET["ListenStream"])
    assert len(SOCKET["ListenStream"]) == 1
    assert "Accept" not in SOCKET


def test_systemd_waits_for_the_drain() -> None:
    (seconds,) = SERVICE["TimeoutStopSec"]
    assert int(seconds.removesuffix("s")) * 1000 > NEEDED_TO_STOP


def test_the_store_of_the_readme_is_in_the_state_directory() -> None:
    assert f"url: sqlite:////var/lib/{SERVICE['StateDirectory'][0]}/bridge.db" in block(
        "yaml", "systemd/config/bridge.yaml"
    )


def test_the_service_hands_over_exactly_the_secrets_that_the_readme_uses() -> None:
    credentials = dict(credential.split(":") for credential in SERVICE["LoadCredential"])
    assert {f"/run/credentials/{NAME}.service/{name}" for name in credentials} == secrets_named("systemd")
    assert all(path == f"/etc/{NAME}/secrets/{name}" for name, path in credentials.items())
    assert "Environment" not in SERVICE


def test_the_readme_starts_what_the_units_name() -> None:
    (command,) = SERVICE["ExecStart"]
    program, _, configuration, verb = command.split()
    assert verb == "serve"
    readme = (ROOT / "deploy" / "README.md").read_text()
    assert f"{program} --config {configuration} check" in readme
    assert re.search(rf"python3\.11 -m venv {program.removesuffix('/bin/bridge')}\n", readme)
    assert f"useradd --system --no-create-home --shell /usr/sbin/nologin {SERVICE['User'][0]}\n" in readme
