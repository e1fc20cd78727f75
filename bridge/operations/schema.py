"""The JSON Schema of what ops write, complete with descriptions: editors complete and check it while one types."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.receiving.verification import schemes
from bridge.settings.schema import BridgeSettings
from bridge.settings.source_schema import SourceSettings
from bridge.superoffice import authorization

_NARROW = ("type", "enum", "pattern", "minimum", "maximum")
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """One schema for both kinds of file: `bridge.yaml`, and each of `sources/`."""
    verify, log_in = schemes.models(), dict(authorization.SCHEMES)
    models: list[type[BaseModel]] = [BridgeSettings, SourceSettings, *verify.values(), *log_in.values()]
    _, schema = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = schema["$defs"]
    for definition in definitions.values():
        _as_written(definition)
    for owner, key, by_scheme in (
        ("SourceSettings", "verify", verify),
        ("TargetSettings", "authorization", log_in),
    ):
        properties = definitions[owner]["properties"]
        properties[key] = {"description": properties[key]["description"], **_one_of(definitions, key, by_scheme)}
    definitions.pop("SchemeSettings", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The bridge's configuration: bridge.yaml, or a file of sources/",
        "anyOf": [{"$ref": "#/$defs/BridgeSettings"}, {"$ref": "#/$defs/SourceSettings"}],
        "$defs": dict(sorted(definitions.items())),
    }


def _one_of(definitions: dict[str, Any], key: str, models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """A definition for each scheme, told apart by `scheme`."""
    for scheme, model in models.items():
        definition = definitions[model.__name__]
        properties = definition["properties"] | {"scheme": {"const": scheme, "description": "the scheme"}}
        definitions[f"{key}:{scheme}"] = definition | {"title": f"{key} by {scheme}", "properties": properties}
    for model in models.values():
        definitions.pop(model.__name__, None)
    return {"oneOf": [{"$ref": f"#/$defs/{key}:{scheme}"} for scheme in models]}


def _as_written(schema: dict[str, Any]) -> None:
    """Make a schema one of what stands in the file, not of what it is inside.

    Nothing is written as null, durations and sizes are text, and `${...}` may stand for any value.
    """
    inner = (schema.get("items"), schema.get("additionalProperties"))
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *inner):
        if isinstance(part, dict):
            _as_written(part)
    schema.pop("gt", None)  # pydantic's, where the value inside is a number
    choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema |= choices[0] | schema
    elif choices:
        schema["anyOf"] = choices
    default = schema.get("default")
    if default is None or isinstance(default, dict) or ("pattern" in schema and not isinstance(default, str)):
        schema.pop("default", None)
    if "pattern" in schema or "enum" in schema or schema.get("type") in ("integer", "number", "boolean"):
        plain = {name: schema.pop(name) for name in _NARROW if name in schema}
        schema["anyOf"] = [plain, _VARIABLE]
