"""A whole directory: all problems of all files at once, each with the file as the user reaches it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.settings.loading import load, load_store
from bridge.settings.parsing import NAME_HINT

BRIDGE = """
targets:
  crm:
    url: https://crm.example.com/superoffice/api
    authorization: {scheme: basic, username: u, password: "${PASSWORD}"}
"""
SOURCE = """
verify: {scheme: github, secrets: ["${file:secret}"]}
rules: []
"""
KEYS = "addresses, admin, default_target, drain, listen, log, store, targets, trusted_proxies"
ENVIRON = {"PASSWORD": "hush"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, where the configuration is reached as `config`."""
    monkeypatch.chdir(tmp_path)
    Path("config/sources").mkdir(parents=True)
    Path("config/secret").write_text("hush\n")
    return tmp_path


def write(files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        Path("config", name).write_bytes(content if isinstance(content, bytes) else content.encode())


def problems(files: Mapping[str, str | bytes], environ: Mapping[str, str] = ENVIRON) -> list[str]:
    write(files)
    return [str(problem) for problem in load(Path("config"), environ)[1]]


def test_a_sound_configuration_has_settings_and_no_problems(home: Path) -> None:
    write(
        {
            "bridge.yaml": BRIDGE,
            "sources/shop.yaml": SOURCE,
            "sources/git-hub_2.yaml": b"\xef\xbb\xbf" + SOURCE.encode(),
        }
    )
    write({"sources/.hidden.yaml": "a: [", "sources/README.md": "a: ["})
    settings, found = load(Path("config"), ENVIRON)
    assert found == []
    assert settings.section is not None
    assert settings.bridge is not None
    assert settings.directory == Path("config")
    assert settings.section["targets"]["crm"]["authorization"].value["password"] == "hush"
    assert list(settings.sources) == ["git-hub_2", "shop"]
    shop = settings.sources["shop"]
    assert shop.settings is not None
    assert (shop.name, shop.settings.rules) == ("shop", ())
    assert shop.section["verify"]["secrets"].value == ["hush"]
    assert "hush" not in repr(settings)


def test_variables_come_from_the_process_where_no_others_are_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write({"bridge.yaml": BRIDGE, "sources/shop.yaml": SOURCE})
    monkeypatch.setenv("PASSWORD", "of the process")
    settings, _ = load(Path("config"))
    assert settings.section is not None
    assert settings.section["targets"]["crm"]["authorization"]["password"].value == "of the process"


def test_all_problems_of_all_files_come_at_once_in_order(home: Path) -> None:
    found = problems(
        {
            "bridge.yaml": BRIDGE + "log: {level: loud}\nlog: {}\nlisten: {port: '${P}'}\nqqq: 1\n",
            "sources/a.yaml": "rules: [\n",
            "sources/b.yaml": "verify: {scheme: '${N}'}\nrules: [{name: x}, {name: x, event: {type: A}}]\n",
            "sources/c.yml": "",
            "sources/D.yaml": SOURCE,
            "sources/e.yaml": b"# \xc3\xa9\nab\xff",
            "sources/f.yaml": "",
            "sources/g.yaml": "x" * ((1 << 20) + 1),
            "sources/h.yaml": "verify: {scheme: x, secrets: ['${file:nope}']}\nrules: []",
        }
    )
    assert found == [
        'config/bridge.yaml:6:7: log.level: must be one of debug, info, warning, error, not "loud"',
        "config/bridge.yaml:7:1: log: `log` is already in line 6, remove one of them",
        "config/bridge.yaml:8:10: listen.port: the variable `P` is not set, set it, or give a default with ${P:-...}",
        f"config/bridge.yaml:9:1: qqq: unknown key `qqq`, known here: {KEYS}",
        f"config/sources/D.yaml: is not a valid name of a source, {NAME_HINT}",
        (
            "config/sources/a.yaml:2:1: is not valid YAML: expected a value, but found the end of the file, "
            "check the indentation, and put text that holds `: `, ` #`, `{` or `[` in quotes"
        ),
        (
            "config/sources/b.yaml:1:10: verify.scheme: the variable `N` is not set, "
            "set it, or give a default with ${N:-...}"
        ),
        "config/sources/b.yaml:2:9: rules[0].event: is missing, add it: the event to make",
        "config/sources/b.yaml:2:21: rules[1].name: is the name of an earlier rule, give it its own",
        "config/sources/c.yml: is not read, its name must end in .yaml, rename it to c.yaml",
        "config/sources/e.yaml:2:3: is not UTF-8, save the file as UTF-8",
        "config/sources/f.yaml:1:1: is empty, write its keys, or remove it",
        "config/sources/g.yaml: cannot be read: it is larger than 1 MiB, make it a text file of at most 1 MiB",
        ("config/sources/h.yaml:1:31: verify.secrets[0]: there is no file config/nope, make it, or correct the path"),
    ]
    settings = load(Path("config"), ENVIRON)[0]
    assert settings.bridge is None
    assert settings.sources["b"].settings is None


def test_a_missing_bridge_yaml_says_how_to_name_the_directory(home: Path) -> None:
    assert problems({}) == ["config/bridge.yaml: there is no such file, give its directory: --config DIR"]
    assert problems({"bridge.yml": BRIDGE}) == [
        "config/bridge.yaml: there is no such file, rename bridge.yml to bridge.yaml"
    ]
    assert [str(problem) for problem in load(Path("/no/such"), {})[1]] == [
        "/no/such/bridge.yaml: there is no such file, give its directory: --config DIR"
    ]


def test_a_bridge_without_sources_starts_with_a_warning(home: Path) -> None:
    write({"bridge.yaml": BRIDGE})
    Path("config/sources").rmdir()
    settings, [warning] = load(Path("config"), ENVIRON)
    assert settings.bridge is not None
    assert str(warning) == "config/sources: there is no source: every webhook will be refused, add sources/NAME.yaml"
    assert warning.severity == "warning"


def test_warnings_do_not_keep_the_bridge_from_starting(home: Path) -> None:
    write({"bridge.yaml": BRIDGE.replace("https", "http"), "sources/shop.yaml": SOURCE})
    settings, found = load(Path("config"), ENVIRON)
    assert settings.bridge is not None
    assert [problem.severity for problem in found] == ["warning"]


def test_a_source_file_that_is_a_directory_is_a_problem(home: Path) -> None:
    Path("config/sources/a.yaml").mkdir()
    assert problems({"bridge.yaml": BRIDGE}) == [
        "config/sources/a.yaml: cannot be read: it is not a file, make it a text file of at most 1 MiB"
    ]


def test_a_window_for_duplicates_is_checked_across_files(home: Path) -> None:
    found = problems({"bridge.yaml": BRIDGE, "sources/shop.yaml": SOURCE + "dedupe_window: 100d\n"})
    assert found == [
        (
            "config/sources/shop.yaml:4:1: dedupe_window: is longer than store.keep of bridge.yaml, "
            "shorten it, or keep webhooks longer"
        )
    ]


def test_the_store_can_be_found_without_any_secret(home: Path) -> None:
    write({"bridge.yaml": BRIDGE + "store: {keep: 30d}\n"})
    assert load_store(Path("config"), {}).keep == 30 * 86_400_000
    write({"bridge.yaml": BRIDGE})
    assert load_store(Path("config"), {}).url == "sqlite:///var/bridge.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("store: {url: '${NONE}'}", "the variable `NONE` is not set"),
        ("store: {keep: 3}", "must be a duration"),
        ("store:", "is empty"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_store_that_cannot_be_found_is_told(home: Path, text: str, message: str) -> None:
    write({"bridge.yaml": text})
    with pytest.raises(ConfigError, match=message):
        load_store(Path("config"), {})


def test_a_secret_never_shows_in_a_problem(home: Path) -> None:
    """The same secret in every place where a scalar may stand, and in shapes where none may."""
    keys = "language culture time_zone timeout max_in_flight rate version select attributes_format retry url app_token"
    for value in ("${HUSH}", "x${HUSH}", "'${HUSH}'", "['${HUSH}']", "{a: '${HUSH}'}", "{'url': '${HUSH}'}"):
        target = "".join(f"    {key}: {value}\n" for key in [*keys.split(), "authorization"])
        top = "".join(
            f"{key}: {value}\n" for key in ("listen", "admin", "store", "log", "drain", "default_target", "qqq")
        )
        nested = f"verify: {value}\nrules: {value}\ndedupe: {value}\ndedupe_window: {value}\n"
        rule = "".join(f"    {key}: {value}\n" for key in ("name", "when", "event", "on_unknown", "key", "target"))
        found = problems(
            {
                "bridge.yaml": f"targets:\n  crm:\n{target}{top}",
                "sources/a.yaml": nested,
                "sources/b.yaml": f"verify: {{scheme: '${{HUSH}}'}}\nrules:\n  -\n{rule}",
            },
            {"HUSH": "hush\n"},
        )
        assert found
        assert "hush" not in "".join(found)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_give_settings_or_problems(bridge: bytes, source: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "sources").mkdir()
        (directory / "bridge.yaml").write_bytes(bridge)
        (directory / "sources" / "a.yaml").write_bytes(source)
        settings, found = load(directory, {})
        assert settings.bridge is not None or any(problem.severity == "error" for problem in found)
