"""The JSON Schema of settings files and options.

It is derived from the models that validate settings. It uses draft 7, which editors support best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import ModelSchema

from elspeth.contracts.plugins import PluginCatalogue, PluginKind
from elspeth.core.settings.model import PositionalSettings, WiredSettings
from elspeth.core.settings.parts import WIRED_SECTIONS

__all__ = ["PLUGIN_PLACES", "VARIABLE", "JsonSchema", "options_schema", "settings_schema"]

JsonSchema: TypeAlias = dict[str, Any]
"""A JSON Schema, or a part of one."""

PLUGIN_PLACES: Mapping[str, PluginKind] = {
    "datasource": PluginKind.SOURCE,
    "source": PluginKind.SOURCE,
    "sources": PluginKind.SOURCE,
    "sinks": PluginKind.SINK,
    "row_plugins": PluginKind.TRANSFORM,
    "transforms": PluginKind.TRANSFORM,
    "aggregations": PluginKind.AGGREGATION,
}
"""The top-level keys of settings that contain plugins."""

VARIABLE = "Variable"
"""The name of the definition of a text that an environment variable replaces."""

_VARIABLE: JsonSchema = {
    "description": "The value of an environment variable.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
}
_DRAFT = "http://json-schema.org/draft-07/schema#"
_PREFIX = "#/definitions/"
_ANNOTATIONS = ("description", "default")


class _Generator(GenerateJsonSchema):
    """Leaves out titles, which would repeat the keys."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  as in the base class
        """Return False, because no key has a title."""
        return False

    def model_schema(self, schema: ModelSchema) -> JsonSchema:
        """Return the JSON Schema of a model."""
        described = super().model_schema(schema)
        described.pop("title", None)
        return described


def settings_schema(plugins: PluginCatalogue) -> JsonSchema:
    """Return the JSON Schema of settings files.

    It refuses unknown keys and options. Numbers, booleans and texts of an enumeration may also come from the
    environment. The branch `then` describes settings in the wired form, and `else` settings in the positional form.
    """
    options = {(kind, name): plugins.options_model(kind, name) for kind in PluginKind for name in plugins.names(kind)}
    models: list[type[BaseModel]] = list(dict.fromkeys([PositionalSettings, WiredSettings, *options.values()]))
    references, document = models_json_schema(
        [(model, "validation") for model in models], ref_template=_PREFIX + "{model}", schema_generator=_Generator
    )
    definitions: dict[str, JsonSchema] = {name: _with_variables(part) for name, part in document["$defs"].items()}
    by_kind: dict[PluginKind, dict[str, JsonSchema]] = {kind: {} for kind in PluginKind}
    for (kind, name), model in options.items():
        by_kind[kind][name] = references[model, "validation"]
    forms: list[JsonSchema] = []
    for model in (WiredSettings, PositionalSettings):
        root = definitions.pop(_referenced(references[model, "validation"]))
        for key, kind in PLUGIN_PLACES.items():
            if key in root["properties"]:
                root["properties"][key] = _with_plugins(root["properties"][key], kind, by_kind[kind], definitions)
        forms.append(root)
    definitions[VARIABLE] = _VARIABLE
    used = sorted(_used(forms, definitions, set()))
    # Without these properties, editors would not offer keys of the wired form in a file that has none yet.
    offered: JsonSchema = {}
    for form in forms:
        offered |= {
            key: {"description": text} if (text := _description(part, definitions)) else {}
            for key, part in form["properties"].items()
        }
    is_wired = {"anyOf": [{"required": [key]} for key in sorted(WIRED_SECTIONS)]}
    return {
        "$schema": _DRAFT,
        "type": "object",
        "properties": offered,
        "if": is_wired,
        "then": forms[0],
        "else": forms[1],
        "definitions": {name: definitions[name] for name in used},
    }


def _description(part: JsonSchema, definitions: Mapping[str, JsonSchema]) -> str:
    """Return the description of a key, or of its section."""
    for each in (part, *part.get("anyOf", ())):
        section = definitions[_referenced(each)] if "$ref" in each else {}
        if text := each.get("description") or section.get("description"):
            return str(text)
    return ""


def options_schema(model: type[BaseModel]) -> JsonSchema:
    """Return the JSON Schema of a plugin's options."""
    return model.model_json_schema(schema_generator=_Generator)


def _with_variables(schema: JsonSchema) -> JsonSchema:
    """Return a schema whose plain values may be variables."""
    return cast(JsonSchema, _allow_variables(schema))


def _allow_variables(part: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(part, list):
        return [_allow_variables(each) for each in part]
    if not isinstance(part, dict):
        return part
    if not part.keys().isdisjoint({"$ref", "anyOf"}) and isinstance(part.get("default"), dict):
        part = {key: value for key, value in part.items() if key != "default"}  # the section holds the default
    if "properties" in part:
        part = {**part, "properties": {key: _allow_variables(each) for key, each in part["properties"].items()}}
    for key in ("anyOf", "oneOf", "allOf", "items", "additionalProperties"):
        if key in part:
            part = {**part, key: _allow_variables(part[key])}
    if part.get("type") in {"integer", "number", "boolean"} or not part.keys().isdisjoint({"enum", "const", "pattern"}):
        notes = {key: part[key] for key in _ANNOTATIONS if key in part}
        rest = {key: value for key, value in part.items() if key not in notes}
        return {**notes, "anyOf": [rest, {"$ref": _PREFIX + VARIABLE}]}
    return part


def _with_plugins(
    part: Any,  # noqa: ANN401  JSON
    kind: PluginKind,
    options: Mapping[str, JsonSchema],
    definitions: dict[str, JsonSchema],
) -> Any:  # noqa: ANN401  JSON
    """Return a part with plugins of one kind.

    Sections that it refers to are added to the definitions, once for each kind.
    """
    if isinstance(part, list):
        return [_with_plugins(each, kind, options, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" not in part:
        return {key: _with_plugins(each, kind, options, definitions) for key, each in part.items()}
    name = _referenced(part)
    section = definitions[name]
    if not {"plugin", "options"} <= section.get("properties", {}).keys():
        return part
    own = f"{name}.{kind}"
    definitions[own] = _of_kind(section, options, definitions)
    return {**part, "$ref": _PREFIX + own}


def _of_kind(
    section: JsonSchema, options: Mapping[str, JsonSchema], definitions: Mapping[str, JsonSchema]
) -> JsonSchema:
    """Return a section whose options are those of its plugin."""
    plugin = {**section["properties"]["plugin"], "enum": list(options)}
    return {
        **section,
        "properties": {**section["properties"], "plugin": _with_variables(plugin)},
        "allOf": [
            {
                "if": {"properties": {"plugin": {"const": name}}, "required": ["plugin"]},
                "then": {
                    "properties": {"options": model},
                    "required": ["options"] if definitions[_referenced(model)].get("required") else [],
                },
            }
            for name, model in options.items()
        ],
    }


def _referenced(part: Mapping[str, str]) -> str:
    """Return the name of the definition referred to."""
    return part["$ref"].removeprefix(_PREFIX)


def _used(part: Any, definitions: Mapping[str, JsonSchema], found: set[str]) -> set[str]:  # noqa: ANN401  JSON
    """Return the names of all definitions referred to."""
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _used(each, definitions, found)
    if isinstance(part, dict) and "$ref" in part and (name := _referenced(part)) not in found:
        found.add(name)
        _used(definitions[name], definitions, found)
    return found
