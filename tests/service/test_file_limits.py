"""How many files a process may open is raised to what its targets need, as far as the system lets it."""

import subprocess
import sys

import pytest

# In a process of its own, since a limit that is lowered stays so.
SCRIPT = """
import resource, sys
from bridge.service import file_limits
from bridge.settings.target_schema import TargetSettings
soft, hard, targets = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
target = {"url": "https://crm.example.com/api", "authorization": {"scheme": "basic"}, "max_in_flight": 8}
print(file_limits.allow([TargetSettings.model_validate(target)] * targets))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def allowed(soft: int, hard: int, targets: int) -> list[str]:
    command = (sys.executable, "-c", SCRIPT, str(soft), str(hard), str(targets))
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("soft", "hard", "targets", "then"),
    [
        (1024, 10048, 1000, 10048),
        (1024, 12000, 1000, 10048),
        (1024, 4096, 1, 2056),
        (3000, 4096, 1, 3000),
    ],
)
def test_the_limit_is_raised_to_what_the_targets_need(soft: int, hard: int, targets: int, then: int) -> None:
    assert allowed(soft, hard, targets) == ["None", f"{then} {hard}"]


def test_where_the_system_forbids_it_as_much_as_may_be_is_taken_and_the_rest_is_told() -> None:
    problem, limit = allowed(1024, 4096, 1000)
    assert limit == "4096 4096"
    assert problem == (
        "the targets may have 8000 connections at once, but this process may open 4096 files only, "
        "raise its limit (LimitNOFILE) to 10048, or lower max_in_flight"
    )
