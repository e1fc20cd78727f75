"""`bridge test`, `try`, `schema`: what rule writers see, and the exit codes that their CI goes by."""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from end_to_end.conftest import Command
from running import run

from bridge.operations.rules.json_schema import json_schema

ROOT = Path(__file__).parent.parent.parent
BRIDGE = """
admin: {token: "${UNSET_TOKEN}"}
targets: {crm: {url: http://127.0.0.1:1/api, attributes_escape: percent,
  authorization: {scheme: bearer, token: "${UNSET}"}}}
"""
SHOP = """verify: {scheme: github, secrets: ["${UNSET_TOO}"]}
rules:
  - name: paid     # and a remark
    when: body.paid
    event: {type: SaleSold, attributes: {total: "{{ body.total }}"}}
  - name: unpaid
    when: not body.paid
    event: {type: SaleSold}
tests:
  - name: a paid one
    payload: ../paid.json
    expect: [{rule: paid, attributes: {total: 1}}]
"""
FORMS = "verify: {scheme: none}\nrules: []\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(BRIDGE)
    (tmp_path / "sources" / "shop.yaml").write_text(SHOP)
    (tmp_path / "sources" / "forms.yaml").write_text(FORMS)
    (tmp_path / "paid.json").write_text('{"paid": true, "total": 1}')
    return tmp_path


def change(config: Path, before: str, after: str) -> Path:
    path = config / "sources" / "shop.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    return path


def test_the_example_configurations_tests_pass_without_any_environment_and_cover_all_rules() -> None:
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = run("--config", str(ROOT / "config"), "test", "--coverage", environment=bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "0 rules that no test covers\n14 passed, 0 failed\n"


def test_tests_that_pass_are_exit_code_0(command: Command, config: Path) -> None:
    assert command("--config", str(config), "test") == (0, "1 passed, 0 failed\n", "")


def test_tests_that_fail_are_exit_code_1_with_place_and_differences(command: Command, config: Path) -> None:
    path = change(config, "total: 1}", "total: 2}")
    code, out, err = command("--config", str(config), "test")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"FAILED shop: a paid one ({path}:10:5)",
        "  event 1: attributes.total: expected 2, got 1",
        "0 passed, 1 failed",
    ]


def test_a_configuration_that_is_wrong_is_exit_code_1_with_its_problems(command: Command, config: Path) -> None:
    change(config, "body.paid\n    event: {type: SaleSold, a", "boddy.paid\n    event: {type: SaleSold, a")
    code, out, err = command("--config", str(config), "test")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {config}/sources/shop.yaml:4:11: rules[0].when: ")


@pytest.mark.parametrize("arguments", [("gone.yaml",), ("--junit",), ("--updat",)])
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], command: Command, config: Path) -> None:
    assert command("--config", str(config), "test", *arguments)[0] == 2


def test_a_path_runs_only_that_files_tests(command: Command, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "sources" / "other.yaml").write_text(SHOP.replace("total: 1}", "total: 3}"))
    assert command("--config", str(config), "test")[0] == 1
    shop = config / "sources" / "shop.yaml"
    assert command("--config", str(config), "test", str(shop)) == (0, "1 passed, 0 failed\n", "")
    monkeypatch.chdir(config / "sources")
    assert command("--config", "..", "test", "shop.yaml")[0] == 0
    for path in (config / "sources" / "forms.yaml", config / "bridge.yaml", config / "sources"):
        code, _, err = command("--config", str(config), "test", str(path))
        assert code == 1
        assert err == f"bridge: {path} holds no tests of a source, name a file of sources/ that has some\n"


def test_a_junit_report_is_written_whether_tests_pass_or_fail(command: Command, config: Path) -> None:
    change(config, "total: 1}", 'total: "\\0"}')
    report = config / "report.xml"
    assert command("--config", str(config), "test", "--junit", str(report))[0] == 1
    suite = ElementTree.fromstring(report.read_bytes())
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("1", "1")
    code, _, err = command("--config", str(config), "test", "--junit", str(config / "no" / "report.xml"))
    assert code == 1
    assert err == f"bridge: {config}/no/report.xml cannot be written: No such file or directory\n"


