import json

from running import run

from bridge.receiving.verification.senders import SENDERS


def test_all_schemes_are_listed_with_what_each_needs_and_no_configuration_is_needed() -> None:
    listed = run("schemes")
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["scheme", "sender", "needs", "proves"]
    assert [line.split()[0] for line in lines[1:]] == list(SENDERS)
    square = next(line for line in lines if line.startswith("square"))
    assert "`secrets`: the subscription's signature key; `public_url`" in square


def test_they_are_listed_as_json_too() -> None:
    rows = json.loads(run("schemes", "--json").stdout)
    assert [row["scheme"] for row in rows] == list(SENDERS)
    assert json.loads(run("schemes", "zendesk", "--json").stdout)["example"].startswith("# sources/zendesk.yaml")


def test_one_is_explained_with_an_example() -> None:
    told = run("schemes", "zendesk").stdout
    assert 'verify: {scheme: zendesk, secrets: ["${ZENDESK_SECRET}"]}' in told
    assert "X-Zendesk-Webhook-Signature" in told


def test_an_unknown_one_ends_with_code_1_and_the_nearest() -> None:
    failed = run("schemes", "zendsk")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.strip() == "bridge: there is no scheme zendsk, did you mean zendesk?"
    assert "`bridge schemes` lists them" in run("schemes", "qqqqqq").stderr
