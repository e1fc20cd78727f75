"""docs/rotating-secrets.md, step by step: no webhook is refused, whichever secret its sender signs by at the time."""

import hashlib
import hmac
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from running import Bridge, Superoffice
from test_docs import blocks

_PAGE = (Path(__file__).parents[2] / "docs" / "rotating-secrets.md").read_text(encoding="utf-8")
_OLD, _NEW = "the-secret-that-was", "the-secret-to-come"


def test_a_secret_is_changed_without_a_refused_webhook(
    make_bridge: Callable[..., Bridge], sandbox: Superoffice
) -> None:
    steps = {info.removeprefix("file="): content for info, content in blocks(_PAGE, "sh")}
    assert list(steps) == ["write", "check", "look", "promote", "empty"]
    ((_, source),) = blocks(_PAGE, "yaml")
    target = sandbox.target("rotated", attributes_format="json")
    bridge = make_bridge({"crm": target}, {"shop": source.replace("/run/secrets/", "../")})
    (bridge.root / "shop").write_text(f"{_OLD}\n")
    (bridge.root / "shop_next").write_text("")
    (bridge.root / "new-secret").write_text(f"{_NEW}\n")
    (bridge.root / "bin").mkdir()
    (bridge.root / "bin" / "bridge").write_text(f'#!/bin/sh\nexec {sys.executable} -m bridge "$@"\n')
    (bridge.root / "bin" / "bridge").chmod(0o755)

    def do(step: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", steps[step].replace("/run/secrets/", "")],
            cwd=bridge.root,
            env={"PATH": f"{bridge.root}/bin:/usr/bin:/bin", **bridge.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    def sent(number: int, secret: str) -> int:
        body = b'{"n": %d}' % number
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return bridge.post("shop", body, {"X-Signature": signature}).status_code

    bridge.start()
    assert (sent(1, _OLD), sent(2, _NEW)) == (202, 401)
    do("write")
    assert do("check") == "ok: 1 sources, 0 rules, 1 targets\n"
    assert (sent(3, _OLD), sent(4, _NEW), sent(5, _OLD)) == (202, 202, 202)
    bridge.told("webhook.accepted", 4)
    assert [line.partition('"secret":')[2][0] for line in do("look").splitlines()] == ["1", "1", "2", "1"]
    do("promote")
    assert (sent(6, _NEW), sent(7, _OLD)) == (202, 401)
    do("empty")
    assert (sent(8, _NEW), sent(9, _OLD)) == (202, 401)

    files = {"next": str(bridge.config / "../shop_next"), "first": str(bridge.config / "../shop")}
    lines = [(line["file"], line["problem"], line["level"]) for line in bridge.told("secret.read", 3)]
    assert lines == [
        (files["next"], None, "info"),
        (files["first"], None, "info"),
        (files["next"], "is empty", "warning"),
    ]
    assert bridge.stop() == 0
    log = bridge.log.read_text()
    assert _OLD not in log
    assert _NEW not in log