def test_update_makes_them_pass(command: Command, config: Path) -> None:
    change(config, "total: 1}", "total: 7}")
    code, out, _ = command("--config", str(config), "test", "--update")
    assert (code, out.splitlines()[-1]) == (0, "0 passed, 1 failed, 1 updated")
    assert (config / "sources" / "shop.yaml").read_text() == SHOP
    assert command("--config", str(config), "test", "--update") == (0, "1 passed, 0 failed, 0 updated\n", "")


def test_update_of_what_cannot_be_expected_is_still_exit_code_1(command: Command, config: Path) -> None:
    change(config, "paid.json", "gone.json")
    code, out, _ = command("--config", str(config), "test", "--update")
    assert (code, out.splitlines()[-1]) == (1, "0 passed, 1 failed, 0 updated")


def test_coverage_names_the_rules_that_no_test_covers(command: Command, config: Path) -> None:
    out = "1 rules that no test covers\n  shop: unpaid\n1 passed, 0 failed\n"
    assert command("--config", str(config), "test", "--coverage") == (0, out, "")


# try


def test_try_shows_what_the_rules_make_and_why(command: Command, config: Path) -> None:
    code, out, err = command("--config", str(config), "try", "shop", str(config / "paid.json"))
    assert (code, err) == (0, "")
    assert out == (
        "mapped\n"
        '  paid -> SaleSold to crm: {"total":1}\n'
        "\nWhy:\n"
        "  paid: matched, 1 event(s)\n"
        "  unpaid: did not match, false was not body.paid\n"
        "      body.paid: true\n"
    )


def test_try_as_json_has_the_documented_fields(command: Command, config: Path) -> None:
    code, out, _ = command("--config", str(config), "try", "shop", str(config / "paid.json"), "--json")
    told = json.loads(out)
    assert code == 0
    assert {"state", "events", "why"} <= set(told)
    assert told["events"] == [{"rule": "paid", "target": "crm", "type": "SaleSold", "attributes": {"total": 1}}]
    assert set(told["why"][0]) == {"rule", "matched", "clause", "values", "error", "events"}


def test_try_takes_headers(command: Command, config: Path) -> None:
    change(config, "when: body.paid", "when: headers['x-a'] == 'b' and headers['x-b'] == 'c:d'")
    headers = ("-H", "X-A: b", "--header", "x-b:c:d")
    _, out, _ = command("--config", str(config), "try", "shop", str(config / "paid.json"), *headers)
    assert "paid: matched" in out


def test_try_takes_parameters_of_the_query(command: Command, config: Path) -> None:
    change(config, "when: body.paid", "when: query.a == 'b=c d&e' and query.empty == '' and query.twice == '2'")
    query = ("--query", "a=b=c d&e", "--query", "empty=", "--query", "twice=1", "--query", "twice=2")
    _, out, _ = command("--config", str(config), "try", "shop", str(config / "paid.json"), *query)
    assert "paid: matched" in out
    for wrong in ("a", "=b", ""):
        code, out, err = command("--config", str(config), "try", "shop", str(config / "paid.json"), "--query", wrong)
        assert (code, out) == (2, "")
        assert "write a=b" in err


def test_try_of_what_cannot_be_read_says_so(command: Command, config: Path) -> None:
    (config / "paid.json").write_text("{")
    code, out, _ = command("--config", str(config), "try", "shop", str(config / "paid.json"))
    assert code == 0
    assert out.startswith("unreadable: the body is not JSON: ")


