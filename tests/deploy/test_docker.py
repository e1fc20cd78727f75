"""There is no Docker engine in the tests: what can be known of the image without one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from running import Bridge, Superoffice, free_port

from bridge import __version__
from bridge.settings.parsing import duration
from bridge.settings.schema import AdminSettings, ListenSettings, StoreSettings
from bridge.store import database

from .files import COMPOSE, NEEDED_TO_STOP, ROOT, exec_form, instruction, instructions, secrets_named

SERVICE = COMPOSE["services"]["bridge"]
SOURCE = 'verify: {scheme: github, secrets: ["${SECRET}"]}\nrules: []\n'


def test_both_stages_have_one_base_of_a_pinned_version() -> None:
    bases = [rest.removesuffix(" AS build") for word, rest in instructions() if word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases[0])


def test_the_command_is_started_without_a_shell_so_that_sigterm_drains() -> None:
    assert exec_form(instruction("ENTRYPOINT")) + exec_form(instruction("CMD")) == [
        *("bridge", "--config", "/config", "serve")
    ]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_it_runs_as_a_user_by_number_who_is_not_root() -> None:
    words = [word for word, _ in instructions()]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instruction("USER"))
    assert "RUN" not in words[words.index("USER") :]


def test_the_volumes_are_the_configuration_and_where_the_store_is_by_default() -> None:
    assert exec_form(instruction("VOLUME")) == ["/config", "/var"]
    assert database.located(StoreSettings().url, Path("/config")) == "sqlite:////var/bridge.db"


def test_the_default_ports_are_exposed() -> None:
    admin = AdminSettings.model_fields["port"].default
    assert instruction("EXPOSE").split() == [str(ListenSettings().port), str(admin)]


def test_dependencies_are_installed_by_hash_and_the_bridge_without_any() -> None:
    installs = [part.strip() for word, rest in instructions() if word == "RUN" for part in rest.split("&&")]
    installs = [part for part in installs if " install --" in part]
    assert [("--require-hashes" in part, "--no-deps" in part) for part in installs] == [(True, False), (False, True)]
    lock = re.sub(r"^ *#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    requirements = lock.replace("\\\n", "").splitlines()
    assert len(requirements) > 20
    assert [line for line in requirements if line.strip() and " --hash=sha256:" not in line] == []


def copied() -> set[str]:
    return {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }


def test_what_is_copied_exists_and_is_all_that_the_build_sees() -> None:
    assert all((ROOT / source).exists() for source in copied())
    first, *lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied()


def test_what_the_wheel_is_built_of_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (readme,) = re.findall(r'^readme = "(.*)"$', project, re.MULTILINE)
    (packages,) = re.findall(r'wheel\]\npackages = \["(.*)"\]', project)
    assert {readme, packages, "pyproject.toml"} <= copied()


def test_no_secret_is_built_in() -> None:
    words = [word for word, _ in instructions()]
    assert "ARG" not in words
    assert "ADD" not in words
    assert not re.search("token|password|secret", " ".join(rest for _, rest in instructions()), re.IGNORECASE)


def test_the_health_check_tells_a_bridge_from_none(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    _, shell, arguments = instruction("HEALTHCHECK").partition("CMD ")
    assert shell
    python, *rest = exec_form(arguments)
    assert python == "python"
    bridge = make_bridge({"crm": sandbox.target("healthy")}, {"github": SOURCE}).start()

    def checked(port: int) -> int:
        environment = os.environ | {"BRIDGE_PORT": str(port)}
        return subprocess.run(
            [sys.executable, *rest], env=environment, check=False, stderr=subprocess.DEVNULL
        ).returncode

    assert checked(bridge.port) == 0
    assert checked(free_port()) == 1


def test_compose_builds_this_version_from_this_dockerfile() -> None:
    assert (ROOT / "deploy" / SERVICE["build"] / "Dockerfile").resolve() == ROOT / "Dockerfile"
    assert SERVICE["image"] == f"superoffice-bridge:{__version__}"


def test_compose_lets_it_write_nothing_but_its_store() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    mounts = [mount.split(":") for mount in SERVICE["volumes"]]
    assert mounts == [["./config", "/config", "ro"], ["store", "/var"]]
    assert "store" in COMPOSE["volumes"]


def test_compose_waits_for_the_drain() -> None:
    assert duration(SERVICE["stop_grace_period"]) > NEEDED_TO_STOP


def test_compose_opens_no_port_to_other_machines() -> None:
    assert len(SERVICE["ports"]) == 2
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])


def test_compose_hands_over_exactly_the_secrets_that_the_readme_uses() -> None:
    assert set(SERVICE["secrets"]) == set(COMPOSE["secrets"])
    assert {f"/run/secrets/{name}" for name in SERVICE["secrets"]} == secrets_named("compose")
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {
        f"./secrets/{name}" for name in SERVICE["secrets"]
    }
    assert "environment" not in SERVICE
