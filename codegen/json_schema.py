"""The JSON Schema (draft 2020-12) of an exported record.

For LinkML's own generator "present" means that the key exists, which is always so in a flat record with explicit nulls.
Here it means "not null".
"""

from __future__ import annotations

from typing import TypeAlias

from codegen.model import Column, EnumType, Kind, Model, Table, Variant

__all__ = ["Json", "column_value", "export_schema"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_MAX_INTEGER = 2**53 - 1
_TIMESTAMP = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"
_SHA256: dict[str, Json] = {"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64}


def export_schema(model: Model, *, comment: str) -> Json:
    """Return the JSON Schema of one exported record.

    `record_type`, and a discriminator if there is one, decide which of `$defs` applies.
    """
    definitions: dict[str, Json] = {enum.name: _enum(enum) for enum in model.enums}
    records: list[Json] = []
    for table in model.records:
        shapes: list[Variant | None] = [*table.variants] or [None]
        for variant in shapes:
            name = table.class_name if variant is None else variant.class_name
            definitions[name] = _record(table, variant)
            records.append({"$ref": f"#/$defs/{name}"})
    definitions["Manifest"] = _manifest(model)
    records.append({"$ref": "#/$defs/Manifest"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": comment,
        "title": f"Record of an audit trail export, epoch {model.epoch}",
        "description": model.description,
        "oneOf": records,
        "$defs": definitions,
    }


def _enum(enum: EnumType) -> Json:
    return {"description": enum.description, "enum": [value.text for value in enum.values]}


def _record(table: Table, variant: Variant | None) -> Json:
    exported = [column for column in table.columns if column.withheld is None]
    withheld = [column for column in table.columns if column.withheld is not None]
    properties: dict[str, Json] = {"record_type": {"const": table.record_type}}
    for column in (*exported, *withheld):
        properties[column.name] = _property(table, variant, column)
    properties["signature"] = {"description": "HMAC-SHA256 of the record without this key.", **_SHA256}
    record: dict[str, Json] = {
        "title": table.record_type,
        "description": variant.description if variant else table.description,
        "type": "object",
        "properties": properties,
        "required": ["record_type", *(column.name for column in exported)],
        "additionalProperties": False,
    }
    if table.exactly_one:
        record["allOf"] = [
            {"oneOf": [_present(chosen, rule.columns) for chosen in rule.columns]} for rule in table.exactly_one
        ]
    return record


def _present(chosen: str, columns: tuple[str, ...]) -> Json:
    return {"properties": {name: {"not": {"type": "null"}} if name == chosen else {"type": "null"} for name in columns}}


def _property(table: Table, variant: Variant | None, column: Column) -> Json:
    if variant is not None and column.name == table.discriminator:
        return {"const": variant.value.text, "description": column.description}
    if variant is not None and column.name in variant.absent:
        return {"type": "null", "description": column.description}
    value = column_value(column)
    if column.nullable and not (variant is not None and column.name in variant.required):
        value = {"anyOf": [value, {"type": "null"}]}
    return {"description": column.description, **value}


def column_value(column: Column) -> dict[str, Json]:
    """Return what a column's values may be, besides null."""
    if column.enum is not None:
        return {"$ref": f"#/$defs/{column.enum.name}"}
    if column.kind is Kind.BOOLEAN:
        return {"type": "boolean"}
    if column.kind is Kind.TIMESTAMP:
        return {"type": "string", "pattern": _TIMESTAMP, "maxLength": 27}
    if column.kind in (Kind.INTEGER, Kind.REAL):
        return {
            "type": "integer" if column.kind is Kind.INTEGER else "number",
            "minimum": -_MAX_INTEGER if column.minimum is None else column.minimum,
            "maximum": _MAX_INTEGER if column.maximum is None else column.maximum,
        }
    text: dict[str, Json] = {"type": "string"}
    if column.kind is Kind.JSON:
        text["contentMediaType"] = "application/json"
    if column.max_length is not None:
        text["maxLength"] = column.max_length
    if column.pattern is not None:
        text["pattern"] = column.pattern
    return text


def _manifest(model: Model) -> Json:
    run = model.records[0]
    status = column_value(run.column(run.lifecycle.status)) if run.lifecycle.status else {"type": "string"}
    properties: dict[str, Json] = {
        "record_type": {"const": "manifest"},
        "run_id": {"type": "string", "maxLength": 64},
        "run_status": {"description": "Status of the run when it was exported.", **status},
        "epoch": {"description": "Epoch of the schema that the records follow.", "type": "integer", "minimum": 1},
        "record_count": {"description": "Records before this one.", "type": "integer", "minimum": 0},
        "counts": {
            "description": "Records before this one, per record type; types without records are left out.",
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
        "withheld": {
            "description": "Columns that exist in the database and were left out, as record_type.column.",
            "type": "array",
            "items": {"type": "string"},
        },
        "hash_algorithm": {"const": "sha256"},
        "final_hash": {
            "description": "SHA-256 over the canonical JSON of every record before this one, each followed by LF.",
            **_SHA256,
        },
        "signature_algorithm": {"description": "Null for an unsigned export.", "enum": ["hmac-sha256", None]},
        "signature": {"description": "HMAC-SHA256 of the manifest without this key.", **_SHA256},
    }
    return {
        "title": "manifest",
        "description": "The last record: an export without it is incomplete.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != "signature"],
        "additionalProperties": False,
    }
