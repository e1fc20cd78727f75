"""The JSON Schema of what ops write, complete with descriptions: editors complete and check it while one types."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.receiving.verification import schemes
from bridge.settings.schema import BridgeSettings
from bridge.settings.source_schema import SourceSettings
from bridge.superoffice import authorization


def json_schema() -> dict[str, Any]:
    """One schema for both kinds of file: `bridge.yaml`, and each of `sources/`."""
    verify, log_in = schemes.models(), dict(authorization.SCHEMES)
    models: list[type[BaseModel]] = [BridgeSettings, SourceSettings, *verify.values(), *log_in.values()]
    _, schema = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = schema["$defs"]
    definitions["SourceSettings"]["properties"]["verify"] = _one_of(definitions, "verify", verify)
    definitions["TargetSettings"]["properties"]["authorization"] = _one_of(definitions, "authorization", log_in)
    definitions.pop("SchemeSettings", None)
    _without_inner_defaults(definitions)
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


def _without_inner_defaults(node: Any) -> None:
    """Take out defaults that are not as one writes them: durations and sizes are numbers inside."""
    if isinstance(node, dict):
        patterns = [node, *node.get("anyOf", ())] if isinstance(node.get("anyOf", []), list) else [node]
        if any("pattern" in choice for choice in patterns) and not isinstance(node.get("default"), str):
            node.pop("default", None)
        if isinstance(node.get("default"), dict):
            node.pop("default")  # a part of its own, whose keys have theirs
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _without_inner_defaults(child)
