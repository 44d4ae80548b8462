"""The row schema as an option of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from elspeth.contracts.schema import FIELD_PATTERN, SCHEMA_MODES, SchemaConfig

__all__ = ["DYNAMIC", "RowFields", "RowSchema"]

DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)
"""The schema of any rows."""

_FIELDS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "anyOf": [
            {"type": "string", "pattern": FIELD_PATTERN.pattern},
            {"type": "object", "description": "A field as `id: int`, or with `name`, `type` and `required`."},
        ]
    },
}
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "mode": {"description": "Whether rows may have other fields, too.", "enum": list(SCHEMA_MODES)},
        "fields": {
            "description": "The fields as `name: type`, with `?` where they may be missing or null; or `dynamic`.",
            "anyOf": [_FIELDS, {"const": "dynamic"}],
        },
    },
}


def _read_schema(value: object) -> SchemaConfig:
    if isinstance(value, SchemaConfig):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping such as {{fields: dynamic}}, got {value!r}")  # noqa: TRY004
    return SchemaConfig.from_dict(value)


def _read_fields(value: object) -> SchemaConfig | None:
    if value is None or isinstance(value, SchemaConfig):
        return value
    return SchemaConfig.from_dict({"mode": "strict", "fields": value})


RowSchema = Annotated[
    SchemaConfig,
    BeforeValidator(_read_schema),
    PlainSerializer(lambda schema: schema.to_dict(), return_type=dict),
    WithJsonSchema(_SCHEMA),
]
"""An option that holds a schema."""

RowFields = Annotated[
    SchemaConfig | None, BeforeValidator(_read_fields), WithJsonSchema({"anyOf": [_FIELDS, {"type": "null"}]})
]
"""An option that holds only the fields of a schema."""
