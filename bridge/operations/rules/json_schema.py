"""Generates the JSON Schema of the configuration files, with descriptions, for editors."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from bridge.mapping.expressions.filters import FILTERS, TESTS
from bridge.receiving.verification import schemes
from bridge.settings.annotations import inner_models
from bridge.settings.parsing import BYTES, MILLISECONDS
from bridge.settings.schema import BridgeSettings
from bridge.settings.source_schema import SourceSettings
from bridge.superoffice.event_types import AUTO, event_types
from bridge.superoffice.login import authorization

_NARROW = ("type", "enum", "pattern", "minimum", "maximum")
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_POSITIVE = "(?=0*[1-9])"
_FUNCTIONS = f"filters: {', '.join(FILTERS)}; tests: {', '.join(TESTS)}"
_EXAMPLES = [f"body.name | {name}" for name in FILTERS] + [f"body.name is {name}" for name in TESTS]


def json_schema() -> dict[str, Any]:
    """One schema for both kinds of file: `bridge.yaml`, and each of `sources/`."""
    verify, log_in = schemes.models(), dict(authorization.SCHEMES)
    models: list[type[BaseModel]] = [BridgeSettings, SourceSettings, *verify.values(), *log_in.values()]
    _, schema = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = schema["$defs"]
    for model in _with_inner(models):
        for name, field in model.model_fields.items():
            if any(getattr(bound, "gt", None) == 0 for bound in field.metadata):  # of the value inside, a number
                definitions[model.__name__]["properties"][name]["gt"] = 0
    for definition in definitions.values():
        _as_written(definition)
    for owner, key, by_scheme in (
        ("SourceSettings", "verify", verify),
        ("TargetSettings", "authorization", log_in),
    ):
        properties = definitions[owner]["properties"]
        properties[key] = {"description": properties[key]["description"], **_by_scheme(definitions, key, by_scheme)}
    definitions.pop("SchemeSettings", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The bridge's configuration: bridge.yaml, or a file of sources/",
        "anyOf": [{"$ref": "#/$defs/BridgeSettings"}, {"$ref": "#/$defs/SourceSettings"}],
        "$defs": dict(sorted(definitions.items())),
    }


def _with_inner(models: Iterable[type[BaseModel]]) -> set[type[BaseModel]]:
    """Models, and those of their fields."""
    found: set[type[BaseModel]] = set()
    todo = list(models)
    while todo:
        if (model := todo.pop()) not in found:
            found.add(model)
            todo += [one for field in model.model_fields.values() for _, one in inner_models(field.annotation)]
    return found


def _by_scheme(definitions: dict[str, Any], key: str, models: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """What stands under `key`: the names of the schemes, and for each the definition that holds for it.

    Not `oneOf`: of that, an editor completes and checks by whichever definition it takes for the nearest.
    """
    for scheme, model in models.items():
        definition = definitions[model.__name__]
        properties = definition["properties"] | {"scheme": {"const": scheme, "description": "the scheme"}}
        definitions[f"{key}:{scheme}"] = definition | {"title": f"{key} by {scheme}", "properties": properties}
    for model in models.values():
        definitions.pop(model.__name__, None)
    names = {"description": "the scheme", "anyOf": [{"type": "string", "enum": list(models)}, _VARIABLE]}
    return {
        "type": "object",
        "properties": {"scheme": names},
        "required": ["scheme"],
        "allOf": [
            {
                "if": {"properties": {"scheme": {"const": scheme}}, "required": ["scheme"]},
                "then": {"$ref": f"#/$defs/{key}:{scheme}"},
            }
            for scheme in models
        ],
    }


def _as_written(schema: dict[str, Any]) -> None:
    """Make a schema one of what stands in the file, not of what it is inside.

    Nothing is written as null, durations and sizes are text, and `${...}` may stand for any value. What an editor shows
    of a key says its default too.
    """
    choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema |= choices[0] | schema
    elif choices:
        schema["anyOf"] = choices
    for name, its in schema.pop("patternProperties", {}).items():  # else a name that does not match would do
        schema["propertyNames"] = {"pattern": name, **schema.get("propertyNames", {})}
        schema["additionalProperties"] = its
    inner = (schema.get("items"), schema.get("additionalProperties"))
    for part in (*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *inner):
        if isinstance(part, dict):
            part.pop("title", None)  # the key once more, in capitals
            _as_written(part)
    if schema.pop("gt", None) == 0 and "pattern" in schema:
        schema["pattern"] = schema["pattern"].replace("^", f"^{_POSITIVE}", 1)
        schema |= {"minimum": 1} if "integer" in schema["type"] else {}
    _say_default(schema)
    match schema.pop("format", None):
        case "expression":
            schema |= {"description": f"{schema['description']} ({_FUNCTIONS})", "examples": _EXAMPLES}
        case "event-type":
            schema["anyOf"] = [
                {"type": "string", "enum": sorted(event_types(AUTO) or ())},
                {"type": schema.pop("type")},
            ]
        case str(other):
            schema["format"] = other
    if "pattern" in schema or "enum" in schema or schema.get("type") in ("integer", "number", "boolean"):
        plain = {name: schema.pop(name) for name in _NARROW if name in schema}
        schema["anyOf"] = [plain, _VARIABLE]


def _say_default(schema: dict[str, Any]) -> None:
    default = _written(schema.pop("default", None), schema.get("pattern", ""))
    if default is None or isinstance(default, dict):
        return
    schema["default"] = default
    if "description" in schema and default not in ("", []):
        shown = default if isinstance(default, str) else str(default).replace("'", "").lower()
        schema["description"] += f" (default: {shown})"


def _written(default: Any, pattern: str) -> Any:
    """A default as one writes it: a number of milliseconds or bytes with its unit."""
    match default:
        case {"count": count, "per": per}:
            return f"{count}/{_largest(per, MILLISECONDS)[1]}"
        case int() if "|h|d" in pattern:
            return "".join(map(str, _largest(default, MILLISECONDS)))
        case int() if "KiB" in pattern:
            return "".join(map(str, _largest(default, BYTES)))
    return default


def _largest(value: int, units: Mapping[str, int]) -> tuple[int, str]:
    unit = max((unit for unit in units if value % units[unit] == 0), key=units.__getitem__)
    return value // units[unit], unit
