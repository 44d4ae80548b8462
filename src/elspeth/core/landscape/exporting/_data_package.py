"""Describes exports to CSV as Data Packages.

With the description, programs that support Frictionless read the files with types and keys
(https://specs.frictionlessdata.io, version 1). The import does not read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elspeth.core.canonical import canonical_bytes
from elspeth.outputs.compression import SUFFIXES, Compression
from elspeth.schema.snapshots import Kind
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RUN, Column, RecordType

__all__ = ["data_package"]

_TYPES: Mapping[Kind, Mapping[str, object]] = {
    Kind.TEXT: {"type": "string"},
    Kind.JSON: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.REAL: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean", "trueValues": ["true"], "falseValues": ["false"]},
    Kind.TIMESTAMP: {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S.%fZ"},
}

_RUN_ID = RUN.key[0]


def data_package(run_id: str, headers: Mapping[str, Sequence[str]], compression: Compression | None) -> bytes:
    """Return the content of `datapackage.json` for an export.

    `headers` maps record types to the columns of their files.
    """
    package = {
        "profile": "tabular-data-package",
        "name": "audit-trail",
        "id": run_id,
        "title": f"Audit trail of run {run_id}",
        "resources": [_resource(name, headers, compression) for name in headers],
    }
    return canonical_bytes(package) + b"\n"


def _resource(name: str, headers: Mapping[str, Sequence[str]], compression: Compression | None) -> dict[str, object]:
    record_type, columns = RECORD_TYPES[name], headers[name]
    known = {column.name: column for column in record_type.columns}
    suffix = "" if compression is None else SUFFIXES[compression]
    return {
        "profile": "tabular-data-resource",
        "name": name,
        "path": f"{name}.csv{suffix}",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        **({} if compression is None else {"compression": suffix.removeprefix(".")}),
        "schema": {
            "fields": [_field(record_type, known.get(column), column) for column in columns],
            "primaryKey": [*record_type.key],
            "foreignKeys": [*_foreign_keys(record_type, headers)],
            "missingValues": [""],
        },
    }


def _field(record_type: RecordType[AuditRecord], column: Column | None, name: str) -> dict[str, object]:
    """Return the description of a column, or of the signature."""
    if column is None:
        return {"name": name, **_TYPES[Kind.TEXT], "constraints": {"required": True}}
    constraints: dict[str, object] = {}
    # Empty text is written as a quoted field, which readers of Data Packages read as null.
    if not record_type.table.c[name].nullable and column.kind is not Kind.TEXT:
        constraints["required"] = True
    if column.enum is not None:
        constraints["enum"] = [value.value for value in column.enum]
    return {"name": name, **_TYPES[column.kind], **({"constraints": constraints} if constraints else {})}


def _foreign_keys(
    record_type: RecordType[AuditRecord], headers: Mapping[str, Sequence[str]]
) -> list[dict[str, object]]:
    """Return the references to records that are in the export.

    Their keys leave out the run, which all records share: a reference could otherwise be null in part.
    """
    found: list[dict[str, object]] = []
    for reference in record_type.references:
        target = RECORD_TYPES[reference.record_type]
        pairs = list(zip(reference.columns, target.key, strict=True))
        own = [pair for pair in pairs if pair[1] != _RUN_ID] or pairs
        if target.name in headers and {column for column, _ in own} <= {*headers[record_type.name]}:
            fields, keys = ([*side] for side in zip(*own, strict=True))
            # A reference within the same file has an empty resource name.
            resource = "" if target is record_type else target.name
            found.append({"fields": fields, "reference": {"resource": resource, "fields": keys}})
    return found
