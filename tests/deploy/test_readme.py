"""The page keeps its word: its files exist, its configurations have no problem, its backup is one."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from running import HANG, Bridge, Superoffice, by_github

from bridge.service import composition
from bridge.settings.parsing import size
from bridge.settings.schema import ListenSettings
from bridge.store import reader

from .files import README, ROOT, block, configured

SOURCE = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: pushed
    event: {type: Run}
"""
SECRETS = {name: f"{name}-of-the-tests\n" for name in ("admin_token", "so_password", "github_secret")}


def test_every_file_and_heading_that_is_linked_exists() -> None:
    titles = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    headings = {re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", README)
    assert len(links) > 8
    for path, heading in links:
        assert (ROOT / "deploy" / path).exists(), path
        assert path or heading in headings, heading


def test_every_file_of_ours_that_a_command_names_exists() -> None:
    named = re.findall(r"(?:^|[ \"])((?:deploy/)?[\w-]+\.(?:lock|service|socket|yaml|md))(?=[ \n\"])", README)
    ours = {name for name in named if name != "bridge.yaml"} - {"superoffice-bridge.service"}
    assert {"requirements.lock", "deploy/superoffice-bridge.socket"} <= ours
    for name in ours:
        assert (ROOT / name).exists() or (ROOT / "deploy" / name).exists(), name


@pytest.mark.parametrize("way", ["compose", "systemd"])
def test_the_configuration_of_each_way_has_no_problem(way: str, tmp_path: Path) -> None:
    built = composition.build(configured(way, tmp_path, SECRETS))
    assert built.problems == []
    assert list(built.sources) == ["github"]
    assert list(built.targets) == ["crm"]


def test_both_proxies_hand_over_whole_requests_of_the_largest_size_that_the_bridge_takes() -> None:
    (caddy,) = re.findall(r"```caddy\n(.*?)```", README, re.DOTALL)
    sizes = dict(re.findall(r"(request_buffers|max_size) (\S+)", caddy))
    assert sizes == {"request_buffers": "1MiB", "max_size": "1MiB"}
    (nginx,) = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)
    assert "client_max_body_size 1m;" in nginx
    assert "proxy_request_buffering" not in nginx  # it is on by itself
    assert ListenSettings().max_body == size("1MiB")


def test_a_backup_is_whole_and_made_while_the_bridge_runs(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    bridge = make_bridge({"crm": sandbox.target("backup")}, {"github": SOURCE}).start()
    assert bridge.post("github", b"{}", by_github(b"{}", "the-one", "push")).status_code == 202
    for way, state in (("systemd", "/var/lib/superoffice-bridge"), ("compose", "/var")):
        copy = bridge.root / f"{way}.db"
        copy.touch(0o644)  # as an earlier one left it
        command = block("sh", f"backup-{way}").splitlines()[0]
        command = command.replace(f"{state}/bridge.db", str(bridge.store)).replace(f"{state}/backup.db", str(copy))
        arguments = shlex.split(command)
        subprocess.run([sys.executable, *arguments[arguments.index("-c") :]], check=True, timeout=HANG)
        with reader.reading(f"sqlite:///{copy}") as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            (webhook,) = reader.list_webhooks(connection, reader.Filter(), 10)
        assert webhook["dedupe_key"] == "the-one"
        assert copy.stat().st_mode & 0o777 == 0o600
    assert bridge.stop() == 0
