"""`version: auto` in a whole configuration: what is asked, and what the rules hope for."""

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.sandbox.superoffice import Sandbox, serving
from bridge.service.composition import Generation, build
from bridge.service.version_watches import _asking, named_types, version_watches

pytestmark = pytest.mark.anyio

BRIDGE = """
targets:
  crm: {url: URL/crm/api, authorization: {scheme: bearer, token: t}, version: auto}
  erp: {url: URL/erp/api, authorization: {scheme: bearer, token: t}}
default_target: crm
"""
SOURCE = """
verify: {scheme: token, header: X-Token, secrets: [a-secret-of-the-tests]}
rules:
  - {name: default, event: {type: SaleSold}}
  - {name: both, target: [crm, erp], event: {type: Run}}
  - {name: other, target: erp, event: {type: SaleLost}}
  - {name: chosen, target: "{{ body.target }}", event: {type: OrderPlaced}}
"""


def built(directory: Path, url: str, source: str = SOURCE) -> Generation:
    (directory / "sources").mkdir(exist_ok=True)
    (directory / "bridge.yaml").write_text(BRIDGE.replace("URL", url))
    (directory / "sources" / "shop.yaml").write_text(source)
    return build(directory)


async def test_only_targets_that_say_auto_are_asked(tmp_path: Path) -> None:
    assert list(version_watches(built(tmp_path, "http://127.0.0.1:1"))) == ["crm"]


async def test_the_types_are_those_of_the_rules_that_name_the_target(tmp_path: Path) -> None:
    found = built(tmp_path, "http://127.0.0.1:1")
    assert named_types(found, "crm") == {"SaleSold", "Run"}
    assert named_types(found, "erp") == {"Run", "SaleLost"}


@pytest.mark.parametrize("type_", ["Click", "SaleSold"])
async def test_what_some_version_knows_is_no_error_before_the_version_is_known(tmp_path: Path, type_: str) -> None:
    assert built(tmp_path, "http://127.0.0.1:1", SOURCE.replace("OrderPlaced", type_)).problems == []


async def test_what_no_version_knows_is_an_error_with_the_nearest_and_the_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        built(tmp_path, "http://127.0.0.1:1", SOURCE.replace("SaleSold", "SaleSould"))
    (problem,) = raised.value.problems
    assert problem.path == "rules[0].event.type"
    assert problem.message == "target crm does not know event type `SaleSould`"
    assert problem.hint.startswith("did you mean `SaleSold`? the types are AddedMessage, AddedToProject, ")
    assert "Click" in problem.hint


async def test_the_server_is_asked_and_a_server_that_is_down_is_no_failure(tmp_path: Path) -> None:
    async with serving(Sandbox(version="10.2.8")) as url:
        crm = built(tmp_path, url).targets["crm"]
        assert await _asking(crm)() == "10.2.8"
        await crm.close()
    crm = built(tmp_path, url).targets["crm"]
    assert await _asking(crm)() is None
    await crm.close()
