"""Describes parts of a JSON Schema in words."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from elspeth.core.settings.json_schema import VARIABLE, JsonSchema

__all__ = ["default_text", "reference", "type_text"]

_PLURALS = {"text": "texts", "integer": "integers", "number": "numbers", "mapping": "mappings", "any value": "values"}
_NAMES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_LINE = 4_096  # wider than any default


def reference(schema: JsonSchema) -> str | None:
    """Return the name of the definition referred to."""
    found: str | None = schema.get("$ref")
    return None if found is None else found.rpartition("/")[2]


def type_text(schema: JsonSchema, sections: Mapping[str, str]) -> str:
    """Return the values that a schema allows, in words.

    `sections` maps each definition that the page describes to a link.
    """
    if (name := reference(schema)) is not None:
        return sections.get(name, "any value")
    if "enum" in schema:
        return _either([f"`{_plain(value)}`" for value in schema["enum"]])
    if "const" in schema:
        return f"`{_plain(schema['const'])}`"
    if "anyOf" in schema or "oneOf" in schema:
        found = schema["anyOf"] if "anyOf" in schema else schema["oneOf"]
        choices = [each for each in found if reference(each) != VARIABLE]
        texts = [type_text(each, sections) for each in choices if each.get("type") != "null"]
        return _either(list(dict.fromkeys(texts)))
    match schema.get("type"):
        case "array":
            return f"list of {_plural(schema.get('items', {}), sections)}"
        case "object" if isinstance(values := schema.get("additionalProperties"), dict):
            return f"mapping of names to {_plural(values, sections)}"
        case "object":
            return "mapping"
        case str(kind):
            return " ".join([_NAMES[kind], *_bounds(schema)])
        case _:
            return "any value"


def default_text(schema: JsonSchema) -> str:
    """Return the default in a schema as YAML, or nothing."""
    default = schema.get("default")
    return "" if default is None or default in ({}, []) else f"`{_plain(default)}`"


def _bounds(schema: JsonSchema) -> list[str]:
    """Return the bounds of a number."""
    bounds = [f"{words} {_number(schema[key])}" for key, words in _BOUNDS.items() if key in schema]
    return [" and ".join(bounds)] if bounds else []


def _number(value: float) -> str:
    return f"{int(value) if value == int(value) else value:,}"


def _plain(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=_LINE)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("\n")


def _plural(schema: JsonSchema, sections: Mapping[str, str]) -> str:
    texts = [type_text(each, sections) for each in schema.get("anyOf", [schema]) if reference(each) != VARIABLE]
    return _either([_PLURALS.get(text, text) for text in texts])


def _either(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
