"""The JSON Schema: complete, described, and true of what ops write: whatever the bridge reads, an editor accepts.

The few keywords that the schema uses are checked here as the standard (2020-12) has them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.operations.rules.json_schema import json_schema
from bridge.receiving.verification.schemes import SCHEMES as VERIFYING
from bridge.settings import schema as bridge_schema
from bridge.settings import source_schema, target_schema
from bridge.settings.parsing import Strict
from bridge.superoffice.login.authorization import SCHEMES

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
DEFINITIONS = SCHEMA["$defs"]

ANNOTATIONS = {"title", "description", "default", "format", "examples"}
KEYWORDS = ANNOTATIONS | {
    *(
        "$ref",
        "anyOf",
        "allOf",
        "if",
        "then",
        "not",
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
    ),
    *(
        "propertyNames",
        "items",
        "minItems",
        "minProperties",
        "maxProperties",
        "minLength",
        "minimum",
        "maximum",
        "pattern",
    ),
}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def faults(value: Any, schema: Any, at: str = "") -> list[str]:
    """Where a value is not as a schema has it."""
    if isinstance(schema, bool):
        return [] if schema else [f"{at}: nothing is allowed"]
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    found = faults(value, DEFINITIONS[schema["$ref"].removeprefix("#/$defs/")], at) if "$ref" in schema else []
    if "anyOf" in schema and all(faults(value, one, at) for one in schema["anyOf"]):
        found.append(f"{at}: as none of anyOf says")
    if "not" in schema and not faults(value, schema["not"], at):
        found.append(f"{at}: as not says")
    if "if" in schema and not faults(value, schema["if"], at):
        found += faults(value, schema["then"], at)
    found += [fault for one in schema.get("allOf", ()) for fault in faults(value, one, at)]
    types = schema.get("type", list(TYPES))
    if not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
        found.append(f"{at}: not {types}")
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        found.append(f"{at}: none of the values")
    if isinstance(value, dict):
        found += _object_faults(value, schema, at)
    elif isinstance(value, list):
        found += [fault for item in value for fault in faults(item, schema.get("items", True), f"{at}[]")]
        found += [f"{at}: too few"] * (len(value) < schema.get("minItems", 0))
    elif isinstance(value, str):
        matches = re.search(schema.get("pattern", ""), value) and len(value) >= schema.get("minLength", 0)
        found += [] if matches else [f"{at}: not such text"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        in_range = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        found += [] if in_range else [f"{at}: out of range"]
    return found


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _object_faults(value: dict[str, Any], schema: dict[str, Any], at: str) -> list[str]:
    properties = schema.get("properties", {})
    found = [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
    found += [f"{at}: too few"] * (len(value) < schema.get("minProperties", 0))
    found += [f"{at}: too many"] * (len(value) > schema.get("maxProperties", len(value)))
    for name, its in value.items():
        found += faults(name, schema.get("propertyNames", True), f"{at}.{name}")
        found += faults(its, properties.get(name, schema.get("additionalProperties", True)), f"{at}.{name}")
    return found


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def of(kind: str, text: str) -> list[str]:
    return faults(read(text), {"$ref": f"#/$defs/{kind}"})


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    yield node
    inner = [*map(node.get, ("items", "additionalProperties", "propertyNames", "if", "then", "not"))]
    inner += [*node.get("anyOf", ()), *node.get("allOf", ())]
    for child in (*node.get("properties", {}).values(), *inner):
        if isinstance(child, dict):
            yield from schemas(child)


def test_it_is_a_schema_of_2020_12_for_both_kinds_of_file() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["anyOf"] == [{"$ref": "#/$defs/BridgeSettings"}, {"$ref": "#/$defs/SourceSettings"}]
    everything = [one for definition in DEFINITIONS.values() for one in schemas(definition)]
    assert {name for one in everything for name in one} <= KEYWORDS
    references = {one["$ref"].removeprefix("#/$defs/") for one in (*everything, *SCHEMA["anyOf"]) if "$ref" in one}
    assert references == set(DEFINITIONS)  # each is there, and none for nothing
    for one in everything:
        types = one.get("type", [])
        assert set([types] if isinstance(types, str) else types) <= set(TYPES)
        re.compile(one.get("pattern", ""))
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_key_of_every_part_has_a_description() -> None:
    described = {name: its for name, its in DEFINITIONS.items() if "properties" in its}
    assert len(described) > 20
    for name, definition in described.items():
        assert definition["description"], name
        for key, its in definition["properties"].items():
            assert its.get("description"), f"{name}.{key}"


def test_every_model_of_the_settings_is_there_with_all_its_keys() -> None:
    models = [
        one
        for module in (bridge_schema, target_schema, source_schema)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Strict) and one not in (Strict, target_schema.SchemeSettings)
    ]
    assert len(models) > 12
    for model in models:
        definition = DEFINITIONS[model.__name__]
        assert set(definition["properties"]) == set(model.model_fields), model
        assert definition["additionalProperties"] is False
        required = [name for name, its in model.model_fields.items() if its.is_required()]
        assert definition.get("required", []) == required


def test_every_scheme_is_there() -> None:
    assert {name.removeprefix("verify:") for name in DEFINITIONS if name.startswith("verify:")} == set(VERIFYING)
    log_ins = {name for name in DEFINITIONS if name.startswith("authorization:")}
    assert log_ins == {f"authorization:{scheme}" for scheme in SCHEMES}
    for scheme in ("github", "zendesk", "discord", "hmac", "token"):
        assert {"scheme", "secrets"} <= set(DEFINITIONS[f"verify:{scheme}"]["required"])


def test_the_example_configuration_is_as_it_says() -> None:
    assert of("BridgeSettings", (ROOT / "config" / "bridge.yaml").read_text()) == []
    sources = list((ROOT / "config" / "sources").glob("*.yaml"))
    assert len(sources) >= 4
    for path in sources:
        assert of("SourceSettings", path.read_text()) == [], path


def test_the_documentations_examples_are_as_it_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    examples = re.findall(r"```yaml file=([^\n]*)\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 4
    for name, text in examples:
        if name == "bridge.yaml":
            assert of("BridgeSettings", text) == []
        elif name.startswith("sources/"):
            assert of("SourceSettings", text) == [], name
        elif name == "authorization.yaml":
            for entry in read(text):
                assert faults(entry, DEFINITIONS["TargetSettings"]["properties"]["authorization"]) == []
    for text in re.findall(r"```yaml verify\n(.*?)```", page, re.DOTALL):
        assert faults(read(text), DEFINITIONS["SourceSettings"]["properties"]["verify"]) == []


TARGET = "targets: {crm: {url: 'http://127.0.0.1/api', authorization: {scheme: bearer, token: t}"
BRIDGE = TARGET + "}}\n"
SOURCE = "verify: {scheme: none}\nrules: []\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("BridgeSettings", BRIDGE),
        ("BridgeSettings", BRIDGE + "listen: {port: '${PORT:-8080}', max_body: 65536}\n"),
        ("BridgeSettings", TARGET + ", timeout: '${T}', rate: '${R}', max_in_flight: '${M}', select: [EventType]}}\n"),
        ("BridgeSettings", TARGET + ", retry: {max_attempts: none, jitter: '${J}'}, allow_unknown_event_types: true}}"),
        ("BridgeSettings", TARGET + ", retry: {max_attempts: 7, jitter: 0.5}, attributes_format: '${F}'}}\n"),
        ("SourceSettings", SOURCE),
        ("SourceSettings", "verify: {scheme: none}\nrules: [{name: a, when: true, event: {type: T}}]\n"),
        (
            "SourceSettings",
            "verify: {scheme: none}\nrules: [{name: a, target: [b], event: {type: T}}]\n",
        ),
    ],
)
def test_what_the_bridge_reads_is_accepted(kind: str, text: str) -> None:
    assert of(kind, text) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("BridgeSettings", "listen: {}\n"),
        ("BridgeSettings", "targets: {}\n"),
        ("BridgeSettings", BRIDGE + "lisen: {}\n"),
        ("BridgeSettings", BRIDGE + "default_target: null\n"),
        ("BridgeSettings", BRIDGE + "listen: {port: 70000}\n"),
        ("BridgeSettings", BRIDGE + "listen: {port: eighty}\n"),
        ("BridgeSettings", BRIDGE + "listen: {max_body: 1 MiB}\n"),
        ("BridgeSettings", BRIDGE + "drain: {grace: 5}\n"),
        ("BridgeSettings", BRIDGE + "log: {level: loud}\n"),
        ("BridgeSettings", BRIDGE.replace("bearer", "bearr")),
        ("BridgeSettings", BRIDGE.replace("token: t", "tokn: t")),
        ("SourceSettings", "rules: []\n"),
        ("SourceSettings", SOURCE + "methods: []\n"),
        ("SourceSettings", SOURCE + "enabled: perhaps\n"),
        ("SourceSettings", SOURCE + "respond: {accepted: 404}\n"),
        ("SourceSettings", "verify: {scheme: github}\nrules: []\n"),
        ("SourceSettings", "verify: {scheme: none}\nrules: [{name: a}]\n"),
        ("SourceSettings", "verify: {scheme: none}\nrules: [{name: a, event: {type: T}, on_unknown: ask}]\n"),
    ],
)
def test_what_the_bridge_refuses_is_refused(kind: str, text: str) -> None:
    assert of(kind, text) != []


def test_defaults_are_as_one_writes_them() -> None:
    for name, definition in DEFINITIONS.items():
        for key, its in definition.get("properties", {}).items():
            if "default" in its:
                assert faults(its["default"], {k: v for k, v in its.items() if k != "default"}) == [], f"{name}.{key}"
    assert DEFINITIONS["ListenSettings"]["properties"]["port"]["default"] == 8080
    assert DEFINITIONS["SourceSettings"]["properties"]["methods"]["default"] == ["POST"]


BEYOND = {
    *("11-yaml-key-that-is-no-text", "13-file-names", "23-retry-waits", "27-variable-unset"),
    *("28-variable-file-missing", "29-variable-malformed", "30-variable-of-a-wrong-type", "47-target-version"),
    *("50-store-keep", "56-when-names", "57-when-operators", "60-when-in-braces", "61-when-calls", "62-when-headers"),
    *("63-when-filters-and-tests", "64-when-patterns", "65-when-constants", "68-rule-without-a-target"),
    *("72-attributes-as-text", "76-too-long-and-too-deep", "78-rules-of-one-identity", "79-when-over-lines"),
    "80-when-as-word-processors-write-it",
}
"""Broken configurations whose fault JSON Schema cannot say: expressions, files, and what other keys or files hold."""


def test_what_check_refuses_the_schema_refuses_where_it_can_say_it() -> None:
    accepted = set()
    for path in (ROOT / "tests" / "settings" / "broken").glob("*.txt"):
        _, *parts = re.split(r"^--- (.+)\n", path.read_text(), flags=re.MULTILINE)
        files = dict(zip(parts[::2], parts[1::2], strict=True))
        if "error: " in files.pop("expect") and not any(refused(name, text) for name, text in files.items()):
            accepted.add(path.stem)
    assert accepted == BEYOND


def refused(name: str, text: str) -> bool:
    try:
        return bool(of("BridgeSettings" if name.startswith("bridge") else "SourceSettings", text))
    except YAMLError:
        return True
