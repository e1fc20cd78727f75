import json

from end_to_end.conftest import Command

from bridge.receiving.senders.catalog import SENDERS


def test_all_schemes_are_listed_with_what_each_needs_and_no_configuration_is_needed(command: Command) -> None:
    code, listed, err = command("schemes")
    assert code == 0, err
    lines = listed.splitlines()
    assert lines[0].split() == ["scheme", "sender", "needs", "proves"]
    assert [line.split()[0] for line in lines[1:]] == list(SENDERS)
    square = next(line for line in lines if line.startswith("square"))
    assert "`secrets`: the subscription's signature key; `public_url`" in square


def test_they_are_listed_as_json_too(command: Command) -> None:
    rows = json.loads(command("schemes", "--json")[1])
    assert [row["scheme"] for row in rows] == list(SENDERS)
    assert json.loads(command("schemes", "zendesk", "--json")[1])["example"].startswith("# sources/zendesk.yaml")


def test_one_is_explained_with_an_example(command: Command) -> None:
    _, told, _ = command("schemes", "zendesk")
    assert 'verify: {scheme: zendesk, secrets: ["${ZENDESK_SECRET}"]}' in told
    assert "X-Zendesk-Webhook-Signature" in told


def test_an_unknown_one_ends_with_code_1_and_the_nearest(command: Command) -> None:
    code, out, err = command("schemes", "zendsk")
    assert (code, out) == (1, "")
    assert err.strip() == "bridge: there is no scheme zendsk, did you mean zendesk?"
    assert "`bridge schemes` lists them" in command("schemes", "qqqqqq")[2]
