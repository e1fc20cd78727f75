"""A line looks as promised, and whatever happens to the log, nothing else fails by it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import HANG

PROGRAM = "import logging, sys\nfrom bridge.observing import logs\nfrom bridge.observing.logs import log\n"


def run(script: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([sys.executable, "-c", PROGRAM + script], timeout=HANG, check=False, **options)  # type: ignore[call-overload, no-any-return]


def lines(script: str) -> list[dict[str, object]]:
    done = run(script, capture_output=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_line_is_json_with_its_name_level_and_time() -> None:
    (line,) = lines("logs.configure('info', 'json')\nlog.info(logs.EVENT_DEAD, event_id='ev_1', attempts=2)")
    assert line.pop("timestamp")
    assert line == {"event": "event.dead", "level": "info", "event_id": "ev_1", "attempts": 2}


def test_lines_below_the_level_are_dropped() -> None:
    script = "logs.configure('warning', 'json')\nlog.info(logs.EVENT_DEAD)\nlog.warning(logs.EVENT_HELD)"
    assert [line["event"] for line in lines(script)] == ["event.held"]


def test_auto_is_json_where_nobody_watches() -> None:
    assert lines("logs.configure()\nlog.info(logs.EVENT_DEAD)")


def test_what_libraries_log_becomes_a_line_without_the_arguments() -> None:
    (line,) = lines("logs.configure('info', 'json')\nlogging.getLogger('x').error('failed: %s', 'a body')")
    assert line["event"] == "library.logged"
    assert line["message"] == "failed: %s"
    assert "a body" not in json.dumps(line)


def test_an_unexpected_exception_is_told_without_its_text() -> None:
    script = """
logs.configure('info', 'json')
try:
    {}['a body']
except KeyError as error:
    log.error(logs.MAPPING_FAILED, **logs.where(error))
"""
    (line,) = lines(script)
    assert line["error"] == "KeyError"
    assert "a body" not in json.dumps(line)


def test_a_stdout_that_was_closed_gives_no_file_the_lines(tmp_path: Path) -> None:
    script = f"""
logs.configure('info', 'json')
file = open({str(tmp_path / "store")!r}, 'wb')
log.error(logs.EVENT_DEAD, event_id='ev_1')
logs.flush()
"""
    assert run(script, preexec_fn=lambda: os.close(1)).returncode == 0
    assert (tmp_path / "store").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("format_", ["json", "pretty"])
def test_a_full_disk_under_the_log_fails_nothing_and_is_counted(format_: str) -> None:
    script = f"""
logs.configure('info', '{format_}')
for _ in range(2000):
    log.info(logs.EVENT_DEAD, event_id='ev_1')
logs.flush()
sys.exit(logs.dropped() != 2000)
"""
    with Path("/dev/full").open("wb") as full:
        assert run(script, stdout=full).returncode == 0


def test_pretty_lines_are_for_people_in_their_order() -> None:
    script = "logs.configure('info', 'pretty')\nlog.info(logs.EVENT_DEAD, name='Åse')\nlog.warning(logs.EVENT_HELD)"
    first, second = run(script, stdout=subprocess.PIPE).stdout.decode().splitlines()
    assert "event.dead" in first
    assert "Åse" in first
    assert "event.held" in second
