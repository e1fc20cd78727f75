"""docs/content.md and docs/superoffice-webhooks.md keep their word: what they show is read, loaded and run."""

import json
import re
from pathlib import Path

import pytest
from test_docs import ENVIRONMENT, blocks

from bridge import content_codings
from bridge.mapping.rules import Rules
from bridge.model import Content
from bridge.operations.rules import rule_tests
from bridge.operations.rules.dry_run import dry_run
from bridge.receiving.content import body, forms
from bridge.service.rules import build_rules
from bridge.settings.configuration import Source

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "content.md").read_text()
LOOP = (DOCS / "superoffice-webhooks.md").read_text()
BRIDGE = "targets: {crm: {url: http://127.0.0.1/api, authorization: {scheme: bearer, token: t}}}\n"

EXAMPLES = re.findall(r"```request (\w+)\n(.*?)```\s+```json\n(.*?)```", PAGE, re.DOTALL)


def loaded(page: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Source, Rules]:
    """The configuration that a page's files are."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (directory / "config").mkdir()
    (directory / "config" / "bridge.yaml").write_text(BRIDGE)
    for kind in ("yaml", "json"):
        for info, content in blocks(page, kind):
            if info.startswith("file="):
                path = directory / "config" / info.removeprefix("file=")
                path.parent.mkdir(exist_ok=True)
                path.write_text(content)
    (built,) = build_rules(directory / "config")
    return built


@pytest.mark.parametrize(("content", "request_", "expected"), EXAMPLES, ids=[content for content, _, _ in EXAMPLES])
def test_each_body_is_read_as_the_page_shows(content: str, request_: str, expected: str) -> None:
    head, _, raw = request_.rstrip("\n").partition("\n\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head.splitlines())}
    sent = raw.replace("\n", "\r\n").encode()
    assert body.read(headers, sent, Content(content)).value == json.loads(expected)


def test_the_page_shows_each_content_that_has_a_structure() -> None:
    assert {content for content, _, _ in EXAMPLES} == {"form", "json", "xml"}
    assert set(re.findall(r"^\| `([a-z]+)`", PAGE, re.MULTILINE)) == {content.value for content in Content}
    for number in (f"{forms.MAX_FIELDS:,} fields", f"{forms.MAX_FILE_TEXT // 1024} KiB", f"{body.MAX_DEPTH} levels"):
        assert number in PAGE
    for name in content_codings.SUPPORTED - {"", "identity", "x-gzip"}:
        assert name in PAGE


@pytest.mark.parametrize(
    ("lines", "skus"),
    [("", []), ("<line><sku>CRM-1</sku></line>", ["CRM-1"]), ("<line><sku>CRM-1</sku></line>" * 2, ["CRM-1"] * 2)],
)
def test_the_rule_for_repeated_elements_is_right_for_none_one_and_many(
    lines: str, skus: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rules = loaded(PAGE, tmp_path, monkeypatch)
    payload = f"<order number='1001'><customer id='7'>Anna</customer>{lines}</order>".encode()
    mapping = dry_run(source.name, rules, payload, {"Content-Type": "application/xml"})
    assert mapping.error is None
    assert [event.attributes for event in mapping.events] == [
        {"order": "1001", "customer": "Anna", "sku": sku} for sku in skus
    ]


def test_the_guard_against_the_loop_passes_its_tests_and_each_part_of_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, rules = loaded(LOOP, tmp_path, monkeypatch)
    results = list(rule_tests.run(source, rules))
    assert [result.different for result in results] == [[], []]
    assert source.settings is not None
    assert source.settings.rate is not None
    assert source.settings.respond.model_dump(exclude_none=True) == {"accepted": 200}
    changed = json.loads((tmp_path / "config" / "payloads" / "contact-changed.json").read_text())

    def makes_events(**other: object) -> bool:
        return bool(dry_run(source.name, rules, json.dumps(changed | other).encode(), {}).events)

    assert makes_events()
    for associate in (7, 12):
        assert not makes_events(ChangedByAssociateId=associate)
    assert not makes_events(Changes=["phone"])
    assert not makes_events(Event="contact.deleted")