def test_try_and_send_of_an_unknown_source_name_those_that_there_are(
    command: Command, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNSET_TOKEN", "UNSET", "UNSET_TOO"):
        monkeypatch.setenv(name, "set")
    for verb in ("try", "send"):
        code, out, err = command("--config", str(config), verb, "shopp", str(config / "paid.json"))
        assert (code, out) == (1, "")
        assert err == "bridge: there is no source shopp, did you mean shop? the sources are forms, shop\n"


@pytest.mark.parametrize("verb", ["try", "send"])
@pytest.mark.parametrize("header", ["X-A", ": b", ""])
def test_what_is_no_header_is_wrong_usage(
    verb: str, header: str, command: Command, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNSET_TOKEN", "UNSET", "UNSET_TOO"):
        monkeypatch.setenv(name, "set")
    code, _, err = command("--config", str(config), verb, "shop", str(config / "paid.json"), "-H", header)
    assert code == 2
    assert "Name: value" in err


@pytest.mark.parametrize("verb", ["try", "send"])
def test_a_payload_that_is_not_there_is_wrong_usage(verb: str, command: Command, config: Path) -> None:
    assert command("--config", str(config), verb, "shop", str(config / "gone.json"))[0] == 2
    assert command("--config", str(config), verb, "shop", str(config))[0] == 2


def test_schema_is_printed_as_json_and_needs_no_configuration(command: Command, tmp_path: Path) -> None:
    code, out, err = command("--config", str(tmp_path / "nothing"), "schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == json_schema()


def test_neither_try_nor_test_shows_rules_the_schemes_headers(command: Command, config: Path) -> None:
    change(config, "when: body.paid", "when: \"'signature' not in (headers | join(' '))\"")
    header = "X-Hub-Signature-256: sha256=0"
    _, out, _ = command("--config", str(config), "try", "shop", str(config / "paid.json"), "-H", header)
    assert "paid: matched" in out
    change(config, "    expect:", "    headers: {X-Hub-Signature-256: sha256=0}\n    expect:")
    assert command("--config", str(config), "test") == (0, "1 passed, 0 failed\n", "")


PLACES = {
    "rules": ("when: body.paid", "when: \"body.paid and '${UNSET}'\""),
    "dedupe": ("rules:", "dedupe: \"'${UNSET}'\"\nrules:"),
    "tests": ("payload: ../paid.json", "payload: '../${UNSET}'"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("words", ["test", "try shop paid.json", "webhooks remap --source shop"])
def test_a_variable_that_a_rule_needs_is_missed(words: str, place: str, command: Command, config: Path) -> None:
    path = change(config, *PLACES[place])
    arguments = [str(config / word) if word.endswith(".json") else word for word in words.split()]
    code, out, err = command("--config", str(config), *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {path}:")
    assert f": {place}" in err
    assert "the variable `UNSET` is not set" in err


def test_a_variable_that_only_the_running_bridge_needs_is_not_missed(command: Command, config: Path) -> None:
    (config / "bridge.yaml").write_text(
        "listen: {port: '${UNSET}'}\n"
        "targets: {crm: {url: 'https://${UNSET}/api', attributes_format: json, "
        "authorization: {scheme: bearer, token: '${UNSET}'}}}\n"
    )
    change(config, 'total: "{{ body.total }}"', 'total: {a: "{{ body.total }}"}')  # only json can say it
    change(config, "total: 1", "total: {a: 1}")
    assert command("--config", str(config), "test") == (0, "1 passed, 0 failed\n", "")
    code, out, err = command("--config", str(config), "try", "shop", str(config / "paid.json"))
    assert (code, err) == (0, "")
    assert '{"total":{"a":1}}' in out


def test_try_shows_the_headers_of_an_event(tmp_path: Path, command: Command) -> None:
    directory = tmp_path / "config"
    (directory / "sources").mkdir(parents=True)
    (directory / "bridge.yaml").write_text(
        "targets: {crm: {url: http://127.0.0.1:1/api, authorization: {scheme: bearer, token: t}}}\n"
    )
    rule = "{name: sold, headers: {X-Shop: '{{ body.shop }}'}, event: {type: SaleSold}}"
    (directory / "sources" / "shop.yaml").write_text(f"verify: {{scheme: none}}\nrules:\n  - {rule}\n")
    payload = tmp_path / "payload.json"
    payload.write_text('{"shop": "oslo"}')
    code, out, _ = command("--config", str(directory), "try", "shop", str(payload))
    assert code == 0
    assert 'sold -> SaleSold to crm: {}, headers {"X-Shop":"oslo"}' in out
    code, out, _ = command("--config", str(directory), "try", "shop", str(payload), "--json")
    assert json.loads(out)["events"][0]["headers"] == {"X-Shop": "oslo"}
