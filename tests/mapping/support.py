"""What the tests of this room share: rules from YAML as ops write it, and webhooks made by hand."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from bridge.errors import Problem
from bridge.mapping.attributes import Style
from bridge.mapping.compilation import compile_rules
from bridge.mapping.rule import TargetFacts
from bridge.mapping.rules import Rules
from bridge.model import Mapped, Webhook, Why
from bridge.settings.configuration import Source
from bridge.settings.document import Section
from bridge.settings.parsing import parse
from bridge.settings.source_schema import SourceSettings
from bridge.settings.yaml_reader import read_yaml

DAY = 24 * 60 * 60 * 1000
TARGETS = {
    "crm": TargetFacts(style=Style("pairs"), event_types=None, max_age=2 * DAY),
    "erp": TargetFacts(style=Style("json"), event_types=None, max_age=3 * DAY),
    "desk": TargetFacts(style=Style("text"), event_types=None, max_age=DAY),
    "old": TargetFacts(style=Style("pairs"), event_types=frozenset({"Run", "Click"}), max_age=DAY),
}
WEBHOOK = Webhook(
    id="wh_018bcfe5-6800-7000-8000-000000000001",
    source="shop",
    received_at=1_700_000_000_000,
    method="POST",
    query="",
    headers={},
    body=b"",
)


def compiled(
    *written: str,
    source: str = "",
    targets: Mapping[str, TargetFacts] = TARGETS,
    default_target: str | None = "crm",
) -> tuple[Rules, list[Problem]]:
    """Rules, each written in YAML's flow style without its braces, and all problems; `source` is what else it says."""
    listed = [f"  - {{{rule}}}" for rule in written] or ["  []"]
    text = "\n".join(["verify: {scheme: none}", source, "rules:", *listed])
    document, problems = read_yaml(text, "shop.yaml", lambda scalar: (scalar, []))
    assert document is not None, problems
    section = Section(document)
    settings, found = parse(section, SourceSettings)
    rules, more = compile_rules(Source("shop", settings, section), targets, default_target)
    return rules, problems + found + more


def rules(*written: str, **more: Any) -> Rules:
    """The same, where nothing is wrong."""
    made, problems = compiled(*written, **more)
    assert problems == []
    return made


def why(mapping: Mapped, rule: str = "") -> Why:
    """Why of the rule of that name, or of the only one."""
    (found,) = [why for why in mapping.why if rule in ("", why.rule)]
    return found


numbers = st.integers() | st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, 2**64, 2**70, -(2**63) - 1, -0.0, 0.0, 1.0])
floats = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "1.10", "None", "true", "null", "1e5", "{{ body.x }}", "a;b", "a=b", "\0", "crm", "erp", "ä\u2028\U0001f600"]
)
keys = texts | st.sampled_from(["x", "y", "items", "id", "target", "total", "keys", "a;b"])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | floats | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
"""Any JSON value."""


def nested(levels: int, value: Any = None) -> Any:
    """A value inside that many lists and objects, in turn."""
    for level in range(levels):
        value = [value] if level % 2 else {"x": value}
    return value
