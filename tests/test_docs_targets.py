"""The examples of docs/targets.md are targets and rules without a problem."""

import re
from pathlib import Path

import pytest
from authorities import authority

from bridge.service import composition

PAGE = (Path(__file__).parent.parent / "docs" / "targets.md").read_text()
AUTHORITY = authority()
CLIENT = AUTHORITY.issue("bridge.example.com")
FILES = {
    "company-ca.pem": AUTHORITY.pem,
    "bridge.crt": CLIENT.pem,
    "bridge.key": CLIENT.key_pem,
    "gateway.key": b"hush",
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```yaml {kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("target", blocks("targets"))
def test_the_examples_are_sound(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SO_USER", "SO_PASSWORD", "PROXY_PASSWORD"):
        monkeypatch.setenv(name, "value")
    (tmp_path / "sources").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    indented = "".join(f"  {line}\n" for line in target.replace("/etc/ssl/", "").splitlines())
    (tmp_path / "bridge.yaml").write_text(f"targets:\n{indented}")
    (rule,) = blocks("rule")
    listed = "  - " + rule.replace("\n", "\n    ").rstrip()
    source = f"verify: {{scheme: token, header: X-Token, secrets: [a-secret-of-the-tests]}}\nrules:\n{listed}\n"
    (tmp_path / "sources" / "shop.yaml").write_text(source)
    built = composition.build(tmp_path)
    assert built.problems == []
    assert list(built.targets) == ["crm"]
    assert built.sources["shop"].rules.rules[0].headers is not None
