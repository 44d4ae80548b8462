"""The JSON Schema of a key, in words."""

from __future__ import annotations

from typing import Any

import pytest

from elspeth.core.settings.json_schema import VARIABLE
from elspeth.core.settings.schema_text import default_text, type_text

SECTIONS = {"Retry": "[retry](#retry)"}
BY_VARIABLE = {"$ref": f"#/definitions/{VARIABLE}"}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "text"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "integer", "minimum": 1}, "integer at least 1"),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 365000}, "integer more than 0 and at most 365,000"),
        ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 2.0}, "number at least 0.5 and less than 2"),
        ({"enum": ["a", "b", 1]}, "`a`, `b` or `1`"),
        ({"const": "true"}, "`'true'`"),
        ({"$ref": "#/definitions/Retry"}, "[retry](#retry)"),
        ({"$ref": "#/definitions/Other"}, "any value"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"anyOf": [{"type": "integer"}, BY_VARIABLE]}, "integer"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "string"}]}, "text or integer"),
        ({"type": "array", "items": {"type": "string"}}, "list of texts"),
        ({"type": "array", "items": {"anyOf": [{"type": "integer"}, BY_VARIABLE]}}, "list of integers"),
        ({"type": "array"}, "list of values"),
        ({"type": "object"}, "mapping"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "mapping of names to numbers"),
        (
            {"type": "object", "additionalProperties": {"anyOf": [{"type": "object"}, {"enum": ["x"]}]}},
            "mapping of names to mappings or `x`",
        ),
        ({}, "any value"),
    ],
    ids=str,
)
def test_the_values_that_a_schema_allows_are_told(schema: dict[str, Any], text: str) -> None:
    assert type_text(schema, SECTIONS) == text


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (None, ""),
        ({}, ""),
        ([], ""),
        (False, "`false`"),
        (0, "`0`"),
        ("", "`''`"),
        ("x: y", "`'x: y'`"),
        ({"mode": "free", "fields": ["é"]}, "`{mode: free, fields: [é]}`"),
        ("word " * 100, f"`'{'word ' * 100}'`"),
    ],
    ids=repr,
)
def test_a_default_is_shown_unless_it_says_nothing(default: object, text: str) -> None:
    assert default_text({"default": default}) == text


def test_a_key_without_a_default_shows_none() -> None:
    assert default_text({"type": "string"}) == ""
