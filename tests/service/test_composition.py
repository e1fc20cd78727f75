"""Building a configuration: every room's problems come at once, and what is right is built."""

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.service import composition

BRIDGE = """\
targets:
  crm:
    url: http://127.0.0.1:1/api
    authorization: {scheme: basic, username: u, password: p}
"""
SOURCE = """\
verify: {scheme: github, secrets: [a-secret-of-the-tests]}
rules:
  - name: sold
    event: {type: SaleSold}
"""


def write(directory: Path, **files: str) -> Path:
    (directory / "sources").mkdir()
    for name, text in files.items():
        (directory / (f"{name}.yaml" if name == "bridge" else f"sources/{name}.yaml")).write_text(text)
    return directory


def problems(directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        composition.build(directory)
    return [str(problem).removeprefix(f"{directory}/") for problem in raised.value.problems]


def test_only_bodies_that_carry_their_own_proof_have_a_bound_of_their_own(tmp_path: Path) -> None:
    told = problems(write(tmp_path, bridge=BRIDGE, shop=SOURCE + "\nmax_unverified_body: 1MiB\n"))
    message = "is for senders whose bodies carry their own proof, and those of this one don't"
    assert [problem.partition("max_unverified_body: ")[2] for problem in told] == [
        f"{message}, remove it; max_body bounds its bodies"
    ]


def test_a_sound_configuration_is_built(tmp_path: Path) -> None:
    built = composition.build(write(tmp_path, bridge=BRIDGE, shop=SOURCE))
    assert built.problems == []
    assert list(built.targets) == ["crm"]
    assert list(built.sources) == ["shop"]
    assert built.store_url == f"sqlite:///{tmp_path.parent}/var/bridge.db"


def test_problems_of_shape_and_of_meaning_come_at_once(tmp_path: Path) -> None:
    bad_bridge = BRIDGE.replace("basic", "kerberos") + "  hr:\n    url: ftp://x/api\nqqq: 1\n"
    bad_source = """\
verify: {scheme: githup, secrets: [a-secret-of-the-tests]}
rules:
  - name: one
    when: bdy.action == 'x'
    event: {type: SaleSould, attributes: {a: "{{ body.a | uper }}"}}
  - name: two
    evnt: {}
  - name: three
    target: hr
    event: {type: Whatever}
  - name: four
    target: cmr
    event: {type: SaleSold}
"""
    found = problems(write(tmp_path, bridge=bad_bridge, shop=bad_source))
    places = [problem.split(": ")[0] + ": " + problem.split(": ")[1] for problem in found]
    assert places == [
        "bridge.yaml:4:21: targets.crm.authorization.scheme",
        "bridge.yaml:5:3: targets.hr.authorization",
        "bridge.yaml:6:5: targets.hr.url",
        "bridge.yaml:7:1: qqq",
        "sources/shop.yaml:1:10: verify.scheme",
        "sources/shop.yaml:3:5: rules[0]",
        "sources/shop.yaml:4:11: rules[0].when",
        "sources/shop.yaml:5:59: rules[0].event.attributes.a",
        "sources/shop.yaml:7:5: rules[1].evnt",
        "sources/shop.yaml:12:5: rules[3].target",
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            SOURCE.replace("SaleSold", "SaleSould"),
            (
                "sources/shop.yaml:4:13: rules[0].event.type: target crm does not know event type `SaleSould`, "
                "did you mean `SaleSold`? the types are AddedMessage, AddedToProject, AddedToSelection, "
                "CreatedRequest, FormSubmitted, LinkClicked, None, OrderPlaced, PersonCreated, PersonUpdated, Run, "
                "SaleCreated, SaleLost, SaleSold, StartedChat"
            ),
        ),
        (
            SOURCE + "    target: cmr\n",
            "sources/shop.yaml:5:5: rules[0].target: there is no target `cmr`, did you mean `crm`? the targets are crm",
        ),
        (
            SOURCE.replace("{type: SaleSold}", '{type: SaleSold, attributes: {"a;b": 1}}'),
            (
                "sources/shop.yaml:4:42: rules[0].event.attributes.a;b: a name with ; or = cannot be written as a "
                "pair, change it, or set attributes_format: json on the target"
            ),
        ),
    ],
)
def test_what_a_rule_says_wrong_is_told_where_it_stands(tmp_path: Path, source: str, message: str) -> None:
    assert problems(write(tmp_path, bridge=BRIDGE, shop=source)) == [message]


def test_a_rule_without_a_target_among_several_is_told(tmp_path: Path) -> None:
    two = BRIDGE + BRIDGE.removeprefix("targets:\n").replace("crm", "hr")
    assert problems(write(tmp_path, bridge=two, shop=SOURCE)) == [
        "sources/shop.yaml:3:5: rules[0]: the rule names no target, add target, or default_target to bridge.yaml"
    ]


def test_unknown_event_types_may_be_allowed(tmp_path: Path) -> None:
    bridge = BRIDGE + "    allow_unknown_event_types: true\n"
    assert composition.build(write(tmp_path, bridge=bridge, shop=SOURCE.replace("SaleSold", "Custom"))).problems == []


def test_an_object_for_a_text_target_is_told(tmp_path: Path) -> None:
    bridge = BRIDGE + "    attributes_format: text\n"
    source = SOURCE.replace("{type: SaleSold}", "{type: SaleSold, attributes: {a: 1}}")
    assert problems(write(tmp_path, bridge=bridge, shop=source)) == [
        (
            "sources/shop.yaml:4:29: rules[0].event.attributes: an object cannot be sent where the target's "
            "attributes_format is text, write one text, or set attributes_format: pairs or json on the target"
        )
    ]
