"""What is told of the schemes is true: every example loads, every need is told, the table holds every row."""

import re
from pathlib import Path

import pytest

from bridge.errors import Severity
from bridge.operations import sender_docs
from bridge.receiving.senders.catalog import SENDERS
from bridge.service import composition

BRIDGE = """
targets:
  crm: {url: http://127.0.0.1:1/api, attributes_format: json, authorization: {scheme: bearer, token: t}}
"""
KEYS = {
    "discord": "00" * 31 + "01",
    "sendgrid": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw"
    "+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
}
ANY = "whsec_b3VyIG93biBzZWNyZXQgb2YgdGhlIHRlc3RzIQ=="


@pytest.mark.parametrize("name", SENDERS)
def test_every_example_is_a_source_without_a_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = sender_docs.example(name)
    for variable in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(variable, KEYS.get(name, ANY))
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(BRIDGE)
    (tmp_path / "sources" / f"{name}.yaml").write_text(text)
    built = composition.build(tmp_path)
    assert set(built.sources) == {name}
    assert [problem for problem in built.problems if problem.severity is Severity.ERROR] == []
    assert built.problems == [] or name == "none"
    settings = built.sources[name].settings
    assert settings.respond.accepted == SENDERS[name].status
    assert settings.methods == SENDERS[name].methods


def test_what_a_sender_wants_is_what_a_source_does_unless_it_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(BRIDGE)
    verify = "verify: {scheme: slack, secrets: [s]}\nrules: []\n"
    (tmp_path / "sources" / "a.yaml").write_text(verify)
    (tmp_path / "sources" / "b.yaml").write_text(verify + "respond: {accepted: 202, ignored: 204}\nmethods: [PUT]\n")
    (tmp_path / "sources" / "c.yaml").write_text(verify + "respond: {ignored: 204}\n")
    sources = {name: source.settings for name, source in composition.build(tmp_path).sources.items()}
    assert (sources["a"].respond.accepted, sources["a"].respond.ignored, sources["a"].methods) == (200, None, ("POST",))
    assert (sources["b"].respond.accepted, sources["b"].respond.ignored, sources["b"].methods) == (202, 204, ("PUT",))
    assert (sources["c"].respond.accepted, sources["c"].respond.ignored) == (200, 204)


def test_a_row_tells_what_people_must_know() -> None:
    rows = {row["scheme"]: row for row in sender_docs.rows()}
    assert list(rows) == list(SENDERS)
    zendesk = rows["zendesk"]
    assert zendesk["proves"] == "HMAC-SHA256 of time and body in `X-Zendesk-Webhook-Signature`"
    assert zendesk["replay"] == "`X-Zendesk-Webhook-Signature-Timestamp`, 5 min"
    assert (zendesk["delivery_id"], zendesk["delivery_id_signed"]) == (
        "headers['x-zendesk-webhook-invocation-id']",
        False,
    )
    assert rows["linear"]["replay"] == "`body.webhookTimestamp`, where it is there, 1 min"
    assert rows["stripe"]["replay"] == "`t=` in the header, 5 min"
    assert rows["stripe"]["delivery_id_signed"]
    assert rows["github"]["replay"] == "none: no time is signed"
    assert rows["square"]["public_url"]
    assert not rows["xero"]["answer_has_body"]
    assert rows["trello"]["proves"] == "HMAC-SHA1 of body and URL in `X-Trello-Webhook`"
    assert sender_docs.needs(rows["pipedrive"]).endswith("; `username`")
    assert sender_docs.needs(rows["none"]) == "nothing"


def test_the_page_has_a_row_for_each_and_says_what_is_not_confirmed() -> None:
    page = sender_docs.markdown()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [re.match(r"\| `([a-z0-9-]+)` \|", line)[1] for line in rows] == list(SENDERS)  # type: ignore[index]
    assert len({line.count(" | ") for line in rows}) == 1
    for name, row in SENDERS.items():
        assert not row.unconfirmed or row.unconfirmed in page, name
        assert not row.note or row.note in page, name
